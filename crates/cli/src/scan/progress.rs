//! What a scan shows while it runs.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use rareclip_core::Verdict;

use crate::args::ScanArgs;
use rareclip_pipeline::ResultRow;

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
