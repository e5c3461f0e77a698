//! Pictures for people: heat maps, overlays, contours, thumbnails.

mod colour;
mod scale;

use ndarray::{Array2, ArrayView2, parallel::prelude::*};
use rayon::slice::ParallelSliceMut;

pub use colour::colour;
pub use scale::MapScale;

use crate::{
    Filter, RgbPicture,
    error::{Result, nonzero},
    map::resize_map,
    resample::resample,
};

/// A map `[height, width]` in false colours at its own size, on the caller's fixed scale.
///
/// # Errors
/// [`ImagingError::ZeroSize`](crate::ImagingError) where the map is empty.
pub fn heatmap(map: ArrayView2<'_, f32>, scale: MapScale) -> Result<RgbPicture> {
    let (height, width) = map.dim();
    nonzero("map", width, height)?;
    let data = map
        .iter()
        .flat_map(|&v| colour(scale.position(v)))
        .collect();
    Ok(RgbPicture::trusted(width, height, data))
}

/// The false colours of `map` laid over `picture` at the picture's size.
///
/// `map` may have any size and covers the whole picture; `opacity` runs from 0 (picture only) to 1
/// (colours only).
///
/// # Errors
/// [`ImagingError::ZeroSize`](crate::ImagingError) where the map is empty.
pub fn overlay(
    picture: &RgbPicture,
    map: ArrayView2<'_, f32>,
    scale: MapScale,
    opacity: f32,
) -> Result<RgbPicture> {
    let opacity = if opacity.is_nan() {
        0.0
    } else {
        opacity.clamp(0.0, 1.0)
    };
    let map = fitted(map, picture)?;
    let mut data = picture.data().to_vec();
    let (pixels, _) = data.as_chunks_mut::<3>();
    let rows = pixels.par_chunks_exact_mut(picture.width());
    rows.zip(map.outer_iter().into_par_iter())
        .for_each(|(row, values)| {
            for (pixel, &value) in row.iter_mut().zip(values) {
                let over = colour(scale.position(value));
                for (below, above) in pixel.iter_mut().zip(over) {
                    let mixed = f32::from(*below) * (1.0 - opacity) + f32::from(above) * opacity;
                    // The cast truncates and saturates.
                    *below = (mixed + 0.5) as u8;
                }
            }
        });
    Ok(RgbPicture::trusted(picture.width(), picture.height(), data))
}

/// `picture` with the outline of the region where `map` is above `threshold`, in `line` (R G B).
///
/// A pixel of the outline belongs to the region and has a neighbour within `thickness` pixels, in
/// its row or column, that does not. `map` may have any size and covers the whole picture.
///
/// # Errors
/// [`ImagingError::ZeroSize`](crate::ImagingError) where the map is empty.
pub fn contour(
    picture: &RgbPicture,
    map: ArrayView2<'_, f32>,
    threshold: f32,
    line: [u8; 3],
    thickness: usize,
) -> Result<RgbPicture> {
    let inside = fitted(map, picture)?.mapv(|v| v > threshold);
    let (height, width) = inside.dim();
    let reach = thickness.max(1);
    let on_border = |y: usize, x: usize| {
        let rows = y.saturating_sub(reach)..=(y + reach).min(height - 1);
        let columns = x.saturating_sub(reach)..=(x + reach).min(width - 1);
        rows.into_iter().any(|row| !inside[[row, x]])
            || columns.into_iter().any(|column| !inside[[y, column]])
    };
    let mut data = picture.data().to_vec();
    for (at, pixel) in data.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (y, x) = (at / width, at % width);
        if inside[[y, x]] && on_border(y, x) {
            *pixel = line;
        }
    }
    Ok(RgbPicture::trusted(width, height, data))
}

fn fitted(map: ArrayView2<'_, f32>, picture: &RgbPicture) -> Result<Array2<f32>> {
    if map.dim() == (picture.height(), picture.width()) {
        return Ok(map.to_owned());
    }
    resize_map(map, picture.height(), picture.width())
}

/// A copy whose longer side has at most `max_side` pixels (at least 1), in the same aspect ratio;
/// never enlarged.
pub fn thumbnail(picture: &RgbPicture, max_side: usize) -> RgbPicture {
    shrink(picture.clone(), max_side)
}

/// [`thumbnail`] of a picture that is not needed any more, without a copy of it.
pub fn shrink(picture: RgbPicture, max_side: usize) -> RgbPicture {
    let (width, height) = (picture.width(), picture.height());
    let longer = width.max(height);
    let max_side = max_side.max(1);
    if longer <= max_side {
        return picture;
    }
    let shrink = |side: usize| ((side * max_side + longer / 2) / longer).max(1);
    let target = (shrink(width), shrink(height));
    let data = resample::<3>(
        picture.into_data(),
        (width, height),
        target,
        Filter::Bilinear,
    );
    RgbPicture::trusted(target.0, target.1, data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    const UNIT: MapScale = MapScale {
        low: 0.0,
        high: 1.0,
    };

    fn gray(width: usize, height: usize, value: u8) -> RgbPicture {
        RgbPicture::new(width, height, vec![value; 3 * width * height]).unwrap()
    }

    #[test]
    fn heatmap_uses_the_given_scale_and_not_the_range_of_the_map() {
        let picture = heatmap(array![[0.25, 0.25]].view(), UNIT).unwrap();
        assert_eq!(picture.data()[..3], colour(0.25));
        assert_eq!(picture.data()[3..], colour(0.25));
    }

    #[test]
    fn overlay_without_opacity_is_the_picture_and_with_full_opacity_the_colours() {
        let (picture, map) = (gray(4, 3, 77), array![[0.5f32]]);
        assert_eq!(overlay(&picture, map.view(), UNIT, 0.0).unwrap(), picture);
        let full = overlay(&picture, map.view(), UNIT, 1.0).unwrap();
        assert!(
            full.data()
                .as_chunks::<3>()
                .0
                .iter()
                .all(|&pixel| pixel == colour(0.5))
        );
    }

    #[test]
    fn overlay_has_the_size_of_the_picture() {
        let out = overlay(&gray(31, 17, 0), Array2::zeros((5, 5)).view(), UNIT, 0.5).unwrap();
        assert_eq!((out.width(), out.height()), (31, 17));
    }

    #[test]
    fn contour_marks_the_rim_of_the_region_only() {
        let map = Array2::from_shape_fn((5, 5), |(y, x)| {
            f32::from(u8::from((1..4).contains(&y) && (1..4).contains(&x)))
        });
        let out = contour(&gray(5, 5, 0), map.view(), 0.5, [255; 3], 1).unwrap();
        let marked: Vec<usize> = (0..25).filter(|i| out.data()[3 * i] == 255).collect();
        assert_eq!(marked, [6, 7, 8, 11, 13, 16, 17, 18]);
    }

    #[test]
    fn thumbnail_keeps_the_aspect_ratio_and_never_enlarges() {
        let small = thumbnail(&gray(400, 100, 9), 40);
        assert_eq!((small.width(), small.height()), (40, 10));
        assert!(small.data().iter().all(|&v| v == 9));
        let same = gray(10, 10, 1);
        assert_eq!(thumbnail(&same, 40), same);
        assert_eq!(thumbnail(&gray(1000, 1, 9), 10).height(), 1);
    }
}
