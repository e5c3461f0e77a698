//! JPEG, with the pixels of libjpeg-turbo, which the published pipeline reads by way of Pillow.

mod inks;

use std::panic::catch_unwind;

use libjpeg_turbo_rs::{
    ColorSpace, ComponentInfo, DecodeLimits, Decoder, FrameHeader, JpegError, PixelFormat,
};

use super::{
    common::{corrupt, exif_orientation, unsupported},
    cost::Cost,
};
use crate::{
    Limits, Picture, Pixels,
    error::{Format, ImagingError, Result},
};

/// A progressive file of any writer has a few dozen scans at most. Every scan visits all blocks, so
/// that thousands of tiny ones would keep a processor busy for minutes.
const MAX_SCANS: usize = 256;

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    // The decoder reads what anyone may upload. A slip of it must cost one picture, not the
    // process.
    catch_unwind(|| decode_unguarded(bytes, limits)).unwrap_or_else(|_| {
        Err(corrupt(
            Format::Jpeg,
            "the decoder gave up on its structure",
        ))
    })
}

/// Width, height and cost of the picture.
pub(super) fn header(bytes: &[u8], limits: &Limits) -> Result<(u32, u32, Cost)> {
    let read = || {
        let decoder = Decoder::new_with_limits(bytes, bounds(limits)).map_err(failed)?;
        let frame = decoder.header();
        check_frame(frame, limits)?;
        let channels = frame.components.len() as u64;
        // The planes, their full-size copies where channels are reduced, and the interleaved
        // picture.
        let planes = if channels == 3 { 8 } else { 2 * channels };
        // All scans of a progressive picture add to 16-bit coefficients.
        let coefficients = u64::from(frame.is_progressive) * (2 * channels + 1);
        let cost = Cost::new(channels, 8, planes + coefficients);
        Ok((frame.width.into(), frame.height.into(), cost))
    };
    catch_unwind(read).unwrap_or_else(|_| {
        Err(corrupt(
            Format::Jpeg,
            "the decoder gave up on its structure",
        ))
    })
}

fn decode_unguarded(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    let mut decoder = Decoder::new_with_limits(bytes, bounds(limits)).map_err(failed)?;
    check_frame(decoder.header(), limits)?;
    check_complete(bytes)?;
    let (width, height) = (decoder.header().width(), decoder.header().height());
    let orientation = exif_orientation(decoder.exif_data());
    // As libjpeg does where a progressive file leaves coefficients out.
    decoder.set_block_smoothing(true);
    let sampling = |c: &ComponentInfo| (c.horizontal_sampling, c.vertical_sampling);
    let pixels = match (decoder.jpeg_color_space(), &decoder.header().components[..]) {
        (ColorSpace::Grayscale, [_]) => {
            Pixels::Gray8(interleaved(decoder, PixelFormat::Grayscale)?)
        }
        (ColorSpace::YCbCr | ColorSpace::Rgb, [_, _, _]) => {
            Pixels::Rgb8(interleaved(decoder, PixelFormat::Rgb)?)
        }
        (colours @ (ColorSpace::Cmyk | ColorSpace::Ycck), [a, b, c, d]) => {
            let sampling = [a, b, c, d].map(sampling);
            let raw = decoder.decode_raw().map_err(failed)?;
            let data = inks::join(&raw, sampling, colours == ColorSpace::Ycck)
                .map_err(|what| unsupported(Format::Jpeg, what))?;
            Pixels::Cmyk8(data)
        }
        (colours, components) => {
            let what = format!("{} channels of colours {colours:?}", components.len());
            return Err(unsupported(Format::Jpeg, what));
        }
    };
    Picture::new(width, height, pixels, orientation).map_err(|e| corrupt(Format::Jpeg, e))
}

/// Size and RGB of a JPEG file of luminance and chrominance, as part of a file of another format.
pub(super) fn decode_ycc(bytes: &[u8], limits: &Limits) -> Result<((usize, usize), Vec<u8>)> {
    let picture = decode(bytes, limits)?;
    let size = (picture.width(), picture.height());
    match picture.into_pixels() {
        Pixels::Rgb8(pixels) => Ok((size, pixels)),
        other => {
            let what = format!("{} where YCbCr is announced", other.mode());
            Err(unsupported(Format::Jpeg, what))
        }
    }
}

fn interleaved(mut decoder: Decoder<'_>, format: PixelFormat) -> Result<Vec<u8>> {
    decoder.set_output_format(format);
    Ok(decoder.decode_image().map_err(failed)?.into_vec())
}

/// The decoder's own checks, which back up [`check_frame`].
fn bounds(limits: &Limits) -> DecodeLimits {
    DecodeLimits {
        max_width: limits.max_width as usize,
        max_height: limits.max_height as usize,
        max_pixels: limits.max_pixels,
        max_scans: MAX_SCANS,
        max_memory: Some(limits.max_decoder_bytes),
    }
}

/// Refuses what is too large to decode or of no supported kind.
fn check_frame(frame: &FrameHeader, limits: &Limits) -> Result<()> {
    let components = frame.components.len() as u64;
    // A plane and an interleaved copy; all scans of a progressive picture add to 16-bit
    // coefficients.
    let bytes_per_value = if frame.is_progressive { 4 } else { 2 };
    limits.check_picture(
        frame.width.into(),
        frame.height.into(),
        bytes_per_value * components,
    )?;
    if frame.is_lossless {
        return Err(unsupported(Format::Jpeg, "lossless coding"));
    }
    if frame.precision != 8 {
        let what = format!("{} bits a value", frame.precision);
        return Err(unsupported(Format::Jpeg, what));
    }
    Ok(())
}

fn failed(error: JpegError) -> ImagingError {
    match error {
        // Not of the caller's limits, so that raising those would not help.
        JpegError::LimitExceeded { limit, .. } if limit == MAX_SCANS as u64 => {
            corrupt(Format::Jpeg, error)
        }
        JpegError::LimitExceeded {
            what,
            actual,
            limit,
        } => ImagingError::TooLarge {
            what,
            found: actual,
            allowed: limit,
        },
        JpegError::Unsupported(what) => unsupported(Format::Jpeg, what),
        other => corrupt(Format::Jpeg, other),
    }
}

/// A file cut off within its last scans may still decode, and its coarse or gray rest must not
/// reach an inspection. A complete file has an end marker behind its last scan.
fn check_complete(bytes: &[u8]) -> Result<()> {
    let truncated = || corrupt(Format::Jpeg, "the file ends before its end-of-image marker");
    let mut at = 2;
    let mut in_scan = false;
    loop {
        let offset = bytes[at..]
            .iter()
            .position(|&b| b == 0xff)
            .ok_or_else(truncated)?;
        at += offset + 1;
        match bytes.get(at).ok_or_else(truncated)? {
            0xd9 if in_scan => return Ok(()),
            // A stuffed zero, fill byte, restart marker or marker without a length.
            0x00 | 0x01 | 0xd0..=0xd9 => at += 1,
            0xff => {}
            marker => {
                let length = bytes.get(at + 1..at + 3).ok_or_else(truncated)?;
                let length = u16::from_be_bytes([length[0], length[1]]);
                in_scan |= *marker == 0xda;
                at += 1 + usize::from(length);
                if at >= bytes.len() {
                    return Err(truncated());
                }
            }
        }
    }
}
