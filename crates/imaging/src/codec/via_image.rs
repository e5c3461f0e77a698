//! What `image` decodes: WebP, and BMP without a palette.

use std::io::Cursor;

use image::{ColorType, ImageDecoder, ImageError, codecs::webp::WebPDecoder};

use super::{
    common::{corrupt, exif_orientation, unsupported},
    cost::Cost,
};
use crate::{
    Limits, Picture, Pixels,
    error::{Format, ImagingError, Result},
};

pub(super) fn failed(format: Format, limits: &Limits) -> impl Fn(ImageError) -> ImagingError {
    move |error| match error {
        ImageError::Unsupported(e) => unsupported(format, e),
        ImageError::Limits(_) => ImagingError::TooLarge {
            what: "memory for decoding in bytes (at least)",
            found: limits.max_decoder_bytes.saturating_add(1),
            allowed: limits.max_decoder_bytes,
        },
        other => corrupt(format, other),
    }
}

/// Checks the size, then reads the pixels into memory of that size.
pub(super) fn read<D: ImageDecoder>(
    mut decoder: D,
    format: Format,
    limits: &Limits,
    working_bytes: u64,
) -> Result<Vec<u8>> {
    let (width, height) = decoder.dimensions();
    let channels = u64::from(decoder.color_type().bytes_per_pixel());
    limits.check_picture(width, height, channels + working_bytes)?;
    let failed = failed(format, limits);
    let mut bounds = image::Limits::no_limits();
    bounds.max_alloc = Some(limits.max_decoder_bytes);
    decoder.set_limits(bounds).map_err(&failed)?;
    let size = usize::try_from(decoder.total_bytes())
        .map_err(|_| corrupt(format, "the pixel data exceed the address space"))?;
    let mut data = vec![0; size];
    decoder.read_image(&mut data).map_err(&failed)?;
    Ok(data)
}

/// Width, height and cost of the picture.
pub(super) fn webp_header(bytes: &[u8], limits: &Limits) -> Result<(u32, u32, Cost)> {
    let decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(failed(Format::WebP, limits))?;
    let (width, height) = decoder.dimensions();
    let channels = u64::from(decoder.color_type().bytes_per_pixel());
    limits.check_picture(width, height, channels + 8)?;
    // Planes, a frame with alpha, its alpha channel, and the canvas of an animation besides the
    // pixels.
    Ok((width, height, Cost::new(channels, 8, channels + 12)))
}

pub(super) fn decode_webp(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    let format = Format::WebP;
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(failed(format, limits))?;
    let (width, height) = decoder.dimensions();
    let colour = decoder.color_type();
    // Luma, two chroma planes and the canvas of an animation besides the pixels.
    limits.check_picture(width, height, 8)?;
    let exif = decoder.exif_metadata().map_err(failed(format, limits))?;
    let data = read(decoder, format, limits, 4)?;
    let pixels = eight_bit(data, colour, format)?;
    let orientation = exif_orientation(exif.as_deref());
    let picture = Picture::new(width as usize, height as usize, pixels, orientation);
    let picture = picture.map_err(|e| corrupt(format, e))?;
    Ok(picture.with_further_images(frames(bytes).saturating_sub(1)))
}

/// Frames of an animation: the `ANMF` chunks of the file.
fn frames(bytes: &[u8]) -> usize {
    let (mut at, mut frames) = (12, 0);
    while let Some(&[a, b, c, d, s0, s1, s2, s3]) =
        bytes.get(at..).and_then(|rest| rest.first_chunk::<8>())
    {
        frames += usize::from([a, b, c, d] == *b"ANMF");
        // Chunks are padded to an even length.
        let length = u32::from_le_bytes([s0, s1, s2, s3]) as usize;
        at = at.saturating_add(8 + length + length % 2);
    }
    frames
}

pub(super) fn eight_bit(data: Vec<u8>, colour: ColorType, format: Format) -> Result<Pixels> {
    match colour {
        ColorType::L8 => Ok(Pixels::Gray8(data)),
        ColorType::La8 => Ok(Pixels::GrayAlpha8(data)),
        ColorType::Rgb8 => Ok(Pixels::Rgb8(data)),
        ColorType::Rgba8 => Ok(Pixels::Rgba8(data)),
        other => Err(unsupported(format, format!("pixels {other:?}"))),
    }
}
