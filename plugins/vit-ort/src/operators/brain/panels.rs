//! Weights as brain floats, and products with them.

use super::dots::{COLUMNS, Dots, Line, ROWS, Step};

/// The nearest brain float, ties to even, as its bits: the upper half of a 32-bit float.
#[inline(always)]
pub(super) fn brain(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    // Rounding could carry a NaN into another number.
    let kept = if value.is_nan() {
        bits | 0x0040_0000
    } else {
        rounded
    };
    (kept >> 16) as u16
}

/// A weight matrix `[outer, inner]`, in panels of [`COLUMNS`] outputs: for every two inputs a
/// [`Step`].
#[derive(Debug)]
pub(crate) struct Panels {
    steps: Vec<Step>,
    inner: usize,
    outer: usize,
}

impl Panels {
    /// Rounds a weight `[outer, inner]`, output `o` multiplied by `factors[o]` first.
    pub(super) fn new(weight: &[f32], inner: usize, factors: Option<&[f32]>) -> Self {
        let inner = inner.max(1);
        let outer = weight.len() / inner;
        let height = inner.div_ceil(2);
        let mut steps = vec![[Line([0; 32]); COLUMNS / 16]; height * outer.div_ceil(COLUMNS)];
        for (output, row) in weight.chunks_exact(inner).enumerate() {
            let factor = factors
                .and_then(|factors| factors.get(output))
                .copied()
                .unwrap_or(1.0);
            let panel = output / COLUMNS * height;
            let (line, at) = (output % COLUMNS / 16, output % 16 * 2);
            for (step, pair) in steps[panel..panel + height].iter_mut().zip(row.chunks(2)) {
                for (to, weight) in step[line].0[at..at + 2].iter_mut().zip(pair) {
                    *to = brain(weight * factor);
                }
            }
        }
        Self {
            steps,
            inner,
            outer,
        }
    }

    /// Length of a row that is multiplied.
    pub(super) fn inner(&self) -> usize {
        self.inner
    }

    /// Length of a row of products.
    pub(super) fn outer(&self) -> usize {
        self.outer
    }

    /// `x W^T` for `x` `[rows, inner]`, handed over in pieces: row, first column, sums of at most
    /// [`COLUMNS`] columns.
    ///
    /// A sum has the same bits whatever other rows are there.
    #[inline(always)]
    pub(super) fn multiply(
        &self,
        dots: Dots,
        x: &[u16],
        mut take: impl FnMut(usize, usize, &[f32]),
    ) {
        let rows = x.len() / self.inner;
        let row = |at: usize| &x[at * self.inner..(at + 1) * self.inner];
        for (panel, steps) in self.steps.chunks_exact(self.inner.div_ceil(2)).enumerate() {
            let column = panel * COLUMNS;
            let width = COLUMNS.min(self.outer - column);
            for first in (0..rows).step_by(ROWS) {
                // A tile at the end repeats the last row.
                let tile = std::array::from_fn(|at| row((first + at).min(rows - 1)));
                let sums = dots.tile(tile, steps);
                for (at, sums) in sums.iter().enumerate().take(rows - first) {
                    take(first + at, column, &sums[..width]);
                }
            }
        }
    }
}
