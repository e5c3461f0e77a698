//! What a connection is doing: for its timeouts, and for the choice of the one that makes room.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a connection may wait for its client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// From the opening of the connection to its first request.
    pub(super) head: Duration,
    /// From the end of a response to the next request.
    pub(super) idle: Duration,
    /// For progress while a response is sent.
    pub(super) write: Duration,
}

impl Timeouts {
    /// How often the timeouts are checked.
    fn tick(&self) -> Duration {
        let shortest = self.head.min(self.idle).min(self.write);
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

/// Which timeout has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No request came.
    Head,
    /// No further request came.
    Idle,
    /// The client does not read its response.
    Write,
}

/// The activity of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests so far.
    requests: u64,
    /// Requests whose responses are not complete.
    open: usize,
    idle_since: Instant,
    /// Since when the socket takes no bytes although there are some to send.
    blocked: Option<Instant>,
    /// Responses with bytes that the connection does not take, and since when: with HTTP/2 a client
    /// can stop a response without blocking the socket.
    parked: BTreeMap<u64, Instant>,
}

impl Activity {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            opened: now,
            state: Mutex::new(State {
                requests: 0,
                open: 0,
                idle_since: now,
                blocked: None,
                parked: BTreeMap::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has begun; it ends when the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Open {
        let mut state = self.state();
        state.requests += 1;
        state.open += 1;
        Open {
            id: state.requests,
            activity: Arc::clone(self),
        }
    }

    /// Whether the socket takes no bytes.
    pub(super) fn set_blocked(&self, blocked: bool) {
        let mut state = self.state();
        match blocked {
            true => {
                state.blocked.get_or_insert_with(Instant::now);
            }
            false => state.blocked = None,
        }
    }

    /// Since when there is no request in work, and whether there was one before; `None` while there
    /// is one.
    pub(super) fn idle(&self) -> Option<(bool, Instant)> {
        let state = self.state();
        (state.open == 0).then_some((state.requests > 0, state.idle_since))
    }

    fn overdue(&self, timeouts: &Timeouts, now: Instant) -> Option<Overdue> {
        let state = self.state();
        let passed = |since: Instant, time: Duration| now.duration_since(since) > time;
        let mut stalled = state.parked.values().chain(&state.blocked);
        if stalled.any(|since| passed(*since, timeouts.write)) {
            return Some(Overdue::Write);
        }
        if state.open > 0 {
            return None;
        }
        match state.requests {
            0 => passed(self.opened, timeouts.head).then_some(Overdue::Head),
            _ => passed(state.idle_since, timeouts.idle).then_some(Overdue::Idle),
        }
    }

    /// Ends when a timeout has passed.
    pub(super) async fn expired(&self, timeouts: Timeouts) -> Overdue {
        let tick = timeouts.tick();
        loop {
            tokio::time::sleep(tick).await;
            if let Some(overdue) = self.overdue(&timeouts, Instant::now()) {
                return overdue;
            }
        }
    }
}

/// A request whose response is not complete.
#[derive(Debug)]
pub(super) struct Open {
    id: u64,
    activity: Arc<Activity>,
}

impl Open {
    /// Whether the response has bytes that the connection has not taken.
    pub(super) fn set_parked(&self, parked: bool) {
        let mut state = self.activity.state();
        if parked {
            state.parked.entry(self.id).or_insert_with(Instant::now);
        } else {
            state.parked.remove(&self.id);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.parked.remove(&self.id);
        state.open -= 1;
        state.idle_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        head: Duration::from_secs(2),
        idle: Duration::from_secs(4),
        write: Duration::from_secs(3),
    };

    fn overdue(activity: &Activity, seconds: u64) -> Option<Overdue> {
        activity.overdue(&TIMEOUTS, Instant::now() + Duration::from_secs(seconds))
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_has_its_time_for_the_first_request_and_for_each_next_one() {
        let activity = Arc::new(Activity::new());
        assert_eq!(overdue(&activity, 1), None);
        assert_eq!(overdue(&activity, 3), Some(Overdue::Head));
        let open = activity.begin();
        assert_eq!(activity.idle(), None);
        drop(open);
        assert_eq!(overdue(&activity, 3), None);
        assert_eq!(overdue(&activity, 5), Some(Overdue::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_work_may_take_any_time() {
        let activity = Arc::new(Activity::new());
        let _open = activity.begin();
        assert_eq!(overdue(&activity, 100_000), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_overdue_until_it_reads() {
        let activity = Arc::new(Activity::new());
        let open = activity.begin();
        open.set_parked(true);
        assert_eq!(overdue(&activity, 2), None);
        assert_eq!(overdue(&activity, 4), Some(Overdue::Write));
        open.set_parked(false);
        assert_eq!(overdue(&activity, 4), None);
        activity.set_blocked(true);
        assert_eq!(overdue(&activity, 4), Some(Overdue::Write));
        activity.set_blocked(false);
        assert_eq!(overdue(&activity, 4), None);
    }
}
