//! Bounds on what a file may claim.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{ImagingError, Result};

/// Bounds on an image file, checked on its header before memory for pixels is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest width in pixels. Default 16384.
    pub max_width: u32,
    /// Largest height in pixels. Default 16384.
    pub max_height: u32,
    /// Largest width times height. Default 100 000 000.
    pub max_pixels: u64,
    /// Largest memory in bytes that decoding may take for pixels and decoder buffers. Default 1
    /// GiB.
    pub max_decoder_bytes: u64,
    /// Largest file in bytes. Default 256 MiB.
    pub max_file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_width: 16_384,
            max_height: 16_384,
            max_pixels: 100_000_000,
            max_decoder_bytes: 1 << 30,
            max_file_bytes: 256 << 20,
        }
    }
}

impl Limits {
    /// Checks the size of a file in bytes.
    ///
    /// # Errors
    /// [`ImagingError::TooLarge`].
    pub fn check_file(&self, bytes: u64) -> Result<()> {
        within("file size in bytes", bytes, self.max_file_bytes)
    }

    /// Checks a picture of `width` x `height` pixels whose decoding takes `bytes_per_pixel`.
    ///
    /// # Errors
    /// [`ImagingError::ZeroSize`] or [`ImagingError::TooLarge`].
    pub fn check_picture(&self, width: u32, height: u32, bytes_per_pixel: u64) -> Result<()> {
        if width == 0 || height == 0 {
            return Err(ImagingError::ZeroSize {
                what: "picture",
                width: width as usize,
                height: height as usize,
            });
        }
        within(
            "picture width in pixels",
            width.into(),
            self.max_width.into(),
        )?;
        within(
            "picture height in pixels",
            height.into(),
            self.max_height.into(),
        )?;
        let pixels = u64::from(width) * u64::from(height);
        within("number of pixels", pixels, self.max_pixels)?;
        let bytes = pixels.saturating_mul(bytes_per_pixel);
        within(
            "memory for decoding in bytes",
            bytes,
            self.max_decoder_bytes,
        )
    }
}

fn within(what: &'static str, found: u64, allowed: u64) -> Result<()> {
    if found > allowed {
        return Err(ImagingError::TooLarge {
            what,
            found,
            allowed,
        });
    }
    Ok(())
}
