//! Masks of a data set as the metrics want them.

use ndarray::{Array2, Zip};
use rareclip_eval::dataset::{PixelTruth, Sample};
use rareclip_imaging::{Limits, decode_file, mask_binary, resize_mask_nearest};

use crate::{Error, Result};

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

/// The mask of `sample`: resized to the `map_side` of the detector's maps as the published code does (bilinear, > 0.5), then to `side`
/// by nearest neighbour. Several files are united.
///
/// # Errors
/// [`Error::Image`].
pub fn pixels(sample: &Sample, map_side: usize, side: usize) -> Result<Pixels> {
    let files = match sample.pixel_truth() {
        PixelTruth::Unknown => return Ok(Pixels::Unknown),
        PixelTruth::Normal => return Ok(Pixels::Normal),
        PixelTruth::Masks(files) => files,
    };
    let mut union = Array2::from_elem((side, side), false);
    for path in files {
        let wrong = |source| Error::Image {
            path: path.clone(),
            source,
        };
        let picture = decode_file(path, &Limits::default()).map_err(wrong)?;
        let mask = mask_binary(&picture, map_side).map_err(wrong)?;
        let mask = resize_mask_nearest(mask.view(), side, side).map_err(wrong)?;
        Zip::from(&mut union)
            .and(&mask)
            .for_each(|union, &mask| *union |= mask > 0);
    }
    Ok(Pixels::Mask(union))
}
