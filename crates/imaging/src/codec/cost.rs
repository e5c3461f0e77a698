//! Memory that decoding an image takes.

/// Memory in bytes per pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    /// At most while the file is decoded, the picture included.
    pub(super) decoding: u64,
    /// Of the decoded picture.
    pub(super) picture: u64,
    /// At most while the picture is converted and resized, besides the picture itself.
    pub(super) converting: u64,
}

impl Cost {
    /// Of a picture of `channels` values of `bits` bits per pixel, whose decoding takes `decoding`.
    pub(super) fn new(channels: u64, bits: u64, decoding: u64) -> Self {
        let picture = channels * bits.div_ceil(8);
        // Two copies in gray or RGB while the picture is turned upright, and three channels of
        // gray; premultiplied copies of the channels with alpha.
        let converting = match (channels, bits > 8) {
            (1 | 2, false) => 4,
            (1 | 2, true) => 6,
            (3, _) => 6,
            _ => 8,
        };
        Self {
            decoding,
            picture,
            converting,
        }
    }
}
