//! The order of conversion and resizing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// In which order a picture is converted and resized. Both give the same for upright 8-bit RGB and
/// gray files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Convert to RGB, then resize: 16-bit values are scaled to 8 bits, the EXIF orientation is
    /// honoured, alpha is dropped without a background.
    #[default]
    Product,
    /// As the published code with Pillow: resize in the file's own mode, then convert to RGB.
    /// Palette and 1-bit files resize by nearest neighbour, colours are premultiplied by alpha
    /// while resizing, 16-bit gray is clipped at 255, the EXIF orientation is ignored.
    Reference,
}
