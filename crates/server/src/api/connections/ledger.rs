//! The open connections: how many there may be, and which one makes room for a new one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::activity::Activity;

/// Connections beyond the limit that get answers to health checks only.
const RESERVE: usize = 16;

/// The open connections.
#[derive(Debug)]
pub(super) struct Ledger {
    limit: usize,
    per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    network: IpAddr,
    kind: Kind,
    activity: Arc<Activity>,
    close: Arc<Notify>,
    /// It was told to close, and its place was given to another.
    leaving: bool,
}

/// What a connection may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Everything.
    Full,
    /// Health checks; every other request is answered 503.
    Health,
}

/// The place of a connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    ledger: Arc<Ledger>,
    id: u64,
    pub(super) kind: Kind,
    pub(super) activity: Arc<Activity>,
    /// Notified when the place is needed for another connection.
    pub(super) close: Arc<Notify>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.ledger.open().entries.remove(&self.id);
    }
}

impl Ledger {
    pub(super) fn new(limit: usize, per_address: Option<usize>) -> Self {
        let limit = limit.max(1);
        Self {
            limit,
            per_address: per_address.unwrap_or(limit / 2).max(1),
            open: Mutex::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection from `address`; `None` if even the places for health checks are in
    /// use.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let network = network(address);
        let mut open = self.open();
        let crowded = !network.is_loopback()
            && open.count(|entry| entry.kind == Kind::Full && entry.network == network)
                >= self.per_address;
        let full = open.count(|entry| entry.kind == Kind::Full) >= self.limit;
        let may_leave =
            |entry: &Entry| entry.kind == Kind::Full && (!crowded || entry.network == network);
        let kind = if (!crowded && !full) || open.make_room(may_leave) {
            Kind::Full
        } else if open.count(|entry| entry.kind == Kind::Health) < RESERVE
            || open.make_room(|entry| entry.kind == Kind::Health)
        {
            Kind::Health
        } else {
            return None;
        };
        Some(self.enter(&mut open, network, kind))
    }

    fn enter(self: &Arc<Self>, open: &mut Open, network: IpAddr, kind: Kind) -> Seat {
        let id = open.next;
        open.next += 1;
        let activity = Arc::new(Activity::new());
        let close = Arc::new(Notify::new());
        open.entries.insert(
            id,
            Entry {
                network,
                kind,
                activity: Arc::clone(&activity),
                close: Arc::clone(&close),
                leaving: false,
            },
        );
        Seat {
            ledger: Arc::clone(self),
            id,
            kind,
            activity,
            close,
        }
    }
}

impl Open {
    fn count(&self, which: impl Fn(&Entry) -> bool) -> usize {
        let staying = self.entries.values().filter(|entry| !entry.leaving);
        staying.filter(|entry| which(entry)).count()
    }

    /// Closes the idle connection that is worth least: one that never sent a request before one
    /// that did, and among those the one that has been idle longest. False if none of them is idle.
    fn make_room(&mut self, which: impl Fn(&Entry) -> bool) -> bool {
        let staying = self.entries.values_mut().filter(|entry| !entry.leaving);
        let idle = staying
            .filter(|entry| which(entry))
            .filter_map(|entry| Some((entry.activity.idle()?, entry)));
        let Some((_, entry)) = idle.min_by_key(|(idle, _)| *idle) else {
            return false;
        };
        entry.leaving = true;
        entry.close.notify_one();
        true
    }
}

/// What counts as one address: an IPv4 address, or the /64 network of an IPv6 address, which one
/// machine can use as a whole.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(limit: usize, per_address: usize) -> Arc<Ledger> {
        Arc::new(Ledger::new(limit, Some(per_address)))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[tokio::test]
    async fn at_the_limit_the_connection_idle_longest_makes_room_and_those_in_use_do_not() {
        let ledger = ledger(2, 2);
        let first = ledger.admit(address(1)).unwrap();
        let in_use = first.activity.begin();
        let second = ledger.admit(address(2)).unwrap();
        let third = ledger.admit(address(3)).unwrap();
        assert_eq!(third.kind, Kind::Full);
        tokio::time::timeout(std::time::Duration::from_secs(20), second.close.notified())
            .await
            .unwrap();
        let _other = third.activity.begin();
        assert_eq!(ledger.admit(address(4)).unwrap().kind, Kind::Health);
        drop(in_use);
        assert_eq!(ledger.admit(address(4)).unwrap().kind, Kind::Full);
    }

    #[tokio::test]
    async fn a_connection_that_never_sent_a_request_goes_before_one_that_did() {
        let ledger = ledger(2, 2);
        let camera = ledger.admit(address(1)).unwrap();
        drop(camera.activity.begin());
        let silent = ledger.admit(address(2)).unwrap();
        let _new = ledger.admit(address(3)).unwrap();
        let silent = silent.close.notified();
        tokio::time::timeout(std::time::Duration::from_secs(20), silent)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn one_address_cannot_take_every_place_unless_it_is_loopback() {
        let ledger = ledger(4, 2);
        let own: Vec<Seat> = (0..3).filter_map(|_| ledger.admit(address(1))).collect();
        let _busy: Vec<_> = own.iter().map(|seat| seat.activity.begin()).collect();
        assert_eq!(ledger.admit(address(1)).unwrap().kind, Kind::Health);
        assert_eq!(ledger.admit(address(2)).unwrap().kind, Kind::Full);
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let local: Vec<Seat> = (0..2).filter_map(|_| ledger.admit(loopback)).collect();
        assert!(local.iter().all(|seat| seat.kind == Kind::Full));
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        let parse = |text: &str| network(text.parse().unwrap());
        assert_eq!(parse("2001:db8::1"), parse("2001:db8::ffff:1"));
        assert_ne!(parse("2001:db8::1"), parse("2001:db8:0:1::1"));
        assert_eq!(parse("::ffff:10.0.0.1"), parse("10.0.0.1"));
        assert!(parse("::1").is_loopback());
    }
}
