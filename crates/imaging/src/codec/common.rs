//! What several codecs use: errors, the orientation in EXIF data, packed samples.

use crate::{
    Orientation,
    error::{Format, ImagingError},
};

pub(in crate::codec) fn corrupt(format: Format, reason: impl ToString) -> ImagingError {
    ImagingError::Corrupt {
        format,
        reason: reason.to_string(),
    }
}

pub(in crate::codec) fn unsupported(format: Format, what: impl ToString) -> ImagingError {
    ImagingError::Unsupported {
        format,
        what: what.to_string(),
    }
}

pub(super) fn exif_orientation(exif: Option<&[u8]>) -> Orientation {
    exif.map(|chunk| chunk.strip_prefix(b"Exif\0\0").unwrap_or(chunk))
        .and_then(image::metadata::Orientation::from_exif_chunk)
        .map_or(Orientation::Upright, |o| {
            Orientation::from_exif(o.to_exif().into())
        })
}

/// Expands packed samples of 1, 2 or 4 bits, most significant first, rows padded to whole bytes.
pub(super) fn unpack(packed: &[u8], width: usize, height: usize, bits: usize) -> Vec<u8> {
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
pub(super) fn spread_gray(samples: &mut [u8], bits: usize) {
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
