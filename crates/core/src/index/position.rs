//! Positions of vectors in an index.

/// Position of a vector that is not there.
pub const NONE: u32 = u32::MAX;
