//! Computations that do not end: noticed, named, and kept from stopping the rest of the service.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Computations that are replaced by a spare thread. Beyond this number each keeps the place of a
/// core.
const SPARES: usize = 16;

/// Knows which computations have run for too long.
#[derive(Debug)]
pub struct Watchdog {
    limit: Duration,
    stuck: Mutex<(u64, BTreeMap<u64, String>)>,
}

/// A computation that has run for too long; dropped when it ends after all.
#[derive(Debug)]
pub struct Stuck {
    watchdog: Arc<Watchdog>,
    number: u64,
}

impl Watchdog {
    /// `limit` is the time that a computation may take.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            stuck: Mutex::default(),
        }
    }

    /// Time that the computation for one image may take.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    fn stuck(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, String>)> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `what` has run for longer than `limit`.
    pub fn report(self: &Arc<Self>, what: &str, limit: Duration) -> Stuck {
        let mut stuck = self.stuck();
        stuck.0 += 1;
        let number = stuck.0;
        stuck.1.insert(number, what.to_owned());
        let running = stuck.1.len();
        drop(stuck);
        tracing::error!(
            what,
            limit_s = limit.as_secs_f64(),
            running,
            "A computation has not ended in time; its thread is left alone."
        );
        Stuck {
            watchdog: Arc::clone(self),
            number,
        }
    }

    /// Whether one more computation that does not end may be replaced by a spare thread.
    pub fn has_spare(&self) -> bool {
        self.stuck().1.len() <= SPARES
    }

    /// What is stuck at present, in words.
    pub fn problem(&self) -> Option<String> {
        let stuck = self.stuck();
        let first = stuck.1.values().next()?;
        let others = match stuck.1.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "computations that do not end: {first}{others}. Restart the service to end them; the log says more"
        ))
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        let what = self.watchdog.stuck().1.remove(&self.number);
        tracing::warn!(what, "A computation that was late has ended.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stuck_is_named_until_it_ends() {
        let watchdog = Arc::new(Watchdog::new(Duration::from_secs(1)));
        assert_eq!(watchdog.problem(), None);
        let first = watchdog.report("stream a", watchdog.limit());
        let second = watchdog.report("stream b", watchdog.limit());
        let problem = watchdog.problem().unwrap();
        assert!(problem.contains("stream a and 1 more"), "{problem}");
        drop(first);
        let problem = watchdog.problem().unwrap();
        assert!(problem.contains("stream b."), "{problem}");
        drop(second);
        assert_eq!(watchdog.problem(), None);
    }

    #[test]
    fn spare_threads_are_bounded() {
        let watchdog = Arc::new(Watchdog::new(Duration::from_secs(1)));
        let stuck: Vec<Stuck> = (0..=SPARES)
            .map(|_| watchdog.report("stream", watchdog.limit()))
            .collect();
        assert!(!watchdog.has_spare());
        drop(stuck);
        assert!(watchdog.has_spare());
    }
}
