//! TIFF, first image of the file.

use std::io::Cursor;

use tiff::{
    ColorType, TiffError,
    decoder::{Decoder, DecodingResult},
    tags::Tag,
};

use super::{corrupt, header::Cost, spread_gray, unpack, unsupported};
use crate::{
    Limits, Orientation, Picture, Pixels,
    error::{Format, ImagingError, Result},
    picture::high_byte,
};

const FORMAT: Format = Format::Tiff;

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    // The decoder has no palette mode, so palette indices are read as if they were gray values.
    match palette_as_gray(bytes) {
        Some(gray) => decode_as(&gray, limits, true),
        None => decode_as(bytes, limits, false),
    }
}

/// A copy of a palette file whose first image says that it is gray; `None` for other files.
fn palette_as_gray(bytes: &[u8]) -> Option<Vec<u8>> {
    const PHOTOMETRIC: u16 = 262;
    const GRAY: u8 = 1;
    const PALETTE: u16 = 3;
    let big_endian = bytes.first() == Some(&b'M');
    let u16_at = |at: usize| {
        let raw = *bytes.get(at..)?.first_chunk()?;
        Some(if big_endian {
            u16::from_be_bytes(raw)
        } else {
            u16::from_le_bytes(raw)
        })
    };
    let raw = *bytes.get(4..)?.first_chunk()?;
    let directory = if big_endian {
        u32::from_be_bytes(raw)
    } else {
        u32::from_le_bytes(raw)
    };
    let directory = directory as usize;
    // Twelve bytes an entry: tag, type, count, value.
    let value_at = (0..usize::from(u16_at(directory)?))
        .map(|i| directory + 2 + 12 * i)
        .find(|&at| u16_at(at) == Some(PHOTOMETRIC))?
        + 8;
    if u16_at(value_at)? != PALETTE {
        return None;
    }
    let mut gray = bytes.to_vec();
    gray[value_at + usize::from(big_endian)] = GRAY;
    Some(gray)
}

/// Width, height and cost of the picture.
pub(super) fn header(bytes: &[u8], limits: &Limits) -> Result<(u32, u32, Cost)> {
    let copy = palette_as_gray(bytes);
    let opened = opened(copy.as_deref().unwrap_or(bytes), limits)?;
    let (width, height, colour) = (opened.width, opened.height, opened.colour);
    let (channels, bits) = (u64::from(colour.num_samples()), colour.bit_depth().into());
    let picture = channels * u64::div_ceil(bits, 8);
    // The picture, a strip or tile that may be all of it with the buffers of its decoder, and a copy with channels side
    // by side or unpacked samples.
    Ok((width, height, Cost::new(channels, bits, 4 * picture)))
}

fn failed(limits: &Limits) -> impl Fn(TiffError) -> ImagingError {
    move |error: TiffError| match error {
        TiffError::UnsupportedError(e) => unsupported(FORMAT, e),
        TiffError::LimitsExceeded => ImagingError::TooLarge {
            what: "memory for decoding in bytes (at least)",
            found: limits.max_decoder_bytes.saturating_add(1),
            allowed: limits.max_decoder_bytes,
        },
        other => corrupt(FORMAT, other),
    }
}

/// A decoder whose header is within the limits.
struct Opened<'a> {
    decoder: Decoder<Cursor<&'a [u8]>>,
    width: u32,
    height: u32,
    colour: ColorType,
}

fn opened<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Opened<'a>> {
    let failed = failed(limits);
    let mut bounds = tiff::decoder::Limits::default();
    let allowed = usize::try_from(limits.max_decoder_bytes).unwrap_or(usize::MAX);
    bounds.decoding_buffer_size = allowed;
    bounds.intermediate_buffer_size = allowed;
    let mut decoder = Decoder::new(Cursor::new(bytes))
        .map_err(&failed)?
        .with_limits(bounds);
    let (width, height) = decoder.dimensions().map_err(&failed)?;
    let colour = decoder.colortype().map_err(&failed)?;
    let bits = u64::from(colour.bit_depth()) * u64::from(colour.num_samples());
    limits.check_picture(width, height, bits.div_ceil(8))?;
    Ok(Opened {
        decoder,
        width,
        height,
        colour,
    })
}

