//! Writing images.

use std::borrow::Cow;

use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use ndarray::ArrayView2;

use crate::{
    RgbPicture,
    error::{Format, ImagingError, Result, nonzero},
};

fn failed(format: Format) -> impl Fn(String) -> ImagingError {
    move |reason| ImagingError::Encode { format, reason }
}

/// An RGB picture as the bytes of an 8-bit PNG file.
///
/// # Errors
/// [`ImagingError::Encode`] where a side exceeds 2^31 - 1.
pub fn encode_png(picture: &RgbPicture) -> Result<Vec<u8>> {
    write_png(
        picture.data(),
        picture.width(),
        picture.height(),
        png::ColorType::Rgb,
    )
}

/// An array `[height, width]` as the bytes of an 8-bit gray PNG file, for masks.
///
/// # Errors
/// [`ImagingError::ZeroSize`], or [`ImagingError::Encode`] where a side exceeds 2^31 - 1.
pub fn encode_png_gray(gray: ArrayView2<'_, u8>) -> Result<Vec<u8>> {
    let (height, width) = gray.dim();
    nonzero("picture", width, height)?;
    let data: Cow<'_, [u8]> = match gray.as_slice() {
        Some(slice) => slice.into(),
        None => gray.iter().copied().collect(),
    };
    write_png(&data, width, height, png::ColorType::Grayscale)
}

fn write_png(data: &[u8], width: usize, height: usize, colour: png::ColorType) -> Result<Vec<u8>> {
    let failed = failed(Format::Png);
    let side = |side: usize| u32::try_from(side).map_err(|e| failed(e.to_string()));
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side(width)?, side(height)?);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(data)?;
        writer.finish()
    });
    written.map_err(|e| failed(e.to_string()))?;
    Ok(bytes)
}

/// An RGB picture as the bytes of a JPEG file; `quality` runs from 1 to 100 and is clipped to it.
///
/// # Errors
/// [`ImagingError::Encode`] where a side exceeds 65535.
pub fn encode_jpeg(picture: &RgbPicture, quality: u8) -> Result<Vec<u8>> {
    let failed = failed(Format::Jpeg);
    let side = |side: usize| u32::try_from(side).map_err(|e| failed(e.to_string()));
    let (width, height) = (side(picture.width())?, side(picture.height())?);
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100))
        .encode(picture.data(), width, height, ExtendedColorType::Rgb8)
        .map_err(|e| failed(e.to_string()))?;
    Ok(bytes)
}
