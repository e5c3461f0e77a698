//! What a scan shows while it runs and when it is done.

use std::io::{IsTerminal, Write};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use rareclip_core::Verdict;

use super::output::Output;
use super::walk::Walk;
use crate::args::ScanArgs;
use crate::report::{self, ReportInput};
use crate::results::ResultRow;

/// Result lines on stdout, a progress bar on a terminal's stderr.
pub(super) struct Progress {
    bar: ProgressBar,
    json: bool,
}

impl Progress {
    pub(super) fn new(args: &ScanArgs, total: u64) -> Self {
        let bar = if !std::io::stderr().is_terminal()
            || args.json && std::io::stdout().is_terminal()
        {
            ProgressBar::hidden()
        } else if args.watch {
            ProgressBar::new_spinner()
        } else {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec} ETA {eta}");
            ProgressBar::new(total)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        };
        Self {
            bar,
            json: args.json,
        }
    }

    /// Makes room for a step of each image before its row.
    pub(super) fn in_two_steps(&self, images: u64) {
        self.bar.set_length(2 * images);
    }

    /// Counts a step that gave no row yet.
    pub(super) fn step(&self) {
        self.bar.inc(1);
    }

    /// Counts images of an earlier part of the run.
    pub(super) fn skip(&self, done: u64) {
        self.bar.set_position(done);
        self.bar.reset_eta();
    }

    /// Prints a result.
    pub(super) fn row(&self, row: &ResultRow) -> std::io::Result<()> {
        let line = line(row, self.json)?;
        let written = self
            .bar
            .suspend(|| writeln!(std::io::stdout().lock(), "{line}"));
        self.bar.inc(1);
        match written {
            // Whoever read the results has seen enough; the run itself goes on.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// One result as a line: for programs as JSON, or for people.
pub(crate) fn line(row: &ResultRow, json: bool) -> serde_json::Result<String> {
    if json {
        return serde_json::to_string(row);
    }
    Ok(plain(row))
}

fn plain(row: &ResultRow) -> String {
    match &row.result {
        Some(result) => {
            let p = result.p_value.map_or("-".into(), |p| format!("{p:.3}"));
            let verdict = match result.verdict {
                Verdict::Uncalibrated if !result.calibration.is_empty() => {
                    result.calibration.clone()
                }
                verdict => verdict.to_string(),
            };
            let score = digits(result.score);
            format!(
                "{:>6}  {score:>8}  p {p:>5}  {verdict:<12}  {}",
                row.index, row.image
            )
        }
        None => {
            let error = row.error.as_deref().unwrap_or("no result");
            format!("{:>6}  {:>8}  {}: {error}", row.index, "error", row.image)
        }
    }
}

/// A score to four digits, whatever its size.
fn digits(score: f32) -> String {
    if score == 0.0 || (0.001..10_000.0).contains(&score.abs()) {
        format!("{score:.4}")
    } else {
        format!("{score:.1e}")
    }
}

fn facts(walk: &Walk<'_>) -> Vec<(String, String)> {
    let mut facts = vec![
        ("Images".to_owned(), walk.record.done.to_string()),
        ("Failed".to_owned(), walk.record.failed.to_string()),
    ];
    if let Some(ms) = walk.meter.ms_per_image() {
        facts.push(("Time an image".to_owned(), format!("{ms:.0} ms")));
    }
    if let Some(bank) = walk.stream.bank_status() {
        facts.push((
            "Memory of the stream".to_owned(),
            format!(
                "{} prototypes of {} images, {:.1} of at most {:.1} MiB",
                bank.prototypes,
                bank.images,
                bank.bytes as f64 / 1048576.0,
                bank.capacity_bytes as f64 / 1048576.0
            ),
        ));
    }
    facts
}

fn settings(walk: &Walk<'_>) -> Vec<(String, String)> {
    let config = walk.detector.config();
    let mut settings = vec![
        (
            "Detector".to_owned(),
            format!("{} - {}", config.name, config.description),
        ),
        (
            "Command".to_owned(),
            std::env::args().collect::<Vec<_>>().join(" "),
        ),
        ("rareclip".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("Weights".to_owned(), walk.detector.spec().weights.clone()),
        (
            "Machine".to_owned(),
            format!(
                "{} {}, {} threads",
                std::env::consts::OS,
                std::env::consts::ARCH,
                std::thread::available_parallelism().map_or(1, usize::from)
            ),
        ),
    ];
    if let Some(seed) = walk.args.shuffle {
        settings.push(("Shuffled with seed".to_owned(), seed.to_string()));
    }
    for (stage, ms, _) in walk.meter.stages() {
        settings.push((format!("Time in {stage}"), format!("{ms:.1} ms an image")));
    }
    for component in rareclip_core::registry::components() {
        let name = format!("{} {}", component.slot, component.name);
        settings.push((name, format!("{} {}", component.package, component.version)));
    }
    settings
}

/// The report of the run.
pub(super) fn report(
    walk: &Walk<'_>,
    output: &Output,
    rows: &[ResultRow],
    interrupted: bool,
) -> anyhow::Result<String> {
    let mut summary = facts(walk);
    let anomalous = rows.iter().filter(|row| row.is_anomalous()).count();
    summary.insert(1, ("Anomalous".to_owned(), anomalous.to_string()));
    if interrupted {
        summary.push(("State".to_owned(), "stopped before the end".to_owned()));
    }
    let state = walk.stream.calibrator().judge(0.0);
    let config = toml::to_string(walk.detector.config())?;
    Ok(report::render(&ReportInput {
        title: &format!("Scan by {}", walk.detector.config().name),
        rows,
        thumbnails: &|row| output.thumbnail(row),
        threshold: state.threshold,
        calibration: &state.calibration.to_string(),
        settings: &settings(walk),
        config_toml: &config,
        summary: &summary,
        max_thumbnails: walk.args.report_images,
    }))
}

/// The last words on stderr.
pub(super) fn summary(walk: &Walk<'_>, report: Option<&Path>, interrupted: bool) {
    if walk.args.timings {
        eprintln!("{}", walk.meter.table());
    }
    let mut text = format!(
        "{} images, {} anomalous, {} failed",
        walk.tally.scored + walk.record.failed,
        walk.tally.anomalous,
        walk.record.failed
    );
    if interrupted {
        text.push_str("; stopped before the end");
        if walk.args.state.is_some() {
            text.push_str(", run the same command again to go on");
        }
    }
    eprintln!("{text}");
    if let Some(report) = report {
        eprintln!("report: {}", report.display());
    }
}
