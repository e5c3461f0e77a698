//! What the header of an image file says, and how much memory its decoding takes.

use super::cost::Cost;
use super::detect::format_of;
use super::{bmp, jpeg, png, tiff, via_image};
use crate::{
    InputRecipe, Limits,
    error::{Format, Result},
};

/// Memory that every decoding takes besides pixels, in bytes: tables, rows, weights of the filter.
const FIXED: u64 = 4 << 20;

/// What the header of an image file says; see [`probe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader {
    /// The format that the first bytes announce.
    pub format: Format,
    /// Width in pixels as stored, at least 1.
    pub width: u32,
    /// Height in pixels as stored, at least 1.
    pub height: u32,
    file_bytes: u64,
    cost: Cost,
}

impl ImageHeader {
    /// Pixels of the picture, with sides rounded up to the blocks that decoders work in.
    fn pixels(&self) -> u64 {
        let side = |side: u32| u64::from(side).next_multiple_of(32);
        side(self.width) * side(self.height)
    }

    /// An upper bound on the memory in bytes that [`decode`](crate::decode) takes for this file,
    /// the picture included.
    pub fn decode_bytes(&self) -> u64 {
        let pixels = self.pixels().saturating_mul(self.cost.decoding);
        pixels.saturating_add(self.file_bytes).saturating_add(FIXED)
    }

    /// An upper bound on the memory in bytes that decoding, the tensor of `recipe` and an RGB copy
    /// take, one after the other.
    pub fn prepare_bytes(&self, recipe: &InputRecipe) -> u64 {
        let side = recipe.side as u64;
        let working = self.cost.picture + self.cost.converting;
        let longest = u64::from(self.width.max(self.height));
        // One pass of the filter changes one side, before the other pass changes the other.
        let half_resized = longest.saturating_mul(side).saturating_mul(4);
        let tensor = side.saturating_mul(side).saturating_mul(3 * 4 + 3);
        let working = self.pixels().saturating_mul(working);
        let converting = working
            .saturating_add(half_resized)
            .saturating_add(tensor)
            .saturating_add(self.file_bytes)
            .saturating_add(FIXED);
        self.decode_bytes().max(converting)
    }
}

/// Reads the header of an image file: its size in pixels, and what decoding it will take. No memory
/// for pixels is allocated.
///
/// # Errors
/// Those of [`decode`](crate::decode) that the header alone shows.
pub fn probe(bytes: &[u8], limits: &Limits) -> Result<ImageHeader> {
    let format = format_of(bytes, limits)?;
    let (width, height, cost) = match format {
        Format::Png => png::header(bytes, limits)?,
        Format::Jpeg => jpeg::header(bytes, limits)?,
        Format::Tiff => tiff::header(bytes, limits)?,
        Format::Bmp => bmp::probe(bytes, limits)?,
        Format::WebP => via_image::webp_header(bytes, limits)?,
    };
    Ok(ImageHeader {
        format,
        width,
        height,
        file_bytes: bytes.len() as u64,
        cost,
    })
}
