//! PNG.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, DecodingError, Info, Transformations};

use super::{
    common::{corrupt, exif_orientation, spread_gray, unpack},
    cost::Cost,
};
use crate::{
    Limits, Picture, Pixels,
    error::{Format, ImagingError, Result},
};

fn opened<'a>(bytes: &'a [u8], limits: &Limits) -> Decoder<Cursor<&'a [u8]>> {
    let allowed = usize::try_from(limits.max_decoder_bytes).unwrap_or(usize::MAX);
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: allowed });
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    // A profile is compressed and may unfold to any size; it is not used.
    decoder.set_ignore_iccp_chunk(true);
    decoder
}

fn failed(limits: &Limits) -> impl Fn(DecodingError) -> ImagingError {
    move |error: DecodingError| match error {
        DecodingError::LimitsExceeded => ImagingError::TooLarge {
            what: "memory for decoding in bytes (at least)",
            found: limits.max_decoder_bytes.saturating_add(1),
            allowed: limits.max_decoder_bytes,
        },
        other => corrupt(Format::Png, other),
    }
}

/// Checks the header against `limits`.
fn checked(info: &Info<'_>, limits: &Limits) -> Result<()> {
    let bits = u64::from(info.color_type.samples() as u32 * info.bit_depth as u32);
    limits.check_picture(info.width, info.height, bits.div_ceil(8))
}

/// Width, height and cost of the picture.
pub(super) fn header(bytes: &[u8], limits: &Limits) -> Result<(u32, u32, Cost)> {
    let mut decoder = opened(bytes, limits);
    let info = decoder.read_header_info().map_err(failed(limits))?;
    checked(info, limits)?;
    let (channels, bits) = (info.color_type.samples() as u64, info.bit_depth as u64);
    let picture = channels * bits.div_ceil(8);
    // The samples as stored and as they are kept: two copies of 16-bit samples, packed ones besides
    // unpacked ones.
    let decoding = if bits == 8 { picture } else { 2 * picture };
    Ok((info.width, info.height, Cost::new(channels, bits, decoding)))
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    let failed = failed(limits);
    let mut decoder = opened(bytes, limits);
    checked(decoder.read_header_info().map_err(&failed)?, limits)?;
    let mut reader = decoder.read_info().map_err(&failed)?;
    let size = reader.output_buffer_size().ok_or_else(|| {
        corrupt(
            Format::Png,
            "the size of the pixel data exceeds the address space",
        )
    })?;
    let default_is_frame = reader.info().frame_control.is_some();
    let mut data = vec![0; size];
    reader.next_frame(&mut data).map_err(&failed)?;
    // The orientation may stand behind the pixels. A file that ends there is whole for this
    // purpose.
    let _ = reader.finish();
    let info = reader.info();
    let (width, height) = (info.width as usize, info.height as usize);
    let pixels = pixels(data, info);
    let orientation = exif_orientation(info.exif_metadata.as_deref());
    // The default image of an animation may or may not be its first frame.
    let frames = info
        .animation_control
        .map_or(0, |control| control.num_frames);
    let further = (frames as usize).saturating_sub(usize::from(default_is_frame));
    let picture = Picture::new(width, height, pixels, orientation);
    let picture = picture.map_err(|e| corrupt(Format::Png, e))?;
    Ok(picture.with_further_images(further))
}

fn pixels(data: Vec<u8>, info: &Info<'_>) -> Pixels {
    let (width, height) = (info.width as usize, info.height as usize);
    let bits = info.bit_depth as usize;
    let samples = |data: Vec<u8>| {
        if bits < 8 {
            unpack(&data, width, height, bits)
        } else {
            data
        }
    };
    let wide = |data: Vec<u8>| {
        data.as_chunks::<2>()
            .0
            .iter()
            .map(|&b| u16::from_be_bytes(b))
            .collect::<Vec<u16>>()
    };
    match (info.color_type, info.bit_depth) {
        (ColorType::Indexed, _) => Pixels::Palette8 {
            indices: samples(data),
            palette: palette(info),
        },
        (ColorType::Grayscale, BitDepth::Sixteen) => Pixels::Gray16(wide(data)),
        (ColorType::GrayscaleAlpha, BitDepth::Sixteen) => Pixels::GrayAlpha16(wide(data)),
        (ColorType::Rgb, BitDepth::Sixteen) => Pixels::Rgb16(wide(data)),
        (ColorType::Rgba, BitDepth::Sixteen) => Pixels::Rgba16(wide(data)),
        (ColorType::GrayscaleAlpha, _) => Pixels::GrayAlpha8(data),
        (ColorType::Rgb, _) => Pixels::Rgb8(data),
        (ColorType::Rgba, _) => Pixels::Rgba8(data),
        (ColorType::Grayscale, depth) => {
            let mut gray = samples(data);
            if bits < 8 {
                spread_gray(&mut gray, bits);
            }
            if depth == BitDepth::One {
                Pixels::Bilevel(gray)
            } else {
                Pixels::Gray8(gray)
            }
        }
    }
}

fn palette(info: &Info<'_>) -> Vec<[u8; 4]> {
    let colours = info.palette.as_deref().unwrap_or_default();
    let alpha = info.trns.as_deref().unwrap_or_default();
    let (colours, _) = colours.as_chunks::<3>();
    colours
        .iter()
        .enumerate()
        .map(|(i, &[r, g, b])| [r, g, b, alpha.get(i).copied().unwrap_or(255)])
        .collect()
}
