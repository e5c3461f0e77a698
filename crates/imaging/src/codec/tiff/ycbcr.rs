//! Luminance and chrominance to RGB, as libtiff does it.

use std::io::{Read, Seek};

use tiff::{
    decoder::{ChunkType, Decoder},
    tags::Tag,
};

use super::error::{FORMAT, failed};
use crate::{
    Limits,
    codec::{common::corrupt, jpeg},
    error::{ImagingError, Result},
};

const LUMA_COEFFICIENTS: Tag = Tag::Unknown(529);
const REFERENCE_BLACK_WHITE: Tag = Tag::Unknown(532);

/// Rec. 601, the default of the format.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];
/// Black and white of luminance, then no and full red and blue difference.
const RANGE: [f32; 6] = [0.0, 255.0, 128.0, 255.0, 128.0, 255.0];

/// RGB of the samples of a page without chroma subsampling.
pub(super) fn to_rgb<R: Read + Seek>(samples: &mut [u8], decoder: &mut Decoder<R>) -> Result<()> {
    let mut floats = |tag: Tag| {
        let value = decoder.find_tag(tag).ok().flatten();
        value.and_then(|value| value.into_f32_vec().ok())
    };
    let luma = floats(LUMA_COEFFICIENTS).and_then(|v| <[f32; 3]>::try_from(v).ok());
    let range = floats(REFERENCE_BLACK_WHITE).and_then(|v| <[f32; 6]>::try_from(v).ok());
    let tables = Tables::new(luma.unwrap_or(LUMA), range.unwrap_or(RANGE))
        .ok_or_else(|| corrupt(FORMAT, "YCbCrCoefficients without green"))?;
    for pixel in samples.as_chunks_mut::<3>().0 {
        *pixel = tables.rgb(*pixel);
    }
    Ok(())
}

/// What each value of a channel adds to red, green and blue, in 16 binary places for green.
struct Tables {
    luminance: [i32; 256],
    red: [i32; 256],
    blue: [i32; 256],
    green_of_red: [i32; 256],
    green_of_blue: [i32; 256],
}

impl Tables {
    fn new([red, green, blue]: [f32; 3], range: [f32; 6]) -> Option<Self> {
        if !(green != 0.0 && green.is_finite()) {
            return None;
        }
        const ONE: f32 = 65_536.0;
        const HALF: i32 = 1 << 15;
        let fixed = |factor: f32| (factor.clamp(0.0, 2.0) * ONE + 0.5) as i32;
        let (full_red, full_blue) = (2.0 - 2.0 * red, 2.0 - 2.0 * blue);
        let (d1, d3) = (fixed(full_red), fixed(full_blue));
        let d2 = -fixed(red * full_red / green);
        let d4 = -fixed(blue * full_blue / green);
        let scaled = |code: i32, black: f32, white: f32, full: f32| {
            let extent = if white == black { 1.0 } else { white - black };
            let value = (code as f32 - black.trunc()) * full / extent;
            value.clamp(-4096.0, 4096.0) as i32
        };
        let difference = |black: f32, white: f32| {
            std::array::from_fn::<i32, 256, _>(|i| {
                scaled(i as i32 - 128, black - 128.0, white - 128.0, 127.0)
            })
        };
        let (cb, cr) = (
            difference(range[2], range[3]),
            difference(range[4], range[5]),
        );
        Some(Self {
            luminance: std::array::from_fn(|i| scaled(i as i32, range[0], range[1], 255.0)),
            red: cr.map(|v| (d1 * v + HALF) >> 16),
            blue: cb.map(|v| (d3 * v + HALF) >> 16),
            green_of_red: cr.map(|v| d2 * v),
            green_of_blue: cb.map(|v| d4 * v + HALF),
        })
    }

    fn rgb(&self, [y, cb, cr]: [u8; 3]) -> [u8; 3] {
        let (y, cb, cr) = (
            self.luminance[usize::from(y)],
            usize::from(cb),
            usize::from(cr),
        );
        let green = (self.green_of_blue[cb] + self.green_of_red[cr]) >> 16;
        [self.red[cr], green, self.blue[cb]].map(|shift| (y + shift).clamp(0, 255) as u8)
    }
}

