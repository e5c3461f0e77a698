//! Rows of numbers in half the memory.

use half::f16;
use half::slice::HalfFloatSliceExt;
use ndarray::{Array2, ArrayView2};
use rareclip_core::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};

/// The exponent that the largest number of a row is brought to: just below the largest half, so
/// that numbers down to 2^-29 of it keep eleven bits.
const TOP_EXPONENT: i32 = 14;

/// Rows of `width` numbers with eleven significant bits. Each row has its own power of two, so that
/// features of any scale fit, and numbers that are halves already are kept exactly.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HalfRows {
    width: usize,
    values: Vec<f16>,
    scales: Vec<f32>,
}

impl HalfRows {
    pub(crate) fn with_capacity(width: usize, rows: usize) -> Self {
        Self {
            width,
            values: Vec::with_capacity(width * rows),
            scales: Vec::with_capacity(rows),
        }
    }

    /// The rows of `[rows, width]`; `None` when one holds NaN or infinity.
    pub(crate) fn of(rows: ArrayView2<'_, f32>) -> Option<Self> {
        let mut all = Self::with_capacity(rows.ncols(), rows.nrows());
        let mut scaled = vec![0.0; rows.ncols()];
        for row in rows.rows() {
            if !row.iter().all(|value| value.is_finite()) {
                return None;
            }
            let largest = row
                .iter()
                .fold(0.0f32, |largest, value| largest.max(value.abs()));
            let scale = scale_for(largest);
            for (scaled, value) in scaled.iter_mut().zip(row) {
                *scaled = value / scale;
            }
            let from = all.values.len();
            all.values.resize(from + all.width, f16::ZERO);
            all.values[from..].convert_from_f32_slice(&scaled);
            all.scales.push(scale);
        }
        Some(all)
    }

    pub(crate) fn len(&self) -> usize {
        self.scales.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.values.len() * size_of::<f16>() + self.scales.len() * size_of::<f32>()
    }

    fn halves(&self, at: usize) -> &[f16] {
        &self.values[at * self.width..(at + 1) * self.width]
    }

    /// Takes over row `at` of another, to the bit.
    pub(crate) fn copy(&mut self, other: &Self, at: usize) {
        self.values.extend_from_slice(other.halves(at));
        self.scales.push(other.scales[at]);
    }

    /// Row `at`, in full precision, into `out` `[width]`.
    pub(crate) fn read(&self, at: usize, out: &mut [f32]) {
        self.halves(at).convert_to_f32_slice(out);
        let scale = self.scales[at];
        out.iter_mut().for_each(|value| *value *= scale);
    }

    /// All rows `[rows, width]` in full precision.
    pub(crate) fn widened(&self) -> Array2<f32> {
        let mut all = Array2::zeros((self.len(), self.width));
        for (at, mut row) in all.rows_mut().into_iter().enumerate() {
            if let Some(row) = row.as_slice_mut() {
                self.read(at, row);
            }
        }
        all
    }

    /// Writes the rows under `name`, two halves to a word.
    pub(crate) fn save(&self, writer: &mut SnapshotWriter<'_>, name: &str) {
        let word = |pair: &[f16]| {
            let high = pair.get(1).map_or(0, |half| u32::from(half.to_bits()));
            u32::from(pair[0].to_bits()) | high << 16
        };
        let words: Vec<u32> = self.values.chunks(2).map(word).collect();
        writer.ints(&format!("{name}.halves"), &[words.len()], words);
        writer.floats(
            &format!("{name}.scales"),
            &[self.len()],
            self.scales.clone(),
        );
    }

    /// Reads the rows of `width` that [`save`](Self::save) wrote.
    pub(crate) fn load(
        reader: &SnapshotReader<'_>,
        name: &str,
        width: usize,
    ) -> Result<Self, SnapshotError> {
        let name = |part: &str| format!("{name}.{part}");
        let (_, scales) = reader.floats(&name("scales"))?;
        let (_, words) = reader.ints(&name("halves"))?;
        let wanted = scales.len() * width;
        if scales.is_empty() || words.len() != wanted.div_ceil(2) {
            let (rows, words) = (scales.len(), words.len());
            return Err(SnapshotError::Entry {
                name: name("halves"),
                problem: format!("has {words} words, which are not {rows} rows of {width} halves"),
            });
        }
        let halves = |word: &u32| {
            [
                f16::from_bits(*word as u16),
                f16::from_bits((word >> 16) as u16),
            ]
        };
        let mut values: Vec<f16> = words.iter().flat_map(halves).collect();
        values.truncate(wanted);
        let finite = values.iter().all(|value| value.is_finite());
        if !finite || !scales.iter().all(|scale| scale.is_finite()) {
            return Err(SnapshotError::Entry {
                name: name("halves"),
                problem: "holds NaN or infinite values".into(),
            });
        }
        Ok(Self {
            width,
            values,
            scales,
        })
    }
}

/// The power of two that brings `largest` up or down to [`TOP_EXPONENT`]; 1 where nothing is to be
/// gained.
fn scale_for(largest: f32) -> f32 {
    let exponent = (largest.to_bits() >> 23) as i32 - 127;
    if largest == 0.0 {
        return 1.0;
    }
    // By way of f64: the smallest scales are subnormal.
    2f64.powi(exponent - TOP_EXPONENT) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    #[test]
    fn halves_are_kept_exactly_at_any_scale() {
        for scale in [
            1.0f32,
            f32::from_bits(1 << 19),
            2f32.powi(110),
            2f32.powi(-100),
        ] {
            let rows = array![[1.0f32, -0.5, 0.25], [0.0, 3.0, 1024.0]] * scale;
            assert_eq!(
                HalfRows::of(rows.view()).unwrap().widened(),
                rows,
                "{scale}"
            );
        }
    }

    #[test]
    fn nan_and_infinity_are_refused() {
        assert!(HalfRows::of(array![[1.0, f32::NAN]].view()).is_none());
        assert!(HalfRows::of(array![[f32::INFINITY, 1.0]].view()).is_none());
    }

    #[test]
    fn a_row_of_zeros_stays_one() {
        let rows = Array2::zeros((2, 3));
        assert_eq!(HalfRows::of(rows.view()).unwrap().widened(), rows);
    }

    proptest! {
        #[test]
        fn a_row_keeps_eleven_bits(values in prop::collection::vec(-1e30f32..1e30, 1..40)) {
            let rows = Array2::from_shape_vec((1, values.len()), values.clone()).unwrap();
            let kept = HalfRows::of(rows.view()).unwrap().widened();
            let largest = values.iter().fold(0.0f32, |a, b| a.max(b.abs()));
            for (kept, value) in kept.iter().zip(values) {
                // Half a unit in the eleventh bit, or of the smallest step.
                let step = value.abs() / 2048.0 + largest * 2f32.powi(-38);
                prop_assert!((kept - value).abs() <= step, "{kept} for {value}");
            }
        }
    }
}
