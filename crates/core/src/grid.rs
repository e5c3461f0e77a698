//! The patch grid.

/// The patch grid of an image: `rows` x `columns` patches, counted row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub columns: usize,
}

impl Grid {
    /// Number of patches.
    pub fn patches(self) -> usize {
        self.rows * self.columns
    }
}
