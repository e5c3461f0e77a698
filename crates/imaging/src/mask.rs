//! Ground-truth masks.

use ndarray::{Array2, ArrayView2};

use crate::{
    Filter, Picture,
    error::{Result, nonzero},
    resample::resample,
};

/// A mask as the reference reads it, `[side, side]` in 0..1: reduced to gray, everything above 0
/// set to 255, resized with the antialiased bilinear filter, divided by 255.
///
/// # Errors
/// [`ImagingError::ZeroSize`](crate::ImagingError) where `side` is 0.
pub fn mask_soft(picture: &Picture, side: usize) -> Result<Array2<f32>> {
    let resized = mask_bytes(picture, side)?;
    Ok(resized.mapv(|v| f32::from(v) / 255.0))
}

/// [`mask_soft`] above 0.5: `[side, side]`, 1 is anomalous, 0 normal.
///
/// # Errors
/// [`ImagingError::ZeroSize`](crate::ImagingError) where `side` is 0.
pub fn mask_binary(picture: &Picture, side: usize) -> Result<Array2<u8>> {
    let resized = mask_bytes(picture, side)?;
    Ok(resized.mapv(|v| u8::from(v > 127)))
}

fn mask_bytes(picture: &Picture, side: usize) -> Result<Array2<u8>> {
    nonzero("mask side", side, side)?;
    let mut gray = picture.to_gray();
    gray.iter_mut()
        .for_each(|v| *v = if *v > 0 { 255 } else { 0 });
    let size = (picture.width(), picture.height());
    let resized = resample::<1>(gray, size, (side, side), Filter::Bilinear);
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
