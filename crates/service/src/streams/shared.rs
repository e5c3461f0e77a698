//! What every stream of a service works with.

use std::sync::Arc;
use std::time::Duration;

use rareclip_pipeline::Watchdog;
use tokio::sync::broadcast;

use super::residency::Residency;
use crate::budget::Budget;
use crate::building::Builds;
use crate::error::ServiceError;
use crate::metrics::Metrics;
use crate::pictures::Pictures;
use crate::service::Event;
use crate::settings::Settings;
use crate::store::Store;

/// What every stream of a service works with.
pub(crate) struct Shared {
    pub settings: Settings,
    pub store: Arc<Store>,
    pub pictures: Arc<Pictures>,
    pub residency: Residency,
    pub metrics: Arc<Metrics>,
    pub events: broadcast::Sender<Event>,
    /// Where components are built.
    pub builds: Builds,
    /// Work of many milliseconds at once: no more of it than there are cores.
    pub cores: Arc<tokio::sync::Semaphore>,
    /// Room for decoding, for all images together.
    pub decoding: Budget,
    /// Decoding large images: on half of the cores, so that small images of other streams find a
    /// free one.
    pub large: Arc<tokio::sync::Semaphore>,
    /// States that come from elsewhere are proved one at a time: each is in memory beside the one
    /// that it replaces.
    pub proving: tokio::sync::Semaphore,
    pub watchdog: Arc<Watchdog>,
}

impl Shared {
    /// Runs work of many milliseconds beside the threads that answer requests; `what` names it
    /// should it not end.
    ///
    /// # Errors
    /// [`ServiceError::Stuck`], or [`ServiceError::Internal`] when the work panicked.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let limit = self.watchdog.limit();
        self.compute_within(what, limit, work, || ()).await
    }

    /// [`compute`](Self::compute) with another limit. What `abandoned` gives is dropped when work
    /// that did not end in time ends after all.
    pub(crate) async fn compute_within<T: Send + 'static, G: Send + 'static>(
        &self,
        what: &str,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
        abandoned: impl FnOnce() -> G,
    ) -> Result<T, ServiceError> {
        let permit = Arc::clone(&self.cores).acquire_owned().await;
        let mut task = tokio::task::spawn_blocking(work);
        if let Ok(done) = tokio::time::timeout(limit, &mut task).await {
            drop(permit);
            return done.map_err(|error| ServiceError::Internal(error.to_string()));
        }
        let stuck = self.watchdog.report(what, limit);
        let guard = abandoned();
        // A thread cannot be ended. Others go on without it, as long as such threads are few.
        let kept = (!self.watchdog.has_spare()).then_some(permit);
        tokio::spawn(async move {
            let _ = task.await;
            drop((stuck, guard, kept));
        });
        Err(ServiceError::Stuck {
            what: what.to_owned(),
            seconds: limit.as_secs_f64(),
        })
    }

    /// Tells everyone who listens.
    pub(crate) fn tell(&self, event: Event) {
        // Nobody may listen.
        let _ = self.events.send(event);
    }
}
