//! Reading images ahead of the stream.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use ndarray::Array4;
use ndarray::Axis;
use rareclip_imaging::{InputRecipe, Limits, Picture, decode_file};

use super::inputs::Input;

/// Images decoded ahead: enough that the backbone never waits, few enough to bound memory.
const AHEAD: usize = 2;

/// An image ready for the backbone.
pub(crate) struct Prepared {
    /// The tensor `[1, 3, side, side]`.
    pub(crate) tensor: Array4<f32>,
    /// The picture itself, for overlays.
    pub(crate) picture: Picture,
    /// Size of the file in bytes, where the system says.
    pub(crate) file_bytes: Option<u64>,
    /// How long decoding and resizing took.
    pub(crate) time: Duration,
}

/// Reads, decodes and resizes one image.
pub(crate) fn prepare(
    path: &Path,
    recipe: &InputRecipe,
    limits: &Limits,
) -> Result<Prepared, rareclip_imaging::ImagingError> {
    let start = Instant::now();
    let picture = decode_file(path, limits)?;
    if picture.further_images() > 0 {
        let further = picture.further_images();
        let path = path.display();
        tracing::warn!(%path, further, "The file holds further images; only the first is scored.");
    }
    let tensor = recipe.tensor(&picture)?.insert_axis(Axis(0));
    Ok(Prepared {
        tensor,
        picture,
        file_bytes: std::fs::metadata(path).ok().map(|file| file.len()),
        time: start.elapsed(),
    })
}

/// Images in order, read ahead on a thread of their own.
pub(crate) fn read_ahead(
    inputs: Vec<Input>,
    recipe: InputRecipe,
    limits: Limits,
) -> Receiver<(Input, Result<Prepared, rareclip_imaging::ImagingError>)> {
    let (sender, receiver) = sync_channel(AHEAD);
    std::thread::spawn(move || {
        for input in inputs {
            let prepared = prepare(&input.path, &recipe, &limits);
            // The receiver is gone when the run was stopped.
            if sender.send((input, prepared)).is_err() {
                break;
            }
        }
    });
    receiver
}
