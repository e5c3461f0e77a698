//! How much may wait: one rule for one image and for many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crate::error::ServiceError;
use crate::metrics::Metrics;

/// Weight of the newest image in the running mean of seconds an image.
const WEIGHT: f64 = 0.1;

/// The places of the queue.
pub(super) struct Admission {
    limit: usize,
    taken: AtomicUsize,
    /// Running mean of seconds between two images done, as bits of an f64.
    pace: AtomicU64,
    last_done: std::sync::Mutex<Option<Instant>>,
    metrics: Arc<Metrics>,
}

/// A place in the queue, given back when dropped.
#[derive(Default)]
pub(crate) struct Place(Option<Arc<Admission>>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(admission) = &self.0 {
            admission.done();
        }
    }
}

impl Admission {
    pub(super) fn new(limit: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            limit: limit.max(1),
            taken: AtomicUsize::new(0),
            pace: AtomicU64::new(0.1f64.to_bits()),
            last_done: std::sync::Mutex::default(),
            metrics,
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn waiting(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Places for `images`, or none at all.
    pub(super) fn admit(self: &Arc<Self>, images: usize) -> Result<Vec<Place>, ServiceError> {
        if images > self.limit {
            return Err(ServiceError::TooLarge(format!(
                "{images} images in one request; at most {} can wait: send them in several",
                self.limit
            )));
        }
        let free = |taken: usize| (taken + images <= self.limit).then_some(taken + images);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, free)
            .map_err(|waiting| ServiceError::Busy {
                waiting,
                limit: self.limit,
                retry_after_s: self.retry_after(waiting + images - self.limit),
            })?;
        self.gauge();
        Ok((0..images).map(|_| Place(Some(Arc::clone(self)))).collect())
    }

    /// Seconds until `images` more are done, at the present pace.
    pub(super) fn retry_after(&self, images: usize) -> u64 {
        let pace = f64::from_bits(self.pace.load(Ordering::Relaxed));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 1 and 60"
        )]
        let seconds = (images as f64 * pace).ceil().clamp(1.0, 60.0) as u64;
        seconds
    }

    fn done(&self) {
        let waiting = self.taken.fetch_sub(1, Ordering::Relaxed) - 1;
        self.gauge();
        let now = Instant::now();
        let mut last = self
            .last_done
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // Between the last of a rush and the first of the next lies no work.
        let before = last.replace(now).filter(|_| waiting > 0);
        if let Some(before) = before {
            let pace = f64::from_bits(self.pace.load(Ordering::Relaxed));
            let seconds = (now - before).as_secs_f64();
            let pace = pace + WEIGHT * (seconds - pace);
            self.pace.store(pace.to_bits(), Ordering::Relaxed);
        }
    }

    fn gauge(&self) {
        let waiting = i64::try_from(self.waiting()).unwrap_or(i64::MAX);
        self.metrics.waiting.set(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_admitted_whole_or_not_at_all() {
        let admission = Arc::new(Admission::new(4, Arc::new(Metrics::new())));
        let three = admission.admit(3).unwrap();
        assert!(matches!(
            admission.admit(2),
            Err(ServiceError::Busy { waiting: 3, .. })
        ));
        let one = admission.admit(1).unwrap();
        assert_eq!(admission.waiting(), 4);
        drop(three);
        assert_eq!(admission.waiting(), 1);
        drop(one);
        assert_eq!(admission.waiting(), 0);
    }

    #[test]
    fn more_than_can_ever_wait_is_too_large_rather_than_busy() {
        let admission = Arc::new(Admission::new(4, Arc::new(Metrics::new())));
        assert!(matches!(admission.admit(5), Err(ServiceError::TooLarge(_))));
    }
}
