//! Streams: one owner each, that applies what comes in the order it came.

mod changes;
mod image;
mod memory;
mod owner;
mod residency;
mod scoring;
mod view;

pub(crate) use image::{Decoded, ImageJob, Ready};
pub(crate) use owner::{Owner, milliseconds, now};
pub(crate) use residency::Residency;
pub(crate) use view::{Figures, View};

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rareclip_core::calibration::{CalibrationConfig, Reference};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::building::Builds;
use crate::detectors::Entry;
use crate::encoder::Encoded;
use crate::error::ServiceError;
use crate::metrics::Metrics;
use crate::model::{SnapshotInfo, StreamInfo};
use crate::pictures::Pictures;
use crate::service::Event;
use crate::settings::Settings;
use crate::store::Store;

/// What every stream of a service works with.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<Store>,
    pub(crate) pictures: Arc<Pictures>,
    pub(crate) residency: Residency,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) events: broadcast::Sender<Event>,
    /// Where components are built.
    pub(crate) builds: Builds,
    /// Work of many milliseconds at once: no more of it than there are cores.
    pub(crate) cores: tokio::sync::Semaphore,
}

impl Shared {
    /// Runs work of many milliseconds beside the threads that answer requests.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let permit = self.cores.acquire().await;
        let done = tokio::task::spawn_blocking(work).await;
        drop(permit);
        done.map_err(|error| ServiceError::Internal(error.to_string()))
    }

    /// Tells everyone who listens.
    pub(crate) fn tell(&self, event: Event) {
        // Nobody may listen.
        let _ = self.events.send(event);
    }
}

/// A stream as the service knows it.
pub(crate) struct Handle {
    pub(crate) id: i64,
    pub(crate) name: Arc<str>,
    /// Missing where the service was started without it.
    pub(crate) entry: Result<Arc<Entry>, String>,
    pub(crate) jobs: mpsc::UnboundedSender<Job>,
    /// Held while a request's images are queued, so that they stay together.
    pub(crate) arrival: Mutex<()>,
    pub(crate) waiting: AtomicUsize,
    view: Mutex<View>,
}

impl Handle {
    pub(crate) fn new(
        id: i64,
        name: &str,
        entry: Result<Arc<Entry>, String>,
        jobs: mpsc::UnboundedSender<Job>,
        view: View,
    ) -> Self {
        Self {
            id,
            name: name.into(),
            entry,
            jobs,
            arrival: Mutex::default(),
            waiting: AtomicUsize::new(0),
            view: Mutex::new(view),
        }
    }

    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream as it is.
    pub(crate) fn info(&self) -> StreamInfo {
        let waiting = self.waiting.load(std::sync::atomic::Ordering::Relaxed);
        self.view().info(&self.name, waiting)
    }

    /// Asks the owner for something and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        job: impl FnOnce(Reply<T>) -> Job,
    ) -> Result<T, ServiceError> {
        let (reply, answer) = oneshot::channel();
        let gone = |_| ServiceError::NotFound {
            what: "stream",
            name: self.name.to_string(),
            hint: "; it was deleted".into(),
        };
        self.jobs.send(job(reply)).map_err(|_| gone(()))?;
        answer.await.map_err(|_| gone(()))?
    }
}

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, ServiceError>>;

/// A change of a stream that is not an image.
pub(crate) enum Change {
    /// Begin anew.
    Reset,
    /// Score without remembering, or not any more.
    Freeze(bool),
    /// Other verdicts.
    Policy(CalibrationConfig),
    /// Scores of known normals, and the policy that uses them.
    Normals(Vec<Reference>, CalibrationConfig),
    /// Go back to a kept snapshot.
    Restore(u64),
    /// Go on from a state file.
    Import(Bytes),
}

/// What an owner is asked to do.
pub(crate) enum Job {
    Image(Box<ImageJob>),
    Change(Change, Reply<()>),
    Snapshot(Option<String>, Reply<SnapshotInfo>),
    Export(Reply<Bytes>),
    /// Give the memory back to others.
    WriteOut,
    /// Write everything out and end.
    Close(oneshot::Sender<()>),
    /// The stream is deleted: end without writing.
    Delete(Reply<()>),
}

/// Decodes and encodes an image; `name` is for messages.
pub(crate) async fn encode(
    shared: &Shared,
    entry: &Entry,
    bytes: Bytes,
    name: String,
) -> Result<(Decoded, Encoded), ServiceError> {
    let recipe = entry.detector.spec().input;
    let limits = shared.settings.limits;
    let length = bytes.len() as u64;
    let work = move || image::decode(&bytes, &recipe, &limits, name);
    let (tensor, decoded) = shared.compute(work).await??;
    let mut encoded = entry.encoder.encode(tensor).await?;
    encoded.features.file_bytes = Some(length);
    Ok((decoded, encoded))
}
