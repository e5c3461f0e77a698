//! How often a host may be started again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The first pause between two starts; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How many restarts within how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) restarts: u32,
    pub(crate) window: Duration,
}

/// The restarts of one host.
#[derive(Debug)]
pub(crate) struct Restarts {
    pub(crate) limits: Limits,
    latest: VecDeque<Instant>,
}

impl Restarts {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            latest: VecDeque::new(),
        }
    }

    /// Counts a restart at `now` and says how long to wait before it: not at all for the first of
    /// the window. `None` where the window is used up.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Duration> {
        let over = |start: &Instant| now.saturating_duration_since(*start) >= self.limits.window;
        while self.latest.front().is_some_and(over) {
            self.latest.pop_front();
        }
        let before = u32::try_from(self.latest.len()).unwrap_or(u32::MAX);
        if before >= self.limits.restarts {
            return None;
        }
        self.latest.push_back(now);
        Some(match before.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => FIRST_PAUSE
                .saturating_mul(1 << doublings.min(16))
                .min(LONGEST_PAUSE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_the_window_fills_up_and_empties() {
        let mut restarts = Restarts::new(Limits {
            restarts: 3,
            window: Duration::from_secs(60),
        });
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(restarts.next(at(0)), Some(Duration::ZERO));
        assert_eq!(restarts.next(at(1)), Some(FIRST_PAUSE));
        assert_eq!(restarts.next(at(2)), Some(2 * FIRST_PAUSE));
        assert_eq!(restarts.next(at(3)), None);
        assert_eq!(restarts.next(at(60)), Some(2 * FIRST_PAUSE));
        assert_eq!(restarts.next(at(60)), None);
        assert_eq!(restarts.next(at(200)), Some(Duration::ZERO));
    }

    #[test]
    fn no_pause_is_longer_than_the_longest() {
        let mut restarts = Restarts::new(Limits {
            restarts: 100,
            window: Duration::from_secs(60),
        });
        let now = Instant::now();
        let pauses: Vec<_> = (0..50).filter_map(|_| restarts.next(now)).collect();
        assert_eq!(pauses.len(), 50);
        assert!(pauses.is_sorted() && pauses[49] == LONGEST_PAUSE);
    }

    #[test]
    fn with_no_restarts_allowed_there_is_none() {
        let mut restarts = Restarts::new(Limits {
            restarts: 0,
            window: Duration::from_secs(60),
        });
        assert_eq!(restarts.next(Instant::now()), None);
    }
}
