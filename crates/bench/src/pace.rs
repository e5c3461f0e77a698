//! How far a benchmark is, and how long the rest takes.

use std::collections::BTreeMap;
use std::time::Duration;

use rareclip_pipeline::Progress;

/// Steps and how long one of a kind takes.
pub(crate) struct Pace<'p> {
    pub(crate) report: &'p mut dyn FnMut(&Progress),
    /// Per kind of step: steps left, steps measured, time of those.
    pub(crate) kinds: BTreeMap<String, (u64, u64, Duration)>,
    pub(crate) done: u64,
}

impl Pace<'_> {
    pub(crate) fn step(&mut self, kind: &str, steps: u64, time: Option<Duration>, doing: String) {
        let entry = self.kinds.entry(kind.to_owned()).or_default();
        entry.0 = entry.0.saturating_sub(steps);
        if let Some(time) = time {
            entry.1 += steps;
            entry.2 += time;
        }
        self.done += steps;
        let (measured, spent) = self.kinds.values().fold((0, Duration::ZERO), |sum, kind| {
            (sum.0 + kind.1, sum.1 + kind.2)
        });
        let mean = |count: u64, time: Duration| time.as_secs_f64() / count as f64;
        let left = (measured > 0).then(|| {
            let seconds: f64 = self
                .kinds
                .values()
                .map(|&(left, count, time)| {
                    let each = if count > 0 {
                        mean(count, time)
                    } else {
                        mean(measured, spent)
                    };
                    left as f64 * each
                })
                .sum();
            Duration::from_secs_f64(seconds)
        });
        let rest: u64 = self.kinds.values().map(|kind| kind.0).sum();
        (self.report)(&Progress {
            doing,
            done: self.done,
            total: self.done + rest,
            left,
        });
    }
}
