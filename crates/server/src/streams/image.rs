//! An image on its way to its stream.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ndarray::Array3;
use rareclip_core::Outcome;
use rareclip_imaging::{InputRecipe, Limits, RgbPicture, shrink};
use rareclip_pipeline::{Encoded, Input, Source};
use tokio::sync::oneshot;

use super::Reply;
use crate::error::ServiceError;
use crate::model::ResultRecord;
use crate::pictures::LONGEST_SIDE;
use crate::service::{Place, Window};
use crate::submission::Submitted;

/// What is left of a picture once its tensor is on the way.
pub(crate) struct Decoded {
    /// Its longest side at most [`LONGEST_SIDE`].
    pub(crate) picture: RgbPicture,
    /// How long decoding and resizing took.
    pub(crate) time: Duration,
    /// Size of its file in bytes.
    pub(crate) file_bytes: Option<u64>,
}

/// Reads an image as the detector wants it; `name` is for messages.
pub(super) fn decode(
    bytes: &[u8],
    recipe: &InputRecipe,
    limits: &Limits,
    name: String,
) -> Result<(Array3<f32>, Decoded), ServiceError> {
    let source = Source::Bytes { name: &name, bytes };
    let input = source.prepare(recipe, limits);
    let Input {
        tensor,
        picture,
        file_bytes,
        time,
    } = input.map_err(|source| ServiceError::Image { name, source })?;
    let rgb = picture.to_rgb(recipe.preset);
    drop(picture);
    let decoded = Decoded {
        picture: shrink(rgb, LONGEST_SIDE),
        time,
        file_bytes,
    };
    Ok((tensor, decoded))
}

/// An image that the backbone is done with.
pub(crate) struct Ready {
    pub(crate) encoded: Encoded,
    pub(crate) picture: RgbPicture,
    /// How long it waited for a place.
    pub(crate) queued: Duration,
    /// Bounds how many sets of features are in memory.
    pub(crate) window: Window,
}

/// An image that waits for its stream.
pub(crate) struct ImageJob {
    pub(crate) name: Option<String>,
    pub(crate) bytes: Bytes,
    /// A known normal: remembered, not scored.
    pub(crate) normal: bool,
    /// Scored without a trace.
    pub(crate) peek: bool,
    pub(crate) key: Option<String>,
    pub(crate) arrived: Instant,
    pub(crate) allowed: Duration,
    /// Whether the answer is to hold picture and map.
    pub(crate) keep_shown: bool,
    pub(crate) ready: oneshot::Receiver<Result<Ready, ServiceError>>,
    pub(crate) reply: Reply<Submitted>,
    /// Its place in the queue of the service.
    pub(crate) place: Place,
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

/// The record of an outcome.
pub(super) fn record(
    outcome: &Outcome,
    id: u64,
    at: i64,
    image: Option<String>,
    pictures: bool,
) -> ResultRecord {
    ResultRecord {
        id,
        at: crate::store::time(at),
        image,
        result: rareclip_pipeline::ResultRecord::of(outcome),
        feedback: None,
        note: None,
        pictures,
    }
}
