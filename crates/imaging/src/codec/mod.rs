//! Image files.

mod bmp;
mod common;
mod cost;
mod detect;
mod encode;
mod header;
mod jpeg;
mod png;
mod size;
mod tiff;
mod via_image;

use std::path::Path;

use ndarray::Array3;

pub use detect::detect_format;
pub use encode::{encode_jpeg, encode_png, encode_png_gray};
pub use header::{ImageHeader, probe};
pub use size::upright_size;

use crate::{
    InputRecipe, Limits, Picture,
    error::{Format, ImagingError, Result},
};
use detect::format_of;

/// Decodes an image file into a picture in the file's own mode.
///
/// The format is taken from the content, not from a name. Of files with several images the first is
/// read, and [`Picture::further_images`] counts the others. A page of a TIFF file that is marked as
/// a reduced-resolution version of another is not an image.
///
/// # Errors
/// [`ImagingError::Empty`], [`ImagingError::UnknownFormat`], [`ImagingError::TooLarge`] (found on
/// the header, before pixel memory is allocated), [`ImagingError::Corrupt`] or
/// [`ImagingError::Unsupported`].
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    match format_of(bytes, limits)? {
        Format::Png => png::decode(bytes, limits),
        Format::Jpeg => jpeg::decode(bytes, limits),
        Format::Tiff => tiff::decode(bytes, limits),
        Format::Bmp => bmp::decode(bytes, limits),
        Format::WebP => via_image::decode_webp(bytes, limits),
    }
}

/// [`decode`] of a file on disk.
///
/// # Errors
/// [`ImagingError::Read`] where the file cannot be read, else [`ImagingError::InFile`] around the
/// error of [`decode`].
pub fn decode_file(path: &Path, limits: &Limits) -> Result<Picture> {
    let in_file = |source| ImagingError::InFile {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let unreadable = |source| ImagingError::Read {
        path: path.to_owned(),
        source,
    };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    limits.check_file(size).map_err(in_file)?;
    let bytes = std::fs::read(path).map_err(unreadable)?;
    decode(&bytes, limits).map_err(in_file)
}

/// From the bytes of an image file to the tensor `[3, side, side]` of a recipe.
///
/// # Errors
/// Those of [`decode`], and [`ImagingError::ZeroSize`] where the recipe's side is 0.
pub fn prepare(bytes: &[u8], recipe: &InputRecipe, limits: &Limits) -> Result<Array3<f32>> {
    recipe.tensor(&decode(bytes, limits)?)
}
