//! Image input and map output for rareclip.
//!
//! * [`decode`] reads PNG, JPEG, BMP, TIFF and WebP into a plain [`Picture`] that keeps the file's
//!   own mode, under [`Limits`] that are checked before pixel memory is allocated (feature
//!   `codecs`).
//! * [`to_tensor`] and [`prepare`] turn a picture into a normalised `[3, side, side]` tensor with
//!   Pillow's integer resampling, either as the published code does it ([`Preset::Reference`]) or
//!   with the conversion to RGB first ([`Preset::Product`]).
//! * [`mask_marked`], [`mask_soft`], [`mask_binary`] and [`resize_mask_nearest`] read ground-truth
//!   masks.
//! * [`upsample_bilinear`] and [`gaussian_blur`] turn a patch map into a pixel map.
//! * [`heatmap`], [`overlay`], [`contour`] and [`thumbnail`] show the result; [`encode_png`],
//!   [`encode_jpeg`] and [`npy_f32`] write it.
//!
//! Without the feature `codecs` only the arithmetic on pixels and maps is built.

mod error;
mod limits;
mod map;
mod mask;
mod npy;
mod picture;
mod prepare;
mod preset;
mod resample;
mod rgb;
mod visual;

#[cfg(feature = "codecs")]
mod codec;

pub use error::{Format, ImagingError};
pub use limits::Limits;
pub use map::{gaussian_blur, gaussian_kernel, resize_map, upsample_bilinear};
pub use mask::{mask_binary, mask_marked, mask_soft, resize_marked, resize_mask_nearest};
pub use npy::npy_f32;
pub use picture::{Orientation, Picture, Pixels};
pub use prepare::{
    CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, InputRecipe, resize, rgb_to_tensor, to_tensor,
};
pub use preset::Preset;
pub use resample::Filter;
pub use rgb::RgbPicture;
pub use visual::{MapScale, colour, contour, heatmap, overlay, shrink, thumbnail};

#[cfg(feature = "codecs")]
pub use codec::{
    ImageHeader, decode, decode_file, detect_format, encode_jpeg, encode_png, encode_png_gray,
    prepare, probe, upright_size,
};
