//! `rareclip bench` and `rareclip compare`: detectors on data sets, in one table.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use rareclip_bench::table::{self, Table};
use rareclip_bench::{Benchmark, Entrant, Plan};

use super::bar::Bar;
use super::output::{say, table as plain_table};
use crate::builtin;
use crate::config_args::ConfigArgs;
use crate::exit::Exit;
use crate::scan::stop_flag;
use rareclip_report as report;

/// The command line of `rareclip bench`.
#[derive(Debug, ClapArgs)]
pub(crate) struct BenchArgs {
    /// Config files or names of built-in configs, separated by commas. NAME@K shows the detector K
    /// known normals first; without it, detectors that learn from normals see the whole training
    /// set and the others none.
    #[arg(
        short,
        long,
        required = true,
        value_delimiter = ',',
        value_name = "CONFIG[@SHOTS]"
    )]
    detectors: Vec<String>,
    /// The data set, e.g. `mvtec:DIR` or `visa:DIR?category=candle` (see `rareclip datasets list`).
    #[arg(long, value_name = "KIND:PATH")]
    dataset: String,
    /// Seeds of the stream order and of the choice of shots; tables then show mean and deviation.
    #[arg(long, value_delimiter = ',', default_value = "0", value_name = "SEED")]
    seeds: Vec<u64>,
    /// Folder for results.json, report.html and one file a run. The same command goes on where it
    /// was stopped.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Where features are kept, so that a backbone runs once per image [default: `features` in the
    /// folder of --out].
    #[arg(long, value_name = "DIR")]
    features: Option<PathBuf>,
    /// Side in pixels at which maps and masks are compared.
    #[arg(long, value_name = "PIXELS", default_value_t = 256)]
    side: usize,
    /// Leave the images out of the report: for one that is published, where the data set's licence
    /// forbids it.
    #[arg(long)]
    no_pictures: bool,
    /// Leave pixel metrics out.
    #[arg(long)]
    image_only: bool,
    /// Change one key of every config, e.g. `--set calibration.quantile=0.99`; every one of them
    /// must have that key. May be given often.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print the whole result as JSON instead of tables.
    #[arg(long)]
    json: bool,
}

