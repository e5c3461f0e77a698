//! Image files.

mod bmp;
mod encode;
mod header;
mod jpeg;
mod png;
mod size;
mod tiff;
mod via_image;

use std::path::Path;

use ndarray::Array3;

pub use encode::{encode_jpeg, encode_png, encode_png_gray};
pub use header::{ImageHeader, probe};
pub use size::upright_size;

use crate::{
    InputRecipe, Limits, Orientation, Picture,
    error::{Format, ImagingError, Result},
};

/// The format that the first bytes announce, `None` where they announce none of those supported.
pub fn detect_format(bytes: &[u8]) -> Option<Format> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Format::Png),
        [0xff, 0xd8, 0xff, ..] => Some(Format::Jpeg),
        [b'B', b'M', ..] => Some(Format::Bmp),
        // 43 is BigTIFF.
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Format::Tiff),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some(Format::WebP),
        _ => None,
    }
}

/// Decodes an image file into a picture in the file's own mode.
///
/// The format is taken from the content, not from a name. Of files with several images the first is
/// read, and [`Picture::further_images`] counts the others. A page of a TIFF file that is marked as a
/// reduced-resolution version of another is not an image.
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

/// The format of a file whose size is allowed.
fn format_of(bytes: &[u8], limits: &Limits) -> Result<Format> {
    if bytes.is_empty() {
        return Err(ImagingError::Empty);
    }
    limits.check_file(bytes.len() as u64)?;
    detect_format(bytes).ok_or_else(|| ImagingError::UnknownFormat {
        start: bytes[..bytes.len().min(8)].to_vec(),
    })
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

fn corrupt(format: Format, reason: impl ToString) -> ImagingError {
    ImagingError::Corrupt {
        format,
        reason: reason.to_string(),
    }
}

fn unsupported(format: Format, what: impl ToString) -> ImagingError {
    ImagingError::Unsupported {
        format,
        what: what.to_string(),
    }
}

fn exif_orientation(exif: Option<&[u8]>) -> Orientation {
    exif.map(|chunk| chunk.strip_prefix(b"Exif\0\0").unwrap_or(chunk))
        .and_then(image::metadata::Orientation::from_exif_chunk)
        .map_or(Orientation::Upright, |o| {
            Orientation::from_exif(o.to_exif().into())
        })
}

/// Expands packed samples of 1, 2 or 4 bits, most significant first, rows padded to whole bytes.
fn unpack(packed: &[u8], width: usize, height: usize, bits: usize) -> Vec<u8> {
    let row_bytes = (width * bits).div_ceil(8);
    let mask = (1u8 << bits) - 1;
    let mut out = Vec::with_capacity(width * height);
    for row in packed.chunks_exact(row_bytes).take(height) {
        out.extend((0..width).map(|x| {
            let at = x * bits;
            (row[at / 8] >> (8 - bits - at % 8)) & mask
        }));
    }
    out
}

/// Gray samples of 1, 2 or 4 bits, spread over 0..=255.
fn spread_gray(samples: &mut [u8], bits: usize) {
    let factor = 255 / ((1u16 << bits) - 1) as u8;
    samples.iter_mut().for_each(|v| *v *= factor);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_samples_start_at_the_high_bits_and_rows_at_bytes() {
        assert_eq!(
            unpack(&[0b1010_0000, 0b0100_0000], 3, 2, 1),
            [1, 0, 1, 0, 1, 0]
        );
        assert_eq!(unpack(&[0x12, 0x30], 3, 1, 4), [1, 2, 3]);
        assert_eq!(unpack(&[0b0001_1011], 4, 1, 2), [0, 1, 2, 3]);
    }

    #[test]
    fn spread_gray_reaches_white() {
        let mut samples = [0, 1, 15];
        spread_gray(&mut samples, 4);
        assert_eq!(samples, [0, 17, 255]);
    }
}
