//! Ground-truth masks.

use ndarray::{Array2, ArrayView2};

use crate::{
    Filter, Orientation, Picture, Preset,
    error::{Result, nonzero},
    resample::resample,
};

/// Which pixels of a mask are marked, `[height, width]`: those with any colour channel above 0, so
/// that class ids in one channel count. The mask is turned by its EXIF orientation where `preset`
/// turns images.
pub fn mask_marked(picture: &Picture, preset: Preset) -> Array2<bool> {
    let orientation = match preset {
        Preset::Product => picture.orientation(),
        Preset::Reference => Orientation::Upright,
    };
    let size = (picture.width(), picture.height());
    let (marked, width, height) = orientation.apply::<1, _>(picture.above_zero(), size.0, size.1);
    Array2::from_shape_fn((height, width), |(y, x)| marked[y * width + x])
}

/// A mask as the reference reads it, `[side, side]` in 0..1: what [`mask_marked`] marks set to 255,
/// resized with the antialiased bilinear filter, divided by 255.
///
/// # Errors
/// [`ImagingError::ZeroSize`](crate::ImagingError) where `side` is 0.
pub fn mask_soft(picture: &Picture, side: usize, preset: Preset) -> Result<Array2<f32>> {
    let resized = mask_bytes(mask_marked(picture, preset).view(), side)?;
    Ok(resized.mapv(|v| f32::from(v) / 255.0))
}

/// [`mask_soft`] above 0.5: `[side, side]`, 1 is anomalous, 0 normal.
///
/// # Errors
/// [`ImagingError::ZeroSize`](crate::ImagingError) where `side` is 0.
pub fn mask_binary(picture: &Picture, side: usize, preset: Preset) -> Result<Array2<u8>> {
    resize_marked(mask_marked(picture, preset).view(), side)
}

/// [`mask_binary`] of marked pixels, `[height, width]`.
///
/// # Errors
/// [`ImagingError::ZeroSize`](crate::ImagingError) where `side` is 0 or nothing is given.
pub fn resize_marked(marked: ArrayView2<'_, bool>, side: usize) -> Result<Array2<u8>> {
    Ok(mask_bytes(marked, side)?.mapv(|v| u8::from(v > 127)))
}

fn mask_bytes(marked: ArrayView2<'_, bool>, side: usize) -> Result<Array2<u8>> {
    let (height, width) = marked.dim();
    nonzero("mask", width, height)?;
    nonzero("mask side", side, side)?;
    let gray = marked.iter().map(|&v| 255 * u8::from(v)).collect();
    let resized = resample::<1>(gray, (width, height), (side, side), Filter::Bilinear);
    Ok(Array2::from_shape_fn((side, side), |(y, x)| {
        resized[y * side + x]
    }))
}

/// Resizes a mask or map to `[height, width]` by taking source index `floor(i * source / target)`.
///
/// # Errors
/// [`ImagingError::ZeroSize`](crate::ImagingError) where the mask or the target is empty.
pub fn resize_mask_nearest<T: Copy>(
    mask: ArrayView2<'_, T>,
    height: usize,
    width: usize,
) -> Result<Array2<T>> {
    let (rows, columns) = mask.dim();
    nonzero("mask", columns, rows)?;
    nonzero("target size", width, height)?;
    Ok(Array2::from_shape_fn((height, width), |(y, x)| {
        mask[[y * rows / height, x * columns / width]]
    }))
}
