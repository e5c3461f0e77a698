//! Hostile clients beside well-behaved ones: what two cameras notice of them, and how much memory
//! the service takes.
//!
//! `cargo run --release -p rareclip --example soak -- --minutes 10`
//!
//! Needs `target/release/rareclip` (`cargo build --release -p rareclip`), or the program that
//! `RARECLIP_PROGRAM` names. It needs no weights: the detector is
//! `examples/clients/rarity-thumbnail.toml` unless `--config` names another. Everything stays on
//! this machine. Ends with 1 when an image of a camera was lost or refused, or the service took
//! more memory than `--most-mib`.
#![allow(clippy::print_stdout, reason = "it prints its result")]

mod camera;
#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod payloads;
mod tally;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use camera::Camera;
use clap::Parser;
use common::{Server, data_folder, memory_mib, program};
use hostile::{ATTACKS, Ground};
use payloads::Payloads;
use rareclip_cli as _;
use tally::{Latencies, Tally};

/// Hostile clients beside two cameras.
#[derive(Parser)]
struct Args {
    /// How long hostile clients run.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    minutes: f64,
    /// How long the cameras run alone before that.
    #[arg(long, value_name = "N", default_value_t = 60.0)]
    calm_seconds: f64,
    /// Images per second of each camera.
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    rate: f64,
    /// Most resident memory of the service, at its peak.
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    most_mib: u64,
    /// Length of a hostile JSON body.
    #[arg(long, value_name = "MIB", default_value_t = 60)]
    json_mib: usize,
    /// Attacks by name, separated by commas; all of them if left out.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Attacks that are left out.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    without: Vec<String>,
    /// Attack the stream of the first camera: its images keep their order with those of the
    /// attackers, so they wait for them.
    #[arg(long)]
    at_camera: bool,
    /// The detector.
    #[arg(long, value_name = "FILE|NAME")]
    config: Option<String>,
    /// Options of `rareclip serve`, after `--`.
    #[arg(last = true)]
    options: Vec<String>,
}

impl Args {
    fn attacks(&self) -> anyhow::Result<Vec<&'static hostile::Attack>> {
        let known = |name: &String| ATTACKS.iter().any(|attack| attack.name == name);
        let unknown = self
            .only
            .iter()
            .chain(&self.without)
            .find(|name| !known(name));
        let names = ATTACKS.iter().map(|attack| attack.name).collect::<Vec<_>>();
        ensure!(
            unknown.is_none(),
            "unknown attack; there are {}",
            names.join(", ")
        );
        let wanted = |attack: &&hostile::Attack| {
            let named = |list: &[String]| list.iter().any(|name| name == attack.name);
            (self.only.is_empty() || named(&self.only)) && !named(&self.without)
        };
        Ok(ATTACKS.iter().filter(wanted).collect())
    }
}

/// Makes a key in a data folder and returns it.
fn key(data: &Path, name: &str, scope: &str) -> anyhow::Result<String> {
    let output = Command::new(program())
        .args(["keys", "add", name, "--scope", scope, "--data"])
        .arg(data)
        .output()
        .with_context(|| program().display().to_string())?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Lets the cameras run for a time, with the attacks beside them; returns what went wrong.
fn phase(
    cameras: &[Camera],
    period: Duration,
    time: Duration,
    attacks: &[&'static hostile::Attack],
    ground: &Ground<'_>,
    process: u32,
) -> (Latencies, Vec<String>) {
    let latencies = Latencies::default();
    let mut problems = Vec::new();
    std::thread::scope(|scope| {
        let running: Vec<_> = cameras
            .iter()
            .map(|camera| scope.spawn(|| camera.run(period, ground.stop, &latencies, ground.tally)))
            .collect();
        for attack in attacks {
            attack.start(scope, ground);
        }
        let start = Instant::now();
        while start.elapsed() < time && !running.iter().any(|camera| camera.is_finished()) {
            if let Err(error) = memory_mib(process, "VmRSS") {
                problems.push(format!("the service has ended: {error}"));
                break;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        ground.stop.store(true, Relaxed);
        for camera in running {
            match camera.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => problems.push(format!("{error:#}")),
                Err(_) => problems.push("a camera's thread has failed".into()),
            }
        }
    });
    (latencies, problems)
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let attacks = args.attacks()?;
    let thumbnail =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/clients/rarity-thumbnail.toml");
    let config = args
        .config
        .clone()
        .unwrap_or_else(|| thumbnail.display().to_string());
    let data = data_folder();
    let (own, theirs) = (
        key(&data, "cameras", "score")?,
        key(&data, "hostile", "score")?,
    );
    let admin = key(&data, "admin", "admin")?;
    let server = Server::start(&config, &data, &args.options)?;
    let address: SocketAddr = server.address.trim_start_matches("http://").parse()?;
    let cameras: Vec<Camera> = (0..2)
        .map(|number| Camera::new(&server.address, &admin, &own, number))
        .collect::<anyhow::Result<_>>()?;
    let other = Camera::new(&server.address, &admin, &own, cameras.len())?;
    other.fill(20)?;
    let target = match args.at_camera {
        true => &cameras[0],
        false => &other,
    };
    let payloads = Payloads::new(args.json_mib << 20)?;
    println!(
        "a bomb of {} kB, JSON of {} MiB",
        payloads.bomb.len() / 1000,
        args.json_mib
    );

    let (next, period) = (AtomicU64::new(0), Duration::from_secs_f64(1.0 / args.rate));
    let mut problems = Vec::new();
    let phases = [
        ("calm", args.calm_seconds, &[][..]),
        ("hostile", 60.0 * args.minutes, &attacks[..]),
    ];
    for (name, seconds, attacks) in phases {
        let (stop, tally) = (AtomicBool::new(false), Tally::default());
        let ground = Ground {
            address,
            key: &theirs,
            stream: target.name(),
            payloads: &payloads,
            stop: &stop,
            tally: &tally,
            next: &next,
        };
        let time = Duration::from_secs_f64(seconds);
        let (latencies, wrong) = phase(&cameras, period, time, attacks, &ground, server.id());
        println!("{name:<8} {}", latencies.summary());
        for line in tally.lines() {
            println!("         {line}");
        }
        match memory_mib(server.id(), "VmHWM") {
            Ok(peak) => {
                println!(
                    "         peak memory {peak} MiB of at most {}",
                    args.most_mib
                );
                if peak > args.most_mib {
                    problems.push(format!("{name}: {peak} MiB at the peak"));
                }
            }
            Err(error) => problems.push(format!("{name}: the service has ended: {error}")),
        }
        problems.extend(wrong);
    }
    for camera in &cameras {
        if let Err(error) = camera.check() {
            problems.push(format!("{error:#}"));
        }
    }
    for problem in &problems {
        println!("FAILED: {problem}");
    }
    if problems.is_empty() {
        println!("no image was lost, doubled or refused");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
