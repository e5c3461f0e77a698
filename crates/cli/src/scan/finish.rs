//! The end of a scan: table, report, and how it went.

use std::path::Path;

use super::output::Output;
use super::walk::Walk;
use crate::exit::Exit;
use rareclip_pipeline::ResultRow;
use rareclip_report::{self as report, ReportInput};

impl Walk<'_> {
    /// Saves everything, writes table and report, and says how it went.
    pub(super) fn finish(self, interrupted: bool) -> anyhow::Result<Exit> {
        self.save()?;
        self.progress.finish();
        let page = match &self.output {
            Some(output) => {
                let rows = output.rows()?;
                output.csv(&rows)?;
                let html = report(&self, output, &rows, interrupted)?;
                Some(output.report(&html)?)
            }
            None => None,
        };
        summary(&self, page.as_deref(), interrupted);
        Ok(if interrupted {
            Exit::Interrupted
        } else if self.tally.scored == 0 && self.record.failed > 0 {
            Exit::Failure
        } else if self.args.fail_on_anomaly && self.tally.anomalous > 0 {
            Exit::Anomaly
        } else if self.record.failed > 0 {
            Exit::SomeFailed
        } else {
            Exit::Success
        })
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
fn report(
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
fn summary(walk: &Walk<'_>, report: Option<&Path>, interrupted: bool) {
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
