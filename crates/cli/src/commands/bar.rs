//! How far a long command is, on stderr.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use rareclip_pipeline::Progress;

/// A bar on a terminal, a line now and then elsewhere.
pub(super) struct Bar {
    bar: Option<ProgressBar>,
    last: Instant,
}

impl Bar {
    /// Between two lines where there is no terminal.
    const PAUSE: Duration = Duration::from_secs(30);

    pub(super) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self {
            bar,
            last: Instant::now(),
        }
    }

    pub(super) fn update(&mut self, progress: &Progress) {
        let left = progress.left.map_or_else(String::new, |left| {
            format!(", {} left", HumanDuration(left))
        });
        match &self.bar {
            Some(bar) => {
                bar.set_length(progress.total);
                bar.set_position(progress.done);
                bar.set_message(format!("{}{left}", progress.doing));
            }
            None if self.last.elapsed() > Self::PAUSE => {
                self.last = Instant::now();
                eprintln!(
                    "{} of {}: {}{left}",
                    progress.done, progress.total, progress.doing
                );
            }
            None => {}
        }
    }

    /// A line that stays, above the bar.
    #[cfg(feature = "tch")]
    pub(super) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