/// RGB of a page whose strips or tiles are JPEG files, decoded as libjpeg-turbo does.
pub(super) fn from_jpeg<R: Read + Seek>(
    bytes: &[u8],
    decoder: &mut Decoder<R>,
    (width, height): (usize, usize),
    limits: &Limits,
) -> Result<Vec<u8>> {
    let (offsets, counts) = match decoder.get_chunk_type() {
        ChunkType::Strip => (Tag::StripOffsets, Tag::StripByteCounts),
        ChunkType::Tile => (Tag::TileOffsets, Tag::TileByteCounts),
    };
    let failed = failed(limits);
    let offsets = decoder.get_tag_u64_vec(offsets).map_err(&failed)?;
    let counts = decoder.get_tag_u64_vec(counts).map_err(&failed)?;
    let tables = match decoder.find_tag(Tag::JPEGTables).map_err(&failed)? {
        Some(tables) => tables.into_u8_vec().map_err(&failed)?,
        None => Vec::new(),
    };
    let (chunk_width, chunk_height) = decoder.chunk_dimensions();
    limits.check_picture(chunk_width, chunk_height.min(height as u32), 6)?;
    let (chunk_width, chunk_height) = (chunk_width as usize, chunk_height as usize);
    let across = width.div_ceil(chunk_width.max(1));
    let mut rgb = vec![0; 3 * width * height];
    for (chunk, (&offset, &count)) in offsets.iter().zip(&counts).enumerate() {
        let (left, top) = (chunk % across * chunk_width, chunk / across * chunk_height);
        let (columns, rows) = (chunk_width.min(width - left), height.saturating_sub(top));
        let rows = rows.min(chunk_height);
        let part = usize::try_from(offset).ok().and_then(|start| {
            let end = start.checked_add(usize::try_from(count).ok()?)?;
            bytes.get(start..end)
        });
        let part = part.ok_or_else(|| corrupt(FORMAT, "a strip lies outside the file"))?;
        let (found, pixels) =
            jpeg::decode_ycc(&jpeg_file(&tables, part), limits).map_err(inside)?;
        if found.0 < columns || found.0 > chunk_width || found.1 < rows || found.1 > chunk_height {
            let what = format!(
                "a strip or tile of {columns} x {rows} pixels holds {} x {}",
                found.0, found.1
            );
            return Err(corrupt(FORMAT, what));
        }
        for (row, line) in pixels.chunks_exact(3 * found.0).take(rows).enumerate() {
            let start = 3 * ((top + row) * width + left);
            rgb[start..start + 3 * columns].copy_from_slice(&line[..3 * columns]);
        }
    }
    Ok(rgb)
}

/// An error of the JPEG data as one of the file around them.
fn inside(error: ImagingError) -> ImagingError {
    match error {
        ImagingError::Corrupt { reason, .. } => corrupt(FORMAT, format!("JPEG data: {reason}")),
        ImagingError::Unsupported { what, .. } => ImagingError::Unsupported {
            format: FORMAT,
            what: format!("JPEG data of {what}"),
        },
        other => other,
    }
}

/// A JPEG file that says itself that its channels are luminance and chrominance, as the page does,
/// of the tables that all parts share and one part.
fn jpeg_file(tables: &[u8], part: &[u8]) -> Vec<u8> {
    const START: [u8; 2] = [0xff, 0xd8];
    const END: [u8; 2] = [0xff, 0xd9];
    const ADOBE_YCC: [u8; 16] = *b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x01";
    let tables = tables.strip_prefix(&START).unwrap_or_default();
    let tables = tables.strip_suffix(&END).unwrap_or(tables);
    let part = part.strip_prefix(&START).unwrap_or(part);
    [&START[..], &ADOBE_YCC, tables, part].concat()
}
