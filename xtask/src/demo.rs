//! The demo: real images of solar cells, from nothing to a report.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;

use crate::setup;
use crate::steps::{cargo, output, root};

/// What the demo scans.
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// How many of the 1074 monocrystalline cells to scan, evenly spread; 0 for all.
    #[arg(long, default_value_t = 240)]
    images: usize,
    /// Where results and report go.
    #[arg(long, default_value = "rareclip-out/demo")]
    out: String,
}

/// A cell counts as defective from this probability on, as judged by the experts of the data set.
const DEFECTIVE: f64 = 0.5;

fn program(args: &[&str]) -> std::process::Command {
    let program = root()
        .join("target/release/rareclip")
        .with_extension(std::env::consts::EXE_EXTENSION);
    let mut command = std::process::Command::new(program);
    command.current_dir(root()).args(args);
    command
}

pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let start = Instant::now();
    let paths = setup::fetch(&["onnxruntime", "dinov2-small", "elpv-dataset"])?;
    let [.., data] = paths.as_slice() else {
        bail!("nothing was fetched")
    };
    eprintln!(
        "images: elpv-dataset, CC BY-NC-SA 4.0, see {}",
        data.join("LICENSE.md").display()
    );
    crate::steps::run(&mut cargo(&["build", "--release", "--package", "rareclip"]))?;

    let cells = mono_cells(&data.join("labels.csv"))?;
    let step = if args.images == 0 {
        1
    } else {
        cells.len().div_ceil(args.images).max(1)
    };
    let cells: Vec<_> = cells.into_iter().step_by(step).collect();
    let out = root().join(&args.out);
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let labels = out.join("labels.csv");
    let mut table = String::from("image,label\n");
    let mut list = String::new();
    for (image, defective) in &cells {
        writeln!(table, "{image},{}", u8::from(*defective))?;
        writeln!(list, "{image}")?;
    }
    std::fs::write(&labels, table).with_context(|| labels.display().to_string())?;

    scan(data, &list, &out)?;
    let truth = format!("labels:{}", labels.display());
    let folder = out.display().to_string();
    let figures = output(&mut program(&["evaluate", &folder, "--truth", &truth]))?;
    println!(
        "\n{} monocrystalline solar cells, in shuffled order:",
        cells.len()
    );
    print!("{figures}");
    println!("report: {}", out.join("report.html").display());
    println!("took {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn scan(data: &Path, list: &str, out: &Path) -> anyhow::Result<()> {
    let folder = out.display().to_string();
    let root = data.display().to_string();
    // The data set is sorted by module, defective ones first; a line is not.
    let args = [
        "scan",
        "-",
        "--root",
        &root,
        "--shuffle",
        "0",
        "--out",
        &folder,
        "--overwrite",
    ];
    let mut scan = program(&args);
    eprintln!("> rareclip {}", args.join(" "));
    let mut child = scan.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let mut stdin = child.stdin.take().context("no pipe to rareclip")?;
    stdin.write_all(list.as_bytes())?;
    drop(stdin);
    let status = child.wait()?;
    if !status.success() {
        bail!("rareclip scan ended with {status}");
    }
    Ok(())
}

/// The monocrystalline cells: name below the data folder, and whether the cell is defective.
fn mono_cells(labels: &Path) -> anyhow::Result<Vec<(String, bool)>> {
    let context = || format!("labels {}", labels.display());
    let text = std::fs::read_to_string(labels).with_context(context)?;
    let mut cells = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line
            .split([',', ' '])
            .filter(|field| !field.is_empty())
            .collect();
        let [image, probability, kind] = fields[..] else {
            continue;
        };
        let Ok(probability) = probability.parse::<f64>() else {
            continue;
        };
        if kind == "mono" {
            cells.push((image.to_owned(), probability >= DEFECTIVE));
        }
    }
    if cells.is_empty() {
        bail!("{}: no monocrystalline cell found", labels.display());
    }
    Ok(cells)
}
