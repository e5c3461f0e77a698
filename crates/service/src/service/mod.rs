//! The service itself: what the API asks, whatever it is asked through.

mod admission;
mod care;
mod dispatch;
mod event;
mod history;
mod images;
mod opening;
mod retention;

pub use event::{Event, EventKind};

pub(crate) use admission::Place;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::{broadcast, oneshot};

use crate::detectors::Detectors;
use crate::error::ServiceError;
use crate::metrics::Metrics;
use crate::model::{DetectorInfo, ServiceInfo};
use crate::settings::Settings;
use crate::streams::{Handle, Job, Shared};
use admission::Admission;
use dispatch::Dispatch;

type Result<T, E = ServiceError> = std::result::Result<T, E>;

/// Events that a slow listener may lag behind before it has to read the history.
const EVENTS: usize = 1024;

/// A running service.
pub struct Service {
    shared: Arc<Shared>,
    detectors: Detectors,
    streams: RwLock<BTreeMap<String, Arc<Handle>>>,
    /// Creating and deleting streams, one at a time.
    roll: tokio::sync::Mutex<()>,
    admission: Arc<Admission>,
    dispatch: Dispatch,
    stopping: AtomicBool,
    /// Streams that were still at work when the service closed.
    late: Mutex<Vec<String>>,
    /// Holds the data folder for this process.
    _lock: std::fs::File,
}

impl Service {
    /// What the operator set.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Counters and gauges.
    pub fn metrics(&self) -> &Arc<Metrics> {
        let (loaded, bytes) = self.shared.residency.held();
        let metrics = &self.shared.metrics;
        metrics
            .loaded
            .set(i64::try_from(loaded).unwrap_or(i64::MAX));
        metrics.memory.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        let problem =
            self.shared.store.problem().is_some() || self.shared.watchdog.problem().is_some();
        metrics.problems.set(f64::from(u8::from(problem)));
        metrics
    }

    /// The service as it is.
    pub fn info(&self) -> ServiceInfo {
        let (loaded, memory_bytes) = self.shared.residency.held();
        let stopping = self.stopping.load(Ordering::Relaxed);
        let problems = self.shared.store.problem().map(|error| {
            format!("{error}. Images are scored; they are neither remembered nor recorded")
        });
        ServiceInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: !stopping,
            problems: problems
                .into_iter()
                .chain(self.shared.watchdog.problem())
                .collect(),
            streams: self.handles().len(),
            loaded,
            memory_bytes,
            memory_limit_bytes: self.shared.residency.limit(),
            waiting: self.admission.waiting(),
            waiting_limit: self.admission.limit(),
        }
    }

    /// The detectors that streams can be created with.
    pub fn detectors(&self) -> Vec<DetectorInfo> {
        let named = self.detectors.named();
        named.iter().map(|entry| entry.info()).collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`].
    pub fn detector(&self, name: &str) -> Result<DetectorInfo> {
        Ok(self.detectors.find(name)?.info())
    }

    /// Their names.
    pub fn detector_names(&self) -> impl Iterator<Item = &str> {
        self.detectors.named().iter().map(|entry| &*entry.name)
    }

    fn handles(&self) -> Vec<Arc<Handle>> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        streams.values().cloned().collect()
    }

    fn handle(&self, name: &str) -> Result<Arc<Handle>> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        streams.get(name).cloned().ok_or_else(|| {
            let nearest = rareclip_core::config::nearest(name, streams.keys().map(String::as_str));
            ServiceError::NotFound {
                what: "stream",
                name: crate::text::repeated(name),
                hint: format!("{nearest}; create it with POST /v1/streams"),
            }
        })
    }

    /// Side in pixels of the images that a stream's detector takes; 0 if the stream does not exist.
    pub fn image_side(&self, name: &str) -> usize {
        let entry = self
            .handle(name)
            .ok()
            .and_then(|handle| handle.entry.clone().ok());
        entry.map_or(0, |entry| entry.detector.spec().input.side)
    }

    fn running(&self) -> Result<()> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(ServiceError::Stopping);
        }
        Ok(())
    }

    /// Seconds until there should be room for one more image: what a client is told that has to
    /// come back.
    pub fn retry_after_s(&self) -> u64 {
        self.admission.retry_after(1)
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// Writes every stream out, within [`Settings::close_grace`]. Images that come from now on are
    /// refused. [`late`](Self::late) has the streams that were still at work then: what they have
    /// not written is in the journal.
    pub async fn close(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let mut waiting = Vec::new();
        for handle in self.handles() {
            let (done, wait) = oneshot::channel();
            if handle.jobs.send(Job::Close(done)).is_ok() {
                waiting.push((handle, wait));
            }
        }
        let deadline = tokio::time::Instant::now() + self.settings().close_grace;
        let mut late = Vec::new();
        for (handle, wait) in waiting {
            // An owner that ended otherwise has nothing to write.
            if tokio::time::timeout_at(deadline, wait).await.is_err() {
                late.push(handle.name.to_string());
            }
        }
        if !late.is_empty() {
            let streams = late.join(", ");
            tracing::error!(%streams, "Streams still at work when the service closed; the journal has what they have not written.");
        }
        *self.late.lock().unwrap_or_else(PoisonError::into_inner) = late;
    }

    /// The streams that had not written themselves out in time when the service closed.
    pub fn late(&self) -> Vec<String> {
        self.late
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Work of many milliseconds beside the threads that answer requests.
    pub async fn compute<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        self.shared.compute(what, work).await
    }
}
