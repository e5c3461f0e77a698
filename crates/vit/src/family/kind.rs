//! The families of vision transformers, and what no tensor says of them.

use crate::positions::PositionResize;

/// The families of vision transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// DINOv2: no norm before the blocks, LayerScale; the embedding is the class token after the
    /// final norm.
    DinoV2,
    /// CLIP's image tower: a norm before the blocks; the embedding is the projected class token.
    Clip,
}

impl Family {
    /// Attention heads at a width, where no config says: no tensor's shape tells.
    pub fn heads(self, width: usize) -> usize {
        match (self, width) {
            // ViT-H/14, ViT-g/14 and ViT-bigG/14 have wider heads than the rest.
            (Self::Clip, 1280 | 1408 | 1664) => 16,
            _ => (width / 64).max(1),
        }
    }

    /// Epsilon of the layer norms, where no config says otherwise.
    pub fn epsilon(self) -> f32 {
        match self {
            Self::DinoV2 => 1e-6,
            Self::Clip => 1e-5,
        }
    }

    /// How its position table is resized.
    pub fn position_resize(self) -> PositionResize {
        match self {
            Self::DinoV2 => PositionResize::Bicubic,
            Self::Clip => PositionResize::AntialiasedBicubic,
        }
    }
}