/// The command line of `rareclip compare`.
#[derive(Debug, ClapArgs)]
pub(crate) struct CompareArgs {
    /// A results.json of `rareclip bench`, or its folder.
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another one; may be the same.
    #[arg(value_name = "B")]
    b: PathBuf,
    /// The detector of A and the one of B [default: those of the same name in both].
    #[arg(long, value_name = "LEFT,RIGHT")]
    detectors: Option<String>,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<Exit> {
    let plan = plan(args)?;
    let stop = stop_flag()?;
    let mut shown = Bar::new();
    let result = rareclip_bench::run(&plan, &mut |progress| shown.update(progress), &|| {
        stop.load(Ordering::Relaxed)
    });
    shown.finish();
    let benchmark = match result {
        Err(rareclip_bench::Error::Stopped) => {
            eprintln!("{}", rareclip_bench::Error::Stopped);
            return Ok(Exit::Interrupted);
        }
        other => other?,
    };
    let html = plan.out.join("report.html");
    let text = report::bench::render(&benchmark, &plan, !args.no_pictures)?;
    std::fs::write(&html, text).with_context(|| html.display().to_string())?;
    let markdown = plan.out.join("report.md");
    std::fs::write(&markdown, report::bench::markdown(&benchmark))
        .with_context(|| markdown.display().to_string())?;
    if args.json {
        say(serde_json::to_string(&benchmark)?)?;
    } else {
        show(&benchmark)?;
        say(format!("report: {}", html.display()))?;
    }
    Ok(Exit::Success)
}

fn plan(args: &BenchArgs) -> anyhow::Result<Plan> {
    let entrants: anyhow::Result<Vec<Entrant>> = args
        .detectors
        .iter()
        .map(|text| entrant(text.trim(), &args.set))
        .collect();
    let entrants = entrants?;
    let dataset = super::datasets::open(&args.dataset, &[])?;
    let mut known = BTreeSet::new();
    let seeds = args.seeds.iter().copied();
    let seeds = seeds.filter(|seed| known.insert(*seed)).collect();
    Ok(Plan {
        entrants,
        dataset,
        dataset_spec: args.dataset.clone(),
        seeds,
        side: if args.image_only { 0 } else { args.side },
        features: args
            .features
            .clone()
            .unwrap_or_else(|| args.out.join("features")),
        out: args.out.clone(),
        command: std::env::args().collect(),
    })
}

/// A config by name or file, `@` and a number of shots.
fn entrant(text: &str, set: &[String]) -> anyhow::Result<Entrant> {
    let (name, shots) = match text.rsplit_once('@') {
        Some((name, shots)) if !Path::new(text).is_file() => {
            let shots = shots.parse().with_context(|| {
                format!("--detectors {text}: behind the @ stands how many known normals to show, a number")
            })?;
            (name, Some(shots))
        }
        _ => (text, None),
    };
    if name.is_empty() {
        bail!("--detectors: an empty name; separate names by one comma");
    }
    let config = ConfigArgs {
        config: name.to_owned(),
        set: set.to_vec(),
    };
    let config = builtin::load(&config, &[])?;
    let label = match shots {
        Some(shots) => format!("{}@{shots}", config.name),
        None => config.name.clone(),
    };
    Ok(Entrant {
        label,
        config,
        shots,
    })
}

fn show(benchmark: &Benchmark) -> anyhow::Result<()> {
    let print = |table: &Table| {
        let names: Vec<&str> = table.header.iter().map(String::as_str).collect();
        let mut plain = plain_table(&names);
        for row in &table.rows {
            plain.add_row(row);
        }
        say(&table.title)?;
        say(plain)?;
        say("")
    };
    if benchmark.categories.len() > 1 {
        for metric in table::metrics(benchmark) {
            print(&table::by_category(benchmark, metric))?;
        }
    }
    print(&table::costs(benchmark))?;
    print(&table::overview(benchmark))
}

pub(crate) fn compare(args: &CompareArgs) -> anyhow::Result<Exit> {
    let (a, b) = (Benchmark::read(&args.a)?, Benchmark::read(&args.b)?);
    let pairs: Vec<(String, String)> = match &args.detectors {
        Some(text) => {
            let pair = text.split_once(',');
            let (left, right) = pair.with_context(|| {
                format!("--detectors {text}: expected two names with a comma between")
            })?;
            vec![(left.trim().to_owned(), right.trim().to_owned())]
        }
        None => a
            .detectors
            .iter()
            .filter(|name| b.detectors.contains(name))
            .map(|name| (name.clone(), name.clone()))
            .collect(),
    };
    if pairs.is_empty() {
        bail!(
            "the two results have no detector in common ({} against {}): name a pair with --detectors LEFT,RIGHT",
            a.detectors.join(", "),
            b.detectors.join(", ")
        );
    }
    let mut all = Vec::new();
    let mut rows = plain_table(&[
        "detector",
        "category",
        "seed",
        "metric",
        "A %",
        "B %",
        "A - B",
        "p (DeLong)",
    ]);
    for (left, right) in &pairs {
        for comparison in rareclip_bench::compare(&a, left, &b, right)? {
            let name = if left == right {
                left.clone()
            } else {
                format!("{left} - {right}")
            };
            for (metric, left, right) in &comparison.metrics {
                let (Some(left), Some(right)) = (left, right) else {
                    continue;
                };
                let tested = *metric == table::Metric::ImageAuroc.name();
                let p = comparison.test.as_ref().filter(|_| tested);
                rows.add_row([
                    name.clone(),
                    comparison.category.clone(),
                    comparison.seed.to_string(),
                    (*metric).to_owned(),
                    format!("{:.2}", 100.0 * left),
                    format!("{:.2}", 100.0 * right),
                    format!("{:+.2}", 100.0 * (left - right)),
                    p.and_then(|test| test.p_value)
                        .map_or(String::new(), |p| format!("{p:.3}")),
                ]);
            }
            all.push(serde_json::json!({ "left": left, "right": right, "comparison": comparison }));
        }
    }
    if args.json {
        say(serde_json::to_string_pretty(&all)?)?;
    } else {
        say(rows)?;
    }
    Ok(Exit::Success)
}
