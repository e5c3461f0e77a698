//! BMP.
//!
//! Files with a palette are read here, because `image` gives up their palette mode and does not
//! check run-length coded indices against the palette; all others go through `image`.

use std::io::Cursor;

use image::{ImageDecoder, codecs::bmp::BmpDecoder};

use super::{
    common::{corrupt, unpack, unsupported},
    cost::Cost,
    via_image,
};
use crate::{
    Limits, Picture, Pixels,
    error::{Format, ImagingError, Result},
};

const FORMAT: Format = Format::Bmp;
/// Length of the file header, behind which the picture header starts.
const FILE_HEADER: usize = 14;

/// What a picture with a palette says about itself.
struct Header {
    width: u32,
    height: u32,
    bits: u16,
    compressed: bool,
    top_down: bool,
    pixels_at: usize,
    palette_at: usize,
    /// Bytes of a palette entry, blue green red first.
    entry: usize,
    colours: usize,
}

/// Width, height and cost of the picture.
pub(super) fn probe(bytes: &[u8], limits: &Limits) -> Result<(u32, u32, Cost)> {
    let header = header(bytes).ok_or_else(|| truncated("the header"))?;
    if header.bits <= 8 {
        limits.check_picture(header.width, header.height, 2)?;
        // Indices become gray values or stay; their colours have three channels.
        return Ok((header.width, header.height, Cost::new(3, 8, 3)));
    }
    let decoder = BmpDecoder::new(Cursor::new(bytes)).map_err(via_image::failed(FORMAT, limits))?;
    let (width, height) = decoder.dimensions();
    let channels = u64::from(decoder.color_type().bytes_per_pixel());
    limits.check_picture(width, height, channels)?;
    Ok((width, height, Cost::new(channels, 8, channels + 1)))
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    let header = header(bytes).ok_or_else(|| truncated("the header"))?;
    if header.bits <= 8 {
        return with_palette(bytes, &header, limits);
    }
    let decoder = BmpDecoder::new(Cursor::new(bytes)).map_err(via_image::failed(FORMAT, limits))?;
    let (width, height) = decoder.dimensions();
    let colour = decoder.color_type();
    let data = via_image::read(decoder, FORMAT, limits, 0)?;
    let pixels = via_image::eight_bit(data, colour, FORMAT)?;
    Picture::new(width as usize, height as usize, pixels, Default::default())
        .map_err(|e| corrupt(FORMAT, e))
}

fn truncated(part: &str) -> ImagingError {
    corrupt(FORMAT, format!("the file ends within {part}"))
}

fn header(bytes: &[u8]) -> Option<Header> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let pixels_at = u32_at(10)? as usize;
    let length = u32_at(14)? as usize;
    let palette_at = FILE_HEADER.checked_add(length)?;
    if length < 16 {
        // The OS/2 1.x header.
        let bits = u16_at(24)?;
        return Some(Header {
            width: u16_at(18)?.into(),
            height: u16_at(20)?.into(),
            bits,
            compressed: false,
            top_down: false,
            pixels_at,
            palette_at,
            entry: 3,
            colours: 1 << bits.min(8),
        });
    }
    let (width, height, bits) = (u32_at(18)? as i32, u32_at(22)? as i32, u16_at(28)?);
    let all = 1usize << bits.min(8);
    let colours = match u32_at(46).unwrap_or(0) as usize {
        0 => all,
        used => used.min(all),
    };
    Some(Header {
        width: width.unsigned_abs(),
        height: height.unsigned_abs(),
        bits,
        compressed: u32_at(30)? != 0,
        top_down: height < 0,
        pixels_at,
        palette_at,
        entry: 4,
        colours,
    })
}

fn with_palette(bytes: &[u8], header: &Header, limits: &Limits) -> Result<Picture> {
    limits.check_picture(header.width, header.height, 2)?;
    if header.compressed {
        return Err(unsupported(FORMAT, "run-length coding"));
    }
    let (width, height) = (header.width as usize, header.height as usize);
    let palette = bytes
        .get(header.palette_at..)
        .and_then(|rest| rest.get(..header.colours * header.entry))
        .ok_or_else(|| truncated("the palette"))?;
    let palette: Vec<[u8; 3]> = palette
        .chunks_exact(header.entry)
        .map(|c| [c[2], c[1], c[0]])
        .collect();
    let bits = match header.bits {
        1 | 2 | 4 | 8 => usize::from(header.bits),
        other => return Err(unsupported(FORMAT, format!("{other} bits a pixel"))),
    };
    let row_bytes = (width * bits).div_ceil(32) * 4;
    let rows = bytes
        .get(header.pixels_at..)
        .and_then(|rest| rest.get(..row_bytes * height))
        .ok_or_else(|| truncated("the pixels"))?;
    let mut indices = Vec::with_capacity(width * height);
    for y in 0..height {
        let at = if header.top_down { y } else { height - 1 - y } * row_bytes;
        let row = &rows[at..at + (width * bits).div_ceil(8)];
        if bits == 8 {
            indices.extend_from_slice(row);
        } else {
            indices.extend(unpack(row, width, 1, bits));
        }
    }
    Picture::new(
        width,
        height,
        mode_of(indices, &palette),
        Default::default(),
    )
    .map_err(|e| corrupt(FORMAT, e))
}

/// A palette of gray steps means gray, and of black and white means one bit, as in Pillow.
fn mode_of(indices: Vec<u8>, palette: &[[u8; 3]]) -> Pixels {
    if palette == [[0; 3], [255; 3]] {
        return Pixels::Bilevel(indices.iter().map(|&i| i.min(1) * 255).collect());
    }
    let is_gray_ramp = palette
        .iter()
        .enumerate()
        .all(|(i, c)| c.iter().all(|&v| usize::from(v) == i));
    if is_gray_ramp {
        return Pixels::Gray8(indices);
    }
    let palette = palette.iter().map(|&[r, g, b]| [r, g, b, 255]).collect();
    Pixels::Palette8 { indices, palette }
}
