//! From the bytes to the features, in the order of arrival, a bounded number at a time.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::detectors::Entry;
use crate::error::ServiceError;
use crate::model::Timings;
use crate::streams::{self, Ready, Shared, milliseconds};

/// An image to be decoded and encoded.
pub(super) struct Work {
    pub(super) entry: Arc<Entry>,
    /// For messages.
    pub(super) name: String,
    pub(super) bytes: Bytes,
    pub(super) arrived: Instant,
    pub(super) ready: oneshot::Sender<Result<Ready, ServiceError>>,
}

/// The queue of images to be encoded.
pub(super) struct Dispatch {
    queue: mpsc::UnboundedSender<Work>,
}

impl Dispatch {
    /// `window` images at most are between the decoder and the end of their stream's work: features are large.
    pub(super) fn start(shared: Arc<Shared>, window: usize) -> Self {
        let (queue, mut works) = mpsc::unbounded_channel::<Work>();
        let window = Arc::new(Semaphore::new(window));
        tokio::spawn(async move {
            // Room is given in the order of arrival, so the next image of every stream is among those that have it.
            while let Some(work) = works.recv().await {
                if work.ready.is_closed() {
                    continue;
                }
                let Ok(permit) = Arc::clone(&window).acquire_owned().await else {
                    return;
                };
                tokio::spawn(walk(Arc::clone(&shared), work, permit));
            }
        });
        Self { queue }
    }

    pub(super) fn send(&self, work: Work) {
        // The task ends with the service only; the channel of the answer then says so.
        let _ = self.queue.send(work);
    }
}

async fn walk(shared: Arc<Shared>, work: Work, window: OwnedSemaphorePermit) {
    let Work {
        entry,
        name,
        bytes,
        arrived,
        ready,
    } = work;
    if ready.is_closed() {
        return;
    }
    let queue_ms = milliseconds(arrived.elapsed());
    let encoded = streams::encode(&shared, &entry, bytes, name).await;
    let encoded = encoded.map(|(decoded, encoded)| Ready {
        features: encoded.features,
        picture: decoded.picture,
        timings: Timings {
            queue_ms,
            decode_ms: milliseconds(decoded.time),
            backbone_ms: milliseconds(encoded.time),
            batch: encoded.batch,
            ..Timings::default()
        },
        window,
    });
    // The stream may have given the image up.
    let _ = ready.send(encoded);
}
