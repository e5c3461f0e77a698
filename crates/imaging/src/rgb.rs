//! Plain 8-bit RGB pictures.

use crate::error::{ImagingError, Result, nonzero};

/// An 8-bit RGB picture, row by row, three bytes a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbPicture {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl RgbPicture {
    /// A picture of `width` x `height` pixels from `3 * width * height` bytes.
    ///
    /// # Errors
    /// [`ImagingError::ZeroSize`] or [`ImagingError::PixelCount`].
    pub fn new(width: usize, height: usize, data: Vec<u8>) -> Result<Self> {
        nonzero("picture", width, height)?;
        let needed = width.saturating_mul(height).saturating_mul(3);
        if data.len() != needed {
            return Err(ImagingError::PixelCount {
                width,
                height,
                needed,
                found: data.len(),
            });
        }
        Ok(Self {
            width,
            height,
            data,
        })
    }

    /// For callers that have computed `data` for exactly this size.
    pub(crate) fn trusted(width: usize, height: usize, data: Vec<u8>) -> Self {
        debug_assert_eq!(data.len(), 3 * width * height);
        Self {
            width,
            height,
            data,
        }
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The bytes, row by row, R G B.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The bytes, taken out.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }
}
