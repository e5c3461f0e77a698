//! An image from its bytes to its features, as far as there is room.

use std::sync::Arc;

use bytes::Bytes;
use ndarray::Array3;
use rareclip_imaging::{InputRecipe, Limits, shrink};
use rareclip_pipeline::{Encoded, Input, Source};

use super::job::Decoded;
use super::shared::Shared;
use crate::entry::Entry;
use crate::error::ServiceError;
use crate::pictures::LONGEST_SIDE;

/// An image is large if its decoding takes more than this part (1/8) of the memory for all images.
const LARGE: u64 = 8;

/// Decodes an image as the detector of `entry` wants it; `name` is for messages. It waits for room
/// for the pixels.
///
/// # Errors
/// [`ServiceError::Image`], or [`ServiceError::TooCostly`] where there can never be room.
pub(crate) async fn decode(
    shared: &Shared,
    entry: &Entry,
    bytes: Bytes,
    name: String,
) -> Result<(Array3<f32>, Decoded), ServiceError> {
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
    // Before room is taken: an image that waits for its turn must not hold room that small ones
    // could use.
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
        let decoded = read(&bytes, &recipe, &limits, name);
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

/// Reads an image as the detector wants it; `name` is for messages.
fn read(
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