fn decode_as(bytes: &[u8], limits: &Limits, has_palette: bool) -> Result<Picture> {
    let failed = failed(limits);
    let Opened {
        mut decoder,
        width,
        height,
        colour,
    } = opened(bytes, limits)?;
    let orientation = decoder
        .find_tag_unsigned::<u16>(Tag::Orientation)
        .ok()
        .flatten();
    let orientation = Orientation::from_exif(orientation.unwrap_or(1).into());
    let mut data = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut data).map_err(&failed)?;
    let data = if layout.planes > 1 {
        interleave(data, layout.planes, width as usize * height as usize)
    } else {
        data
    };
    let (columns, rows) = (width as usize, height as usize);
    let pixels = if has_palette {
        let colours = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(&failed)?;
        indexed(data, colour, columns, rows, &colours)?
    } else {
        pixels(data, colour, columns, rows)?
    };
    Picture::new(columns, rows, pixels, orientation).map_err(|e| corrupt(FORMAT, e))
}

/// `colours` holds all reds, then all greens, then all blues, in 16 bits.
fn indexed(
    data: DecodingResult,
    colour: ColorType,
    width: usize,
    height: usize,
    colours: &[u16],
) -> Result<Pixels> {
    let indices = match (colour, data) {
        (ColorType::Gray(8), DecodingResult::U8(v)) => v,
        (ColorType::Gray(bits @ (1 | 2 | 4)), DecodingResult::U8(v)) => {
            unpack(&v, width, height, bits.into())
        }
        _ => {
            return Err(unsupported(
                FORMAT,
                format!("a palette and pixels {colour:?}"),
            ));
        }
    };
    let stride = colours.len() / 3;
    let count = stride.min(256);
    let channel = |c: usize, i: usize| high_byte(colours[c * stride + i]);
    let palette = (0..count)
        .map(|i| [channel(0, i), channel(1, i), channel(2, i), 255])
        .collect();
    Ok(Pixels::Palette8 { indices, palette })
}

/// Planes stored one after the other become channels side by side.
fn interleave(data: DecodingResult, planes: usize, pixels: usize) -> DecodingResult {
    fn weave<T: Copy>(v: &[T], planes: usize, pixels: usize) -> Vec<T> {
        let at = |i: usize| v.get(i % planes * pixels + i / planes).copied();
        (0..planes * pixels).map_while(at).collect()
    }
    match data {
        DecodingResult::U8(v) => DecodingResult::U8(weave(&v, planes, pixels)),
        DecodingResult::U16(v) => DecodingResult::U16(weave(&v, planes, pixels)),
        other => other,
    }
}

fn pixels(data: DecodingResult, colour: ColorType, width: usize, height: usize) -> Result<Pixels> {
    let refused = || unsupported(FORMAT, format!("pixels {colour:?}"));
    Ok(match (colour, data) {
        (ColorType::Gray(8), DecodingResult::U8(v)) => Pixels::Gray8(v),
        (ColorType::Gray(bits @ (1 | 2 | 4)), DecodingResult::U8(v)) => {
            let bits = usize::from(bits);
            let mut gray = unpack(&v, width, height, bits);
            spread_gray(&mut gray, bits);
            if bits == 1 {
                Pixels::Bilevel(gray)
            } else {
                Pixels::Gray8(gray)
            }
        }
        (
            ColorType::GrayA(8)
            | ColorType::Multiband {
                bit_depth: 8,
                num_samples: 2,
            },
            DecodingResult::U8(v),
        ) => Pixels::GrayAlpha8(v),
        (ColorType::RGB(8), DecodingResult::U8(v)) => Pixels::Rgb8(v),
        (ColorType::RGBA(8), DecodingResult::U8(v)) => Pixels::Rgba8(v),
        (ColorType::CMYK(8), DecodingResult::U8(v)) => Pixels::Cmyk8(v),
        (ColorType::Gray(16), DecodingResult::U16(v)) => Pixels::Gray16(v),
        (
            ColorType::GrayA(16)
            | ColorType::Multiband {
                bit_depth: 16,
                num_samples: 2,
            },
            DecodingResult::U16(v),
        ) => Pixels::GrayAlpha16(v),
        (ColorType::RGB(16), DecodingResult::U16(v)) => Pixels::Rgb16(v),
        (ColorType::RGBA(16), DecodingResult::U16(v)) => Pixels::Rgba16(v),
        _ => return Err(refused()),
    })
}
