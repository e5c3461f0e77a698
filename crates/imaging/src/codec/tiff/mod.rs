//! TIFF and BigTIFF: the first page that is not a reduced-resolution version of another.

mod error;
mod pages;
mod samples;
mod ycbcr;

use std::io::{Cursor, Read, Seek};

use tiff::{
    ColorType,
    decoder::{Decoder, DecodingResult},
    tags::Tag,
};

use self::error::{FORMAT, failed};
use self::{
    pages::{Page, Pages},
    samples::{Range, range},
};
use super::{
    common::{corrupt, spread_gray, unpack, unsupported},
    cost::Cost,
};
use crate::{Limits, Orientation, Picture, Pixels, error::Result, picture::high_byte};

/// Bytes per pixel that decoding JPEG data within a page takes at most.
const WIDEST_JPEG: u64 = 12;

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    let pages = Pages::read(bytes)?;
    // The decoder starts at the first page and has no palette mode, so the page is put first and
    // palette indices are read as if they were gray values.
    let rearranged = pages.rearranged(bytes);
    let picture = decode_first(
        rearranged.as_deref().unwrap_or(bytes),
        limits,
        &pages.chosen,
    )?;
    Ok(picture.with_further_images(pages.further))
}

/// Width and height of the page that [`decode`] reads, as stored, and its orientation.
pub(super) fn size(bytes: &[u8]) -> Result<(u32, u32, Orientation)> {
    let page = Pages::read(bytes)?.chosen;
    Ok((page.width, page.height, page.orientation()))
}

/// Width, height and cost of the page that [`decode`] reads.
pub(super) fn header(bytes: &[u8], limits: &Limits) -> Result<(u32, u32, Cost)> {
    let pages = Pages::read(bytes)?;
    let rearranged = pages.rearranged(bytes);
    let mut opened = opened(rearranged.as_deref().unwrap_or(bytes), limits)?;
    let (width, height, colour) = (opened.width, opened.height, opened.colour);
    let (channels, bits) = (u64::from(colour.num_samples()), colour.bit_depth().into());
    let picture = channels * u64::div_ceil(bits, 8);
    // The picture, a strip or tile that may be all of it with the buffers of its decoder, and a
    // copy with channels side by side or unpacked samples.
    let stored = 4 * picture;
    let cost = if opened.range.is_some() {
        Cost::new(channels, 16, stored + 2 * channels)
    } else if is_ycc_in_jpeg(&mut opened.decoder, colour)? {
        Cost::new(channels, bits, stored + WIDEST_JPEG)
    } else {
        Cost::new(channels, bits, stored)
    };
    Ok((width, height, cost))
}

/// A decoder whose header is within the limits.
struct Opened<'a> {
    decoder: Decoder<Cursor<&'a [u8]>>,
    width: u32,
    height: u32,
    colour: ColorType,
    /// The stated range of samples that become 16-bit ones.
    range: Option<Range>,
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
    let samples = u64::from(colour.num_samples());
    let bits = u64::from(colour.bit_depth()) * samples;
    let range = range(&mut decoder, colour)?;
    // Samples of another format become 16-bit ones beside the stored ones.
    let working = if range.is_some() { 2 * samples } else { 0 };
    limits.check_picture(width, height, bits.div_ceil(8) + working)?;
    Ok(Opened {
        decoder,
        width,
        height,
        colour,
        range,
    })
}

fn decode_first(bytes: &[u8], limits: &Limits, page: &Page) -> Result<Picture> {
    let failed = failed(limits);
    let Opened {
        mut decoder,
        width,
        height,
        colour,
        range,
    } = opened(bytes, limits)?;
    check_predictor(&mut decoder, colour)?;
    let (columns, rows) = (width as usize, height as usize);
    let pixels = if is_ycc_in_jpeg(&mut decoder, colour)? {
        Pixels::Rgb8(ycbcr::from_jpeg(
            bytes,
            &mut decoder,
            (columns, rows),
            limits,
        )?)
    } else {
        let mut data = DecodingResult::U8(Vec::new());
        let layout = decoder.read_image_to_buffer(&mut data).map_err(&failed)?;
        let mut data = match layout.planes {
            0 | 1 => data,
            planes => interleave(data, planes, columns * rows),
        };
        if let (ColorType::YCbCr(8), DecodingResult::U8(samples)) = (colour, &mut data) {
            ycbcr::to_rgb(samples, &mut decoder)?;
        }
        match range {
            _ if page.has_palette() => {
                let colours = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(&failed)?;
                indexed(data, colour, columns, rows, &colours)?
            }
            None => pixels(data, colour, columns, rows)?,
            Some(range) => {
                let colour = samples::sixteen_bits(colour);
                pixels(range.apply(data)?, colour, columns, rows)?
            }
        }
    };
    Picture::new(columns, rows, pixels, page.orientation()).map_err(|e| corrupt(FORMAT, e))
}

