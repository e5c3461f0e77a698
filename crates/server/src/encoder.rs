//! One thread for each backbone: what is decoded goes through together, whichever stream it belongs to.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ndarray::{Array3, Array4, ArrayView4, Axis};
use rareclip_core::{Backbone, Features};
use tokio::sync::oneshot;

use crate::error::ServiceError;
use crate::metrics::Metrics;

/// What the backbone says of an image.
pub(crate) struct Encoded {
    pub(crate) features: Features,
    /// How long the batch took.
    pub(crate) time: Duration,
    /// Images in it.
    pub(crate) batch: usize,
}

struct Item {
    tensor: Array3<f32>,
    reply: oneshot::Sender<Result<Encoded, ServiceError>>,
}

/// The queue in front of a backbone.
pub(crate) struct Encoder {
    queue: Sender<Item>,
}

impl Encoder {
    /// Starts the thread. It ends when the encoder is dropped.
    pub(crate) fn start(
        name: &str,
        backbone: Arc<dyn Backbone>,
        max_batch: usize,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ServiceError> {
        let (queue, items) = channel();
        std::thread::Builder::new()
            .name(format!("backbone {name}"))
            .spawn(move || work(&*backbone, &items, max_batch.max(1), &metrics))
            .map_err(|error| ServiceError::Internal(format!("backbone thread: {error}")))?;
        Ok(Self { queue })
    }

    /// Encodes an image `[3, side, side]`, normalised as the backbone's recipe says.
    pub(crate) async fn encode(&self, tensor: Array3<f32>) -> Result<Encoded, ServiceError> {
        let (reply, answer) = oneshot::channel();
        let gone = || ServiceError::Internal("the backbone's thread has ended".into());
        self.queue
            .send(Item { tensor, reply })
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn work(backbone: &dyn Backbone, items: &Receiver<Item>, max_batch: usize, metrics: &Metrics) {
    // No waiting for a batch to fill: it is whatever was decoded while the one before was under way.
    while let Ok(first) = items.recv() {
        let mut batch = vec![first];
        while batch.len() < max_batch
            && let Ok(next) = items.try_recv()
        {
            batch.push(next);
        }
        batch.retain(|item| !item.reply.is_closed());
        if batch.is_empty() {
            continue;
        }
        metrics.batch_size.observe(batch.len() as f64);
        encode(backbone, batch);
    }
}

fn encode(backbone: &dyn Backbone, batch: Vec<Item>) {
    let start = Instant::now();
    let count = batch.len();
    match encode_all(backbone, &batch) {
        Ok(all) => {
            let time = start.elapsed();
            for (item, features) in batch.into_iter().zip(all) {
                let encoded = Encoded {
                    features,
                    time,
                    batch: count,
                };
                // Whoever asked may have gone.
                let _ = item.reply.send(Ok(encoded));
            }
        }
        Err(error) if count == 1 => {
            for item in batch {
                let _ = item
                    .reply
                    .send(Err(ServiceError::Internal(error.to_string())));
            }
        }
        // One image must not spoil the others.
        Err(_) => batch
            .into_iter()
            .for_each(|item| encode(backbone, vec![item])),
    }
}

fn encode_all(backbone: &dyn Backbone, batch: &[Item]) -> Result<Vec<Features>, ServiceError> {
    let features = match batch {
        [single] => guarded(backbone, single.tensor.view().insert_axis(Axis(0)))?,
        _ => {
            let views: Vec<_> = batch.iter().map(|item| item.tensor.view()).collect();
            let tensor: Array4<f32> = ndarray::stack(Axis(0), &views)
                .map_err(|error| ServiceError::Internal(format!("batch: {error}")))?;
            guarded(backbone, tensor.view())?
        }
    };
    if features.len() != batch.len() {
        return Err(ServiceError::Internal(format!(
            "the backbone gave {} results for {} images",
            features.len(),
            batch.len()
        )));
    }
    features.iter().try_for_each(Features::check)?;
    Ok(features)
}

/// A backbone of another crate may panic; the thread must outlive that.
fn guarded(
    backbone: &dyn Backbone,
    images: ArrayView4<'_, f32>,
) -> Result<Vec<Features>, ServiceError> {
    catch_unwind(AssertUnwindSafe(|| backbone.encode(images)))
        .map_err(|_| ServiceError::Internal("the backbone panicked".into()))?
        .map_err(|error| ServiceError::Internal(format!("backbone: {error}")))
}
