//! Which memories are loaded: a budget in bytes for all of them, the longest idle written out
//! first.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

use super::Job;

struct Loaded {
    bytes: u64,
    /// Grows with every use.
    used: u64,
    idle: bool,
    /// Asked to go already.
    leaving: bool,
    owner: mpsc::UnboundedSender<Job>,
}

#[derive(Default)]
struct Books {
    loaded: HashMap<i64, Loaded>,
    bytes: u64,
    clock: u64,
    waiting: usize,
}

impl Books {
    /// Asks the longest idle stream but `except` to write itself out.
    fn ask_one(&mut self, except: i64) {
        let longest = self
            .loaded
            .iter_mut()
            .filter(|(id, loaded)| **id != except && loaded.idle && !loaded.leaving)
            .min_by_key(|(_, loaded)| loaded.used);
        if let Some((_, loaded)) = longest {
            loaded.leaving = loaded.owner.send(Job::WriteOut).is_ok();
        }
    }

    /// Bytes that stay when everyone who was asked has gone.
    fn staying(&self) -> u64 {
        self.loaded
            .values()
            .filter(|loaded| !loaded.leaving)
            .map(|loaded| loaded.bytes)
            .sum()
    }
}

/// The books of loaded memories.
pub(crate) struct Residency {
    limit: u64,
    books: Mutex<Books>,
    freed: Notify,
}

impl Residency {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit,
            books: Mutex::default(),
            freed: Notify::new(),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room for `bytes` and takes it. A memory larger than the whole budget is let in
    /// when it is the only one.
    pub(crate) async fn enter(&self, id: i64, bytes: u64, owner: &mpsc::UnboundedSender<Job>) {
        let mut counted = false;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // From here on no notice is missed.
            freed.as_mut().enable();
            {
                let mut books = self.books();
                if books.loaded.is_empty() || books.bytes + bytes <= self.limit {
                    books.clock += 1;
                    let used = books.clock;
                    books.bytes += bytes;
                    books.waiting -= usize::from(counted);
                    books.loaded.insert(
                        id,
                        Loaded {
                            bytes,
                            used,
                            idle: false,
                            leaving: false,
                            owner: owner.clone(),
                        },
                    );
                    return;
                }
                books.waiting += usize::from(!counted);
                counted = true;
                if books.staying() + bytes > self.limit {
                    books.ask_one(id);
                }
            }
            freed.await;
        }
    }

    /// Notes what a loaded memory holds now, and whether its stream has nothing to do.
    pub(crate) fn note(&self, id: i64, bytes: u64, idle: bool) {
        let mut books = self.books();
        books.clock += 1;
        let clock = books.clock;
        let Some(loaded) = books.loaded.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut loaded.bytes, bytes);
        loaded.used = clock;
        loaded.idle = idle;
        books.bytes = books.bytes + bytes - before;
        if books.staying() > self.limit {
            books.ask_one(id);
        }
        let waiting = books.waiting > 0;
        drop(books);
        if idle && waiting {
            // A stream that waits may ask this one now.
            self.freed.notify_waiters();
        }
    }

    /// Takes a memory off the books.
    pub(crate) fn leave(&self, id: i64) {
        let mut books = self.books();
        if let Some(loaded) = books.loaded.remove(&id) {
            books.bytes -= loaded.bytes;
        }
        drop(books);
        self.freed.notify_waiters();
    }

    /// Takes a memory off the books whose bytes are still held, by a computation that does not end.
    /// Gives the bytes, for [`recovered`](Self::recovered).
    pub(crate) fn strand(&self, id: i64) -> u64 {
        let removed = self.books().loaded.remove(&id);
        self.freed.notify_waiters();
        removed.map_or(0, |loaded| loaded.bytes)
    }

    /// The bytes of a stranded memory are free again.
    pub(crate) fn recovered(&self, bytes: u64) {
        let mut books = self.books();
        books.bytes = books.bytes.saturating_sub(bytes);
        drop(books);
        self.freed.notify_waiters();
    }

    /// Whether another stream waits for room.
    pub(crate) fn wanted(&self) -> bool {
        self.books().waiting > 0
    }

    /// Loaded streams, and the bytes they hold.
    pub(crate) fn held(&self) -> (usize, u64) {
        let books = self.books();
        (books.loaded.len(), books.bytes)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn owner() -> (mpsc::UnboundedSender<Job>, mpsc::UnboundedReceiver<Job>) {
        mpsc::unbounded_channel()
    }

    #[tokio::test]
    async fn the_longest_idle_is_asked_to_go_and_makes_room() {
        let residency = Arc::new(Residency::new(100));
        let ((a, mut jobs_a), (b, mut jobs_b), (c, _jobs_c)) = (owner(), owner(), owner());
        residency.enter(1, 40, &a).await;
        residency.enter(2, 40, &b).await;
        residency.note(1, 40, true);
        residency.note(2, 40, true);
        let entering = {
            let residency = Arc::clone(&residency);
            tokio::spawn(async move { residency.enter(3, 40, &c).await })
        };
        assert!(matches!(jobs_a.recv().await, Some(Job::WriteOut)));
        assert!(jobs_b.try_recv().is_err());
        assert!(residency.wanted());
        residency.leave(1);
        entering.await.unwrap();
        assert_eq!(residency.held(), (2, 80));
        assert!(!residency.wanted());
    }

    #[tokio::test]
    async fn a_busy_stream_is_asked_as_soon_as_it_is_idle() {
        let residency = Arc::new(Residency::new(100));
        let ((a, mut jobs), (b, _jobs_b)) = (owner(), owner());
        residency.enter(1, 80, &a).await;
        let entering = {
            let residency = Arc::clone(&residency);
            tokio::spawn(async move { residency.enter(2, 80, &b).await })
        };
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(jobs.try_recv().is_err());
        residency.note(1, 80, true);
        assert!(matches!(jobs.recv().await, Some(Job::WriteOut)));
        residency.leave(1);
        entering.await.unwrap();
    }

    #[tokio::test]
    async fn a_stranded_memory_is_counted_until_it_is_recovered_and_does_not_stop_others() {
        let residency = Residency::new(100);
        let ((a, _jobs_a), (b, _jobs_b)) = (owner(), owner());
        residency.enter(1, 80, &a).await;
        assert_eq!(residency.strand(1), 80);
        residency.leave(1);
        assert_eq!(residency.held(), (0, 80));
        // Nothing that is loaded could make room.
        residency.enter(2, 80, &b).await;
        assert_eq!(residency.held(), (1, 160));
        residency.recovered(80);
        assert_eq!(residency.held(), (1, 80));
    }

    #[tokio::test]
    async fn a_memory_larger_than_the_budget_is_let_in_alone() {
        let residency = Residency::new(10);
        let (a, _jobs) = owner();
        residency.enter(1, 1000, &a).await;
        assert_eq!(residency.held(), (1, 1000));
    }
}
