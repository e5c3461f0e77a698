//! Masks of a data set as the metrics want them.

use std::path::PathBuf;

use ndarray::Array2;
use rareclip_eval::dataset::{PixelTruth, Sample};
use rareclip_imaging::{
    Limits, Orientation, Picture, Pixels as PixelData, decode_file, mask_binary,
    resize_mask_nearest,
};

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
/// by nearest neighbour. Several files are united first.
///
/// # Errors
/// [`Error::Image`].
pub fn pixels(sample: &Sample, map_side: usize, side: usize) -> Result<Pixels> {
    let files = match sample.pixel_truth() {
        PixelTruth::Unknown => return Ok(Pixels::Unknown),
        PixelTruth::Normal => return Ok(Pixels::Normal),
        PixelTruth::Masks(files) => files,
    };
    let wrong = |source| Error::Image {
        path: files.first().cloned().unwrap_or_default(),
        source,
    };
    let mask = mask_binary(&merged(files)?, map_side).map_err(wrong)?;
    let mask = resize_mask_nearest(mask.view(), side, side).map_err(wrong)?;
    Ok(Pixels::Mask(mask.mapv(|value| value > 0)))
}

/// The masks of one image as one: the largest value of each pixel, so above 0 where any of them is.
fn merged(files: &[PathBuf]) -> Result<Picture> {
    let read = |path: &PathBuf| {
        decode_file(path, &Limits::default()).map_err(|source| Error::Image {
            path: path.clone(),
            source,
        })
    };
    let [first_path, rest @ ..] = files else {
        return Err(Error::NoMask);
    };
    let first = read(first_path)?;
    if rest.is_empty() {
        return Ok(first);
    }
    let (width, height) = (first.width(), first.height());
    let mut union = first.to_gray();
    for path in rest {
        let mask = read(path)?;
        if (mask.width(), mask.height()) != (width, height) {
            return Err(Error::MaskSizes {
                first: first_path.clone(),
                other: path.clone(),
            });
        }
        let values = union.iter_mut().zip(mask.to_gray());
        values.for_each(|(value, other)| *value = (*value).max(other));
    }
    let picture = Picture::new(width, height, PixelData::Gray8(union), Orientation::Upright);
    picture.map_err(|source| Error::Image {
        path: first_path.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::merged;

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
        assert_eq!(merged(&files).unwrap().to_gray(), [0, 254, 3]);
        assert_eq!(merged(&files[1..]).unwrap().to_gray(), [0, 0, 3]);
        let other = rareclip_imaging::encode_png_gray(ndarray::Array2::from_elem((2, 2), 1).view());
        std::fs::write(&files[1], other.unwrap()).unwrap();
        let error = merged(&files).unwrap_err().to_string();
        assert!(error.contains("differ in size"), "{error}");
    }
}
