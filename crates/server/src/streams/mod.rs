//! Streams: one owner each, that applies what comes in the order it came.

mod changes;
mod export;
mod image;
mod memory;
mod owner;
mod residency;
mod scoring;
mod view;

pub use export::StateExport;
pub(crate) use image::{Decoded, ImageJob, Ready};
pub(crate) use owner::{Owner, now};
pub(crate) use residency::Residency;
pub(crate) use scoring::replay;
pub(crate) use view::{Figures, View};

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rareclip_core::calibration::{CalibrationConfig, Reference};
use rareclip_imaging::Limits;
use rareclip_pipeline::{Encoded, Watchdog};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::budget::Budget;
use crate::building::Builds;
use crate::detectors::Entry;
use crate::error::ServiceError;
use crate::metrics::Metrics;
use crate::model::{SnapshotInfo, StreamInfo};
use crate::pictures::Pictures;
use crate::service::{Event, Work};
use crate::settings::Settings;
use crate::store::Store;

/// An image is large if its decoding takes more than this part (1/8) of the memory for all images.
const LARGE: u64 = 8;

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
    pub(crate) cores: Arc<tokio::sync::Semaphore>,
    /// Room for decoding, for all images together.
    pub(crate) decoding: Budget,
    /// Decoding large images: on half of the cores, so that small images of other streams find a free one.
    pub(crate) large: Arc<tokio::sync::Semaphore>,
    /// States that come from elsewhere are proved one at a time: each is in memory beside the one that it replaces.
    pub(crate) proving: tokio::sync::Semaphore,
    pub(crate) watchdog: Arc<Watchdog>,
}

impl Shared {
    /// Runs work of many milliseconds beside the threads that answer requests; `what` names it should it not end.
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

    /// [`compute`](Self::compute) with another limit. What `abandoned` gives is dropped when work that did not end in time
    /// ends after all.
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

/// A stream as the service knows it.
pub(crate) struct Handle {
    pub(crate) id: i64,
    pub(crate) name: Arc<str>,
    /// Missing where the service was started without it.
    pub(crate) entry: Result<Arc<Entry>, String>,
    pub(crate) jobs: mpsc::UnboundedSender<Job>,
    /// Where images go to be decoded and encoded.
    pub(crate) lane: mpsc::UnboundedSender<Work>,
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
        lane: mpsc::UnboundedSender<Work>,
        view: View,
    ) -> Self {
        Self {
            id,
            name: name.into(),
            entry,
            jobs,
            lane,
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
    ExportFile(Reply<StateExport>),
    /// Give the memory back to others.
    WriteOut,
    /// Write everything out and end.
    Close(oneshot::Sender<()>),
    /// The stream is deleted: end without writing.
    Delete(Reply<()>),
}

/// Decodes an image as the detector of `entry` wants it; `name` is for messages. It waits for room for the pixels.
///
/// # Errors
/// [`ServiceError::Image`], or [`ServiceError::TooCostly`] where there can never be room.
pub(crate) async fn decode(
    shared: &Shared,
    entry: &Entry,
    bytes: Bytes,
    name: String,
) -> Result<(ndarray::Array3<f32>, Decoded), ServiceError> {
    let recipe = entry.detector.spec().input;
    let limits = shared.settings.limits;
    let what = format!("decoding image {name}");
    let file = bytes.clone();
    let probed = shared.compute(&what, move || rareclip_imaging::probe(&file, &limits));
    let header = probed.await?.map_err(|source| ServiceError::Image {
        name: name.clone(),
        source,
    })?;
    let needed = header.prepare_bytes(&recipe);
    let room = usize::try_from(needed).unwrap_or(usize::MAX);
    // Before room is taken: an image that waits for its turn must not hold room that small ones could use.
    let budget = shared.settings.decode_bytes;
    let turn = match needed > budget / LARGE && needed <= budget {
        true => Arc::clone(&shared.large).acquire_owned().await.ok(),
        false => None,
    };
    let Some(room) = shared.decoding.wait(room).await else {
        return Err(ServiceError::TooCostly {
            name,
            width: header.width,
            height: header.height,
            needed,
            budget,
        });
    };
    // The decoder takes no more than it has room for, whatever the file claims later on.
    let limits = Limits {
        max_decoder_bytes: header.decode_bytes().min(limits.max_decoder_bytes),
        ..limits
    };
    let work = move || {
        let decoded = image::decode(&bytes, &recipe, &limits, name);
        // Held by a thread that does not end, too.
        drop((room, turn));
        decoded
    };
    shared.compute(&what, work).await?
}

/// Decodes and encodes an image; `name` is for messages.
pub(crate) async fn encode(
    shared: &Shared,
    entry: &Entry,
    bytes: Bytes,
    name: String,
) -> Result<(Decoded, Encoded), ServiceError> {
    let (tensor, decoded) = decode(shared, entry, bytes, name).await?;
    let encoded = entry
        .encoder
        .encode(tensor, decoded.file_bytes, decoded.time, &shared.watchdog)
        .await?;
    Ok((decoded, encoded))
}
