//! From a picture to the tensor that a backbone reads.

use ndarray::Array3;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Filter, Picture, Pixels, Preset, RgbPicture,
    error::{Result, nonzero},
    picture::{Flat, clip_to_8, cmyk_to_rgb, drop_fourth, high_byte, look_up},
    resample::{resample, resample_alpha, resample_gray16},
};

/// Channel means of OpenAI CLIP's training images, R G B in 0..1.
pub const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// Channel standard deviations of OpenAI CLIP's training images, R G B in 0..1.
pub const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];
/// Channel means of ImageNet, R G B in 0..1.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Channel standard deviations of ImageNet, R G B in 0..1.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// How a picture becomes a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputRecipe {
    /// Side of the square tensor in pixels, at least 1; the aspect ratio is not kept.
    pub side: usize,
    /// Subtracted per channel, R G B, from values in 0..1.
    pub mean: [f32; 3],
    /// Divisor per channel, R G B, not 0.
    pub std: [f32; 3],
    /// Interpolation filter.
    pub filter: Filter,
    /// Order of conversion and resizing.
    pub preset: Preset,
}

impl InputRecipe {
    /// Bicubic, with OpenAI CLIP's normalisation and the default preset.
    pub fn clip(side: usize) -> Self {
        let (mean, std) = (CLIP_MEAN, CLIP_STD);
        Self {
            side,
            mean,
            std,
            filter: Filter::Bicubic,
            preset: Preset::default(),
        }
    }

    /// Bicubic, values in 0..1 as they are, and the default preset.
    pub fn unit(side: usize) -> Self {
        Self {
            mean: [0.0; 3],
            std: [1.0; 3],
            ..Self::clip(side)
        }
    }

    /// Bicubic, with ImageNet's normalisation and the default preset.
    pub fn imagenet(side: usize) -> Self {
        Self {
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
            ..Self::clip(side)
        }
    }

    /// The same recipe with another preset.
    pub fn with_preset(self, preset: Preset) -> Self {
        Self { preset, ..self }
    }

    /// The tensor of a picture, `[3, side, side]`.
    ///
    /// # Errors
    /// [`ImagingError::ZeroSize`](crate::ImagingError) where `side` is 0.
    pub fn tensor(&self, picture: &Picture) -> Result<Array3<f32>> {
        to_tensor(
            picture,
            self.side,
            self.mean,
            self.std,
            self.filter,
            self.preset,
        )
    }
}

/// Resizes a picture to exactly `width` x `height` 8-bit RGB, as `preset` says.
///
/// # Errors
/// [`ImagingError::ZeroSize`](crate::ImagingError) where a side is 0.
pub fn resize(
    picture: &Picture,
    width: usize,
    height: usize,
    filter: Filter,
    preset: Preset,
) -> Result<RgbPicture> {
    nonzero("target size", width, height)?;
    let target = (width, height);
    let flat = match preset {
        Preset::Product => {
            let (flat, width, height) = picture.flatten(preset);
            resize_flat(flat, (width, height), target, filter)
        }
        Preset::Reference => resize_own_mode(picture, target, filter),
    };
    Ok(RgbPicture::trusted(width, height, flat.into_rgb()))
}

fn resize_flat(flat: Flat, size: (usize, usize), target: (usize, usize), filter: Filter) -> Flat {
    match flat {
        Flat::Gray(v) => Flat::Gray(resample::<1>(v, size, target, filter)),
        Flat::Rgb(v) => Flat::Rgb(resample::<3>(v, size, target, filter)),
    }
}

fn resize_own_mode(picture: &Picture, target: (usize, usize), filter: Filter) -> Flat {
    let size = (picture.width(), picture.height());
    let gray = |v| Flat::Gray(resample::<1>(v, size, target, filter));
    let gray_alpha = |v| {
        let resized = resample_alpha::<2>(v, size, target, filter);
        Flat::Gray(resized.into_iter().step_by(2).collect())
    };
    let rgb = |v| Flat::Rgb(resample::<3>(v, size, target, filter));
    let rgb_alpha = |v| Flat::Rgb(drop_fourth(&resample_alpha::<4>(v, size, target, filter)));
    let high = |v: &[u16]| v.iter().copied().map(high_byte).collect::<Vec<u8>>();
    match picture.pixels() {
        Pixels::Bilevel(v) => Flat::Gray(resample::<1>(v.clone(), size, target, Filter::Nearest)),
        Pixels::Palette8 { indices, palette } => {
            let resized = resample::<1>(indices.clone(), size, target, Filter::Nearest);
            Flat::Rgb(look_up(&resized, palette))
        }
        Pixels::Gray8(v) => gray(v.clone()),
        Pixels::GrayAlpha8(v) => gray_alpha(v.clone()),
        Pixels::Rgb8(v) => rgb(v.clone()),
        Pixels::Rgba8(v) => rgb_alpha(v.clone()),
        Pixels::Gray16(v) => {
            let resized = resample_gray16(v.clone(), size, target, filter);
            Flat::Gray(resized.into_iter().map(clip_to_8).collect())
        }
        Pixels::GrayAlpha16(v) => gray_alpha(high(v)),
        Pixels::Rgb16(v) => rgb(high(v)),
        Pixels::Rgba16(v) => rgb_alpha(high(v)),
        Pixels::Cmyk8(v) => Flat::Rgb(cmyk_to_rgb(&resample::<4>(v.clone(), size, target, filter))),
    }
}

/// Resizes a picture to `side` x `side` and normalises it: `[3, side, side]`, R G B, row by row,
/// `(value / 255 - mean) / std` in 32-bit floats.
///
/// # Errors
/// [`ImagingError::ZeroSize`](crate::ImagingError) where `side` is 0.
pub fn to_tensor(
    picture: &Picture,
    side: usize,
    mean: [f32; 3],
    std: [f32; 3],
    filter: Filter,
    preset: Preset,
) -> Result<Array3<f32>> {
    Ok(rgb_to_tensor(
        &resize(picture, side, side, filter, preset)?,
        mean,
        std,
    ))
}

/// Normalises an RGB picture at its own size: `[3, height, width]`, `(value / 255 - mean) / std`.
pub fn rgb_to_tensor(picture: &RgbPicture, mean: [f32; 3], std: [f32; 3]) -> Array3<f32> {
    let (pixels, _) = picture.data().as_chunks::<3>();
    let mut tensor = Array3::zeros((3, picture.height(), picture.width()));
    for (channel, mut plane) in tensor.outer_iter_mut().enumerate() {
        let table: [f32; 256] =
            std::array::from_fn(|v| (v as f32 / 255.0 - mean[channel]) / std[channel]);
        for (value, pixel) in plane.iter_mut().zip(pixels) {
            *value = table[usize::from(pixel[channel])];
        }
    }
    tensor
}
