//! An image on its way to its stream.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ndarray::Array3;
use rareclip_core::{Features, Outcome};
use rareclip_imaging::{InputRecipe, Limits, RgbPicture, shrink};
use tokio::sync::oneshot;

use super::Reply;
use crate::error::ServiceError;
use crate::model::{ResultRecord, Timings};
use crate::pictures::LONGEST_SIDE;
use crate::service::{Place, Window};
use crate::submission::Submitted;

/// What is left of a picture once its tensor is on the way.
pub(crate) struct Decoded {
    /// Its longest side at most [`LONGEST_SIDE`].
    pub(crate) picture: RgbPicture,
    /// How long decoding and resizing took.
    pub(crate) time: Duration,
}

/// Reads an image as the detector wants it; `name` is for messages.
pub(super) fn decode(
    bytes: &[u8],
    recipe: &InputRecipe,
    limits: &Limits,
    name: String,
) -> Result<(Array3<f32>, Decoded), ServiceError> {
    let start = Instant::now();
    let read = || {
        let picture = rareclip_imaging::decode(bytes, limits)?;
        Ok((recipe.tensor(&picture)?, picture))
    };
    let (tensor, picture) = read().map_err(|source| ServiceError::Image { name, source })?;
    let time = start.elapsed();
    if picture.further_images() > 0 {
        let further = picture.further_images();
        tracing::warn!(
            further,
            "The file holds further images; only the first is scored."
        );
    }
    let rgb = picture.to_rgb(recipe.preset);
    drop(picture);
    let picture = shrink(rgb, LONGEST_SIDE);
    Ok((tensor, Decoded { picture, time }))
}

/// An image that the backbone is done with.
pub(crate) struct Ready {
    pub(crate) features: Features,
    pub(crate) picture: RgbPicture,
    /// Up to the backbone.
    pub(crate) timings: Timings,
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
    let judgement = &outcome.judgement;
    ResultRecord {
        id,
        sequence: outcome.sequence,
        at: crate::store::time(at),
        image,
        score: outcome.scored.score,
        raw_score: outcome.scored.raw_score,
        p_value: judgement.p_value,
        verdict: judgement.verdict,
        threshold: judgement.threshold,
        calibration: judgement.calibration.to_string(),
        map_median: outcome.map_median,
        scale_low: outcome.map_scale.0,
        scale_high: outcome.map_scale.1,
        remembered: outcome.remembered,
        feedback: None,
        note: None,
        pictures,
    }
}
