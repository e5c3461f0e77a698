//! What was answered, and how long it took.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Answers by who asked and what came, e.g. (`bombs`, `422`).
#[derive(Default)]
pub(crate) struct Tally(Mutex<BTreeMap<(&'static str, String), u64>>);

impl Tally {
    pub(crate) fn count(&self, kind: &'static str, answer: impl Into<String>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((kind, answer.into())).or_default() += 1;
    }

    /// One line per kind.
    pub(crate) fn lines(&self) -> Vec<String> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for ((kind, answer), count) in &*counts {
            let line = lines.entry(kind).or_default();
            line.push(format!("{answer}: {count}"));
        }
        let line =
            |(kind, answers): (&str, Vec<String>)| format!("{kind:<16} {}", answers.join(", "));
        lines.into_iter().map(line).collect()
    }
}

/// Times from when an image was due to when its answer was there.
#[derive(Default)]
pub(crate) struct Latencies(Mutex<Vec<Duration>>);

impl Latencies {
    pub(crate) fn add(&self, time: Duration) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.push(time);
    }

    pub(crate) fn summary(&self) -> Summary {
        let mut times = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        times.sort();
        let at = |share: f64| {
            let rank = (share * times.len() as f64).ceil() as usize;
            times
                .get(rank.saturating_sub(1))
                .copied()
                .unwrap_or_default()
        };
        Summary {
            images: times.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: times.last().copied().unwrap_or_default(),
        }
    }
}

/// Latencies in a few numbers.
pub(crate) struct Summary {
    pub(crate) images: usize,
    p50: Duration,
    p90: Duration,
    p99: Duration,
    max: Duration,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        write!(
            f,
            "{:>6} images, p50 {:.0} ms, p90 {:.0} ms, p99 {:.0} ms, max {:.0} ms",
            self.images,
            ms(self.p50),
            ms(self.p90),
            ms(self.p99),
            ms(self.max)
        )
    }
}
