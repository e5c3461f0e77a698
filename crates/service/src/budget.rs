//! Room in bytes that requests share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const KIB: usize = 1024;

/// Room in bytes, counted in KiB; clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    room: Arc<Semaphore>,
    kib: usize,
}

/// Room that is held until it is dropped.
#[derive(Debug, Default)]
pub struct Held {
    permit: Option<OwnedSemaphorePermit>,
    kib: usize,
}

impl Budget {
    /// Room for so many bytes.
    pub fn new(bytes: usize) -> Self {
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
        let kib = bytes.div_ceil(KIB).clamp(1, most);
        Self {
            room: Arc::new(Semaphore::new(kib)),
            kib,
        }
    }

    /// All of it, in KiB.
    pub fn kib(&self) -> usize {
        self.kib
    }

    /// What is held at this moment, in KiB.
    pub fn used_kib(&self) -> usize {
        self.kib - self.room.available_permits().min(self.kib)
    }

    /// Whether so many bytes would fit at this moment.
    pub fn fits(&self, bytes: usize) -> bool {
        self.room.available_permits() >= bytes.div_ceil(KIB)
    }

    /// Whether so many bytes would fit if nothing else were held.
    pub fn ever_fits(&self, bytes: usize) -> bool {
        self.kib >= bytes.div_ceil(KIB)
    }

    /// Makes `held` cover `bytes`; false if it does not fit.
    pub fn grow(&self, held: &mut Held, bytes: usize) -> bool {
        let wanted = bytes.div_ceil(KIB);
        let Ok(more) = u32::try_from(wanted.saturating_sub(held.kib)) else {
            return false;
        };
        if more == 0 {
            return true;
        }
        let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(more) else {
            return false;
        };
        match &mut held.permit {
            Some(all) => all.merge(permit),
            none => *none = Some(permit),
        }
        held.kib = wanted;
        true
    }

    /// Room for `bytes`, if there is room now.
    pub fn take(&self, bytes: usize) -> Option<Held> {
        let mut held = Held::default();
        self.grow(&mut held, bytes).then_some(held)
    }

    /// Waits for room for `bytes`, in the order of the calls; `None` where it can never fit.
    pub async fn wait(&self, bytes: usize) -> Option<Held> {
        if !self.ever_fits(bytes) {
            return None;
        }
        let kib = bytes.div_ceil(KIB);
        let permits = u32::try_from(kib).ok()?;
        let permit = Arc::clone(&self.room).acquire_many_owned(permits).await;
        Some(Held {
            permit: Some(permit.ok()?),
            kib,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_over_all_requests_and_given_back() {
        let budget = Budget::new(10 * KIB);
        let (mut first, mut second) = (Held::default(), Held::default());
        assert!(budget.grow(&mut first, 6 * KIB));
        assert!(!budget.grow(&mut second, 5 * KIB));
        assert!(budget.grow(&mut second, 4 * KIB));
        assert!(!budget.grow(&mut first, 6 * KIB + 1));
        drop(second);
        assert!(budget.grow(&mut first, 10 * KIB));
        assert!(!budget.fits(1));
    }

    #[test]
    fn a_request_that_grows_pays_for_each_kib_once() {
        let budget = Budget::new(4 * KIB);
        let mut held = Held::default();
        for size in 0..=4 * KIB {
            assert!(budget.grow(&mut held, size), "{size}");
        }
    }

    #[tokio::test]
    async fn who_waits_gets_room_in_order_and_what_never_fits_is_refused() {
        let budget = Arc::new(Budget::new(10 * KIB));
        let first = budget.wait(8 * KIB).await.unwrap();
        assert!(budget.wait(11 * KIB).await.is_none());
        let waiting = {
            let budget = Arc::clone(&budget);
            tokio::spawn(async move { budget.wait(9 * KIB).await })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        assert!(waiting.await.unwrap().is_some());
    }
}
