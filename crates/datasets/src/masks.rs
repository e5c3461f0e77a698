//! Masks of a data set, read and resized as the metrics want them.

use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView2};
use rareclip_imaging::{
    ImagingError, Limits, Picture, Preset, decode_file, mask_marked, resize_marked,
    resize_mask_nearest,
};

use crate::{PixelTruth, Sample};

/// Why a mask cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {
    /// A mask could not be read.
    #[error("{path}: {source}", path = .path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ImagingError,
    },
    /// An image of which masks are expected has none.
    #[error("no mask")]
    NoMask,
    /// The masks of one image cannot be united.
    #[error("masks {first} and {other} of one image differ in size", first = .first.display(), other = .other.display())]
    Sizes {
        /// One file.
        first: PathBuf,
        /// Another one.
        other: PathBuf,
    },
}

impl MaskError {
    fn image(path: &Path) -> impl Fn(ImagingError) -> Self {
        move |source| Self::Image {
            path: path.to_owned(),
            source,
        }
    }
}

type Result<T> = std::result::Result<T, MaskError>;

/// What is known about the pixels of an image at the size of the metrics.
#[derive(Debug, Clone, PartialEq)]
pub enum Pixels {
    /// Nothing: pixel metrics leave the image out.
    Unknown,
    /// Every pixel is normal.
    Normal,
    /// `[side, side]`, `true` = defect.
    Mask(Array2<bool>),
}

/// The mask of `sample`: resized to the `map_side` of the detector's maps as the published code
/// does (bilinear, > 0.5), then to `side` by nearest neighbour. Several files are united first,
/// each turned upright where `preset` turns images.
///
/// # Errors
/// [`MaskError`].
pub fn pixels(sample: &Sample, map_side: usize, side: usize, preset: Preset) -> Result<Pixels> {
    let files = match sample.pixel_truth() {
        PixelTruth::Unknown => return Ok(Pixels::Unknown),
        PixelTruth::Normal => return Ok(Pixels::Normal),
        PixelTruth::Masks(files) => files,
    };
    let first = files.first().map(PathBuf::as_path).unwrap_or(Path::new(""));
    resized(merged(files, preset)?.view(), first, map_side, side).map(Pixels::Mask)
}

/// A mask resized as [`pixels`] does it; `file` is for messages.
///
/// # Errors
/// [`MaskError::Image`].
pub fn resized(
    marked: ArrayView2<'_, bool>,
    file: &Path,
    map_side: usize,
    side: usize,
) -> Result<Array2<bool>> {
    let wrong = MaskError::image(file);
    let mask = resize_marked(marked, map_side).map_err(&wrong)?;
    let mask = resize_mask_nearest(mask.view(), side, side).map_err(&wrong)?;
    Ok(mask.mapv(|value| value > 0))
}

/// The picture in a mask file.
///
/// # Errors
/// [`MaskError::Image`].
pub fn read(path: &Path) -> Result<Picture> {
    decode_file(path, &Limits::default()).map_err(MaskError::image(path))
}

/// The masks of one image as one: marked where any of them is, each turned as `preset` turns
/// images.
fn merged(files: &[PathBuf], preset: Preset) -> Result<Array2<bool>> {
    let [first_path, rest @ ..] = files else {
        return Err(MaskError::NoMask);
    };
    let mut union = mask_marked(&read(first_path)?, preset);
    for path in rest {
        let mask = mask_marked(&read(path)?, preset);
        if mask.dim() != union.dim() {
            return Err(MaskError::Sizes {
                first: first_path.clone(),
                other: path.clone(),
            });
        }
        union.zip_mut_with(&mask, |marked, other| *marked |= other);
    }
    Ok(union)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_one_image_are_merged() {
        let root = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for (name, values) in [("0.png", [0, 254, 0]), ("1.png", [0, 0, 3])] {
            let path = root.path().join(name);
            let png = rareclip_imaging::encode_png_gray(ndarray::arr2(&[values]).view()).unwrap();
            std::fs::write(&path, png).unwrap();
            files.push(path);
        }
        let union = |files: &[_]| merged(files, Preset::Product).unwrap();
        assert_eq!(union(&files), ndarray::arr2(&[[false, true, true]]));
        assert_eq!(union(&files[1..]), ndarray::arr2(&[[false, false, true]]));
        let other = rareclip_imaging::encode_png_gray(ndarray::Array2::from_elem((2, 2), 1).view());
        std::fs::write(&files[1], other.unwrap()).unwrap();
        let error = merged(&files, Preset::Product).unwrap_err().to_string();
        assert!(error.contains("differ in size"), "{error}");
    }
}
