//! The backbone on one image, where it is called.

use std::time::Instant;

use rareclip_core::backbone::encode_one;
use rareclip_core::{Backbone, BoxError, Detector, Features};

use crate::{EncodeTime, Input};

/// The features of one image and what they took.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The features, checked, with the size of the image's file where it is known.
    pub features: Features,
    /// How long decoding and the backbone took; of a batch, the time of the whole batch.
    pub time: EncodeTime,
    /// Images that the backbone ran on at once, this one included.
    pub batch: usize,
}

/// Encodes one image.
///
/// # Errors
/// When the backbone fails or does not give the features of exactly one image.
pub fn encode(backbone: &dyn Backbone, input: &Input) -> Result<Encoded, BoxError> {
    let start = Instant::now();
    let mut features = encode_one(backbone, input.tensor.view())?;
    features.file_bytes = input.file_bytes;
    Ok(Encoded {
        features,
        time: EncodeTime {
            decode: input.time,
            backbone: start.elapsed(),
        },
        batch: 1,
    })
}

/// Encodes one image with the backbone of a detector.
///
/// # Errors
/// Those of [`encode`], as an error that names the backbone.
pub fn encode_with(detector: &Detector, input: &Input) -> rareclip_core::Result<Encoded> {
    encode(&**detector.backbone(), input).map_err(|source| rareclip_core::Error::Component {
        slot: rareclip_core::Slot::Backbone,
        name: detector.config().backbone.name().to_owned(),
        source,
    })
}