/// Whether the chrominance of a page lies in JPEG data, which hold it at a size of its own.
fn is_ycc_in_jpeg<R: Read + Seek>(decoder: &mut Decoder<R>, colour: ColorType) -> Result<bool> {
    const MODERN_JPEG: u16 = 7;
    const PLANAR: u16 = 2;
    let mut tag = |tag: Tag| decoder.find_tag_unsigned::<u16>(tag).ok().flatten();
    if colour != ColorType::YCbCr(8) || tag(Tag::Compression) != Some(MODERN_JPEG) {
        return Ok(false);
    }
    if tag(Tag::PlanarConfiguration) == Some(PLANAR) {
        return Err(unsupported(
            FORMAT,
            "YCbCr in JPEG data with separate planes",
        ));
    }
    Ok(true)
}

/// The decoder drops samples beyond the colours before it takes the differences of neighbours back,
/// and mixes channels up.
fn check_predictor<R: Read + Seek>(decoder: &mut Decoder<R>, colour: ColorType) -> Result<()> {
    const PLANAR: u16 = 2;
    let mut tag = |tag: Tag| decoder.find_tag_unsigned::<u16>(tag).ok().flatten();
    let stored = tag(Tag::SamplesPerPixel).unwrap_or(1);
    let predicted = tag(Tag::Predictor).unwrap_or(1) != 1;
    let planar = tag(Tag::PlanarConfiguration) == Some(PLANAR);
    if predicted && !planar && stored != colour.num_samples() {
        let what = format!(
            "{stored} samples per pixel with a predictor, {} of them colours",
            colour.num_samples()
        );
        return Err(unsupported(FORMAT, what));
    }
    Ok(())
}

/// `colours` holds all reds, then all greens, then all blues, in 16 bits. Where no entry exceeds
/// 255 they are 8-bit values from a writer that did not scale them, as libtiff takes it.
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
            let what = format!("palette indices of {} bits", colour.bit_depth());
            return Err(unsupported(FORMAT, what));
        }
    };
    let stride = colours.len() / 3;
    let count = stride.min(256);
    let narrow: fn(u16) -> u8 = match colours.iter().all(|&v| v < 256) {
        true => |v| v as u8,
        false => high_byte,
    };
    let channel = |c: usize, i: usize| narrow(colours[c * stride + i]);
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
        DecodingResult::U32(v) => DecodingResult::U32(weave(&v, planes, pixels)),
        DecodingResult::U64(v) => DecodingResult::U64(weave(&v, planes, pixels)),
        DecodingResult::I8(v) => DecodingResult::I8(weave(&v, planes, pixels)),
        DecodingResult::I16(v) => DecodingResult::I16(weave(&v, planes, pixels)),
        DecodingResult::I32(v) => DecodingResult::I32(weave(&v, planes, pixels)),
        DecodingResult::I64(v) => DecodingResult::I64(weave(&v, planes, pixels)),
        DecodingResult::F16(v) => DecodingResult::F16(weave(&v, planes, pixels)),
        DecodingResult::F32(v) => DecodingResult::F32(weave(&v, planes, pixels)),
        DecodingResult::F64(v) => DecodingResult::F64(weave(&v, planes, pixels)),
    }
}

fn pixels(data: DecodingResult, colour: ColorType, width: usize, height: usize) -> Result<Pixels> {
    let refused = || unsupported(FORMAT, samples::describe(colour, samples::UNSIGNED));
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
        (ColorType::RGB(8) | ColorType::YCbCr(8), DecodingResult::U8(v)) => Pixels::Rgb8(v),
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
