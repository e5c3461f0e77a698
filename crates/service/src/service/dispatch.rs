//! From the bytes to the features, in the order of arrival, a bounded number at a time.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use crate::streams::{self, Ready, Shared, Window, Work};

/// Where images go to be encoded.
pub(super) struct Dispatch {
    /// Bounds how many images are between the decoder and the end of their stream's work: features
    /// are large.
    window: Arc<Semaphore>,
    /// How many of them may be of one stream: one whose images do not end must leave room for the
    /// others.
    share: usize,
}

impl Dispatch {
    pub(super) fn new(max_batch: usize, cores: usize) -> Self {
        Self {
            window: Arc::new(Semaphore::new(2 * max_batch + cores)),
            share: max_batch.max(2),
        }
    }

    /// The queue of one stream; it ends with the stream.
    pub(super) fn lane(&self, shared: &Arc<Shared>) -> mpsc::UnboundedSender<Work> {
        let (queue, mut works) = mpsc::unbounded_channel::<Work>();
        let shared = Arc::clone(shared);
        let window = Arc::clone(&self.window);
        let share = Arc::new(Semaphore::new(self.share));
        tokio::spawn(async move {
            // Room is given in the order of arrival, so the next image of every stream is among
            // those that have it.
            while let Some(work) = works.recv().await {
                if work.ready.is_closed() {
                    continue;
                }
                let Ok(own) = Arc::clone(&share).acquire_owned().await else {
                    return;
                };
                let Ok(permit) = Arc::clone(&window).acquire_owned().await else {
                    return;
                };
                let window = Window::new(own, permit);
                tokio::spawn(walk(Arc::clone(&shared), work, window));
            }
        });
        queue
    }
}

async fn walk(shared: Arc<Shared>, work: Work, window: Window) {
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
    let queued = arrived.elapsed();
    let encoded = streams::encode(&shared, &entry, bytes, name).await;
    let encoded = encoded.map(|(decoded, encoded)| Ready {
        encoded,
        picture: decoded.picture,
        queued,
        window,
    });
    // The stream may have given the image up.
    let _ = ready.send(encoded);
}
