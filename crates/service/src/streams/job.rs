//! What streams are asked, and what goes back and forth on the way.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rareclip_core::calibration::{CalibrationConfig, Reference};
use rareclip_imaging::RgbPicture;
use rareclip_pipeline::Encoded;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::entry::Entry;
use crate::error::ServiceError;
use crate::model::SnapshotInfo;
use crate::service::Place;
use crate::submission::Submitted;

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, ServiceError>>;

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

/// The state file of a stream, open. It stays whole even when the stream replaces or deletes it
/// meanwhile.
#[derive(Debug)]
pub struct StateExport {
    /// The file, at its beginning.
    pub file: File,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What is left of a picture once its tensor is on the way.
pub(crate) struct Decoded {
    /// Its longest side at most `LONGEST_SIDE` pixels.
    pub picture: RgbPicture,
    /// How long decoding and resizing took.
    pub time: Duration,
    /// Size of its file in bytes.
    pub file_bytes: Option<u64>,
}

/// A place among the images of its stream and among all, given back when dropped.
pub(crate) struct Window {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Window {
    pub(crate) fn new(own: OwnedSemaphorePermit, all: OwnedSemaphorePermit) -> Self {
        Self {
            _own: own,
            _all: all,
        }
    }
}

/// An image to be decoded and encoded.
pub(crate) struct Work {
    pub entry: Arc<Entry>,
    /// For messages.
    pub name: String,
    pub bytes: Bytes,
    pub arrived: Instant,
    pub ready: oneshot::Sender<Result<Ready, ServiceError>>,
}

/// An image that the backbone is done with.
pub(crate) struct Ready {
    pub encoded: Encoded,
    pub picture: RgbPicture,
    /// How long it waited for a place.
    pub queued: Duration,
    /// Bounds how many sets of features are in memory.
    pub window: Window,
}

/// An image that waits for its stream.
pub(crate) struct ImageJob {
    pub name: Option<String>,
    pub bytes: Bytes,
    /// A known normal: remembered, not scored.
    pub normal: bool,
    /// Scored without a trace.
    pub peek: bool,
    pub key: Option<String>,
    pub arrived: Instant,
    pub allowed: Duration,
    /// Whether the answer is to hold picture and map.
    pub keep_shown: bool,
    pub ready: oneshot::Receiver<Result<Ready, ServiceError>>,
    pub reply: Reply<Submitted>,
    /// Its place in the queue of the service.
    pub place: Place,
}

impl ImageJob {
    /// Whether nobody waits for the answer any more, or not long enough.
    pub(super) fn overdue(&self) -> Result<(), ServiceError> {
        if self.reply.is_closed() || self.arrived.elapsed() > self.allowed {
            return Err(ServiceError::Deadline(self.allowed.as_secs_f64()));
        }
        Ok(())
    }
}
