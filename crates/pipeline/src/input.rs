//! Files and bytes to what a backbone takes.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use ndarray::Array3;
use rareclip_imaging::{ImagingError, InputRecipe, Limits, Picture, decode, decode_file};

/// Images that [`read_ahead`] decodes before they are asked for: enough that the backbone never
/// waits, few enough to bound memory.
const AHEAD: usize = 2;

/// Where the bytes of an image are.
#[derive(Debug, Clone, Copy)]
pub enum Source<'s> {
    /// In a file.
    File(&'s Path),
    /// In memory; the name is for messages.
    Bytes {
        /// How messages call the image.
        name: &'s str,
        /// The bytes of its file.
        bytes: &'s [u8],
    },
}

/// An image ready for the backbone.
#[derive(Debug, Clone)]
pub struct Input {
    /// The tensor `[3, side, side]`, normalised as the recipe says.
    pub tensor: Array3<f32>,
    /// The picture itself, for overlays.
    pub picture: Picture,
    /// Size of the file in bytes, where known.
    pub file_bytes: Option<u64>,
    /// How long reading, decoding and resizing took.
    pub time: Duration,
}

impl Source<'_> {
    /// Reads, decodes and resizes the image as `recipe` says. Of a file with several images the
    /// first counts; the log says so.
    ///
    /// # Errors
    /// [`ImagingError`] if it cannot be read or decoded within `limits`.
    pub fn prepare(self, recipe: &InputRecipe, limits: &Limits) -> Result<Input, ImagingError> {
        let start = Instant::now();
        let (picture, file_bytes) = match self {
            Self::File(path) => {
                let size = std::fs::metadata(path).ok().map(|file| file.len());
                (decode_file(path, limits)?, size)
            }
            Self::Bytes { bytes, .. } => (decode(bytes, limits)?, Some(bytes.len() as u64)),
        };
        let further = picture.further_images();
        if further > 0 {
            let image = self.name();
            tracing::warn!(%image, further, "The file holds further images; only the first is scored.");
        }
        let mut input = Input::of(picture, recipe)?;
        input.file_bytes = file_bytes;
        input.time = start.elapsed();
        Ok(input)
    }

    fn name(self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Bytes { name, .. } => name.to_owned(),
        }
    }
}

impl Input {
    /// A picture that is decoded already, resized as `recipe` says.
    ///
    /// # Errors
    /// [`ImagingError::ZeroSize`] if the recipe's side is 0.
    pub fn of(picture: Picture, recipe: &InputRecipe) -> Result<Self, ImagingError> {
        let start = Instant::now();
        Ok(Self {
            tensor: recipe.tensor(&picture)?,
            picture,
            file_bytes: None,
            time: start.elapsed(),
        })
    }
}

/// The images at `paths` in their order, prepared on a thread of their own. It ends when the
/// receiver is dropped.
pub fn read_ahead<P: AsRef<Path> + Send + 'static>(
    paths: Vec<P>,
    recipe: InputRecipe,
    limits: Limits,
) -> Receiver<(P, Result<Input, ImagingError>)> {
    let (sender, receiver) = sync_channel(AHEAD);
    std::thread::spawn(move || {
        for path in paths {
            let input = Source::File(path.as_ref()).prepare(&recipe, &limits);
            // The receiver is gone when the run was stopped.
            if sender.send((path, input)).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use rareclip_imaging::{RgbPicture, encode_png};

    use super::*;

    fn png(value: u8) -> Vec<u8> {
        encode_png(&RgbPicture::new(2, 2, vec![value; 12]).unwrap()).unwrap()
    }

    #[test]
    fn a_file_and_its_bytes_give_the_same_input() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let bytes = png(9);
        std::fs::write(&path, &bytes).unwrap();
        let (recipe, limits) = (InputRecipe::clip(4), Limits::default());
        let of_file = Source::File(&path).prepare(&recipe, &limits).unwrap();
        let of_bytes = Source::Bytes {
            name: "a",
            bytes: &bytes,
        };
        let of_bytes = of_bytes.prepare(&recipe, &limits).unwrap();
        assert_eq!(of_file.tensor, of_bytes.tensor);
        assert_eq!(of_file.tensor.shape(), [3, 4, 4]);
        let size = Some(bytes.len() as u64);
        assert_eq!((of_file.file_bytes, of_bytes.file_bytes), (size, size));
    }

    #[test]
    fn images_read_ahead_come_in_their_order_and_a_broken_one_is_an_error_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = ["0.png", "1.png", "2.png"]
            .into_iter()
            .zip([png(1), b"broken".to_vec(), png(2)])
            .map(|(name, bytes)| {
                let path = folder.path().join(name);
                std::fs::write(&path, bytes).unwrap();
                path
            })
            .collect();
        let found = read_ahead(paths.clone(), InputRecipe::clip(2), Limits::default());
        let found: Vec<_> = found.iter().collect();
        let order: Vec<_> = found.iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(order, paths);
        let read: Vec<bool> = found.iter().map(|(_, input)| input.is_ok()).collect();
        assert_eq!(read, [true, false, true]);
    }
}
