//! The format of an image file, from its first bytes.

use crate::{
    Limits,
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

/// The format of a file whose size is allowed.
pub(super) fn format_of(bytes: &[u8], limits: &Limits) -> Result<Format> {
    if bytes.is_empty() {
        return Err(ImagingError::Empty);
    }
    limits.check_file(bytes.len() as u64)?;
    detect_format(bytes).ok_or_else(|| ImagingError::UnknownFormat {
        start: bytes[..bytes.len().min(8)].to_vec(),
    })
}
