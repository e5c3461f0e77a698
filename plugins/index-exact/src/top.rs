//! The best entries of rows that come piece by piece.

use pulp::{Arch, Simd, WithSimd};

/// Entries looked at together: a whole number of vector registers on every machine.
const CHUNK: usize = 64;

/// The best `k` entries of one row so far, best first; ties go to the one seen earlier.
pub(crate) struct Top<'a> {
    pub(crate) similarity: &'a mut [f32],
    pub(crate) position: &'a mut [u32],
}

impl Top<'_> {
    fn threshold(&self) -> f32 {
        self.similarity.last().copied().unwrap_or(f32::INFINITY)
    }

    /// Takes an entry that is above the threshold.
    fn insert(&mut self, similarity: f32, position: u32) {
        let last = self.similarity.len() - 1;
        let mut at = last;
        while at > 0 && similarity > self.similarity[at - 1] {
            self.similarity[at] = self.similarity[at - 1];
            self.position[at] = self.position[at - 1];
            at -= 1;
        }
        self.similarity[at] = similarity;
        self.position[at] = position;
    }

    /// Takes the entries of `chunk`, whose first has position `first`, that are good enough.
    fn take(&mut self, chunk: &[f32], first: u32) {
        let mut threshold = self.threshold();
        for (offset, &similarity) in (0u32..).zip(chunk) {
            if similarity > threshold {
                self.insert(similarity, first + offset);
                threshold = self.threshold();
            }
        }
    }
}

/// The largest value of a full chunk. NaN counts as nothing.
#[inline(always)]
fn largest(chunk: &[f32; CHUNK]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    for part in chunk.chunks_exact(16) {
        for (lane, &value) in lanes.iter_mut().zip(part) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    let mut half = 8;
    while half > 0 {
        for i in 0..half {
            let other = lanes[i + half];
            lanes[i] = if other > lanes[i] { other } else { lanes[i] };
        }
        half /= 2;
    }
    lanes[0]
}

/// Raises every entry of `best` to that of `row`, elementwise.
#[inline(always)]
pub(crate) fn raise(best: &mut [f32], row: &[f32]) {
    for (best, &value) in best.iter_mut().zip(row) {
        *best = if value > *best { value } else { *best };
    }
}

struct Scan<'a, 'b> {
    row: &'a [f32],
    first: u32,
    best_query: Option<&'a mut [f32]>,
    top: &'a mut Top<'b>,
}

impl WithSimd for Scan<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self {
            row,
            mut first,
            best_query,
            top,
        } = self;
        if let Some(best) = best_query {
            raise(best, row);
        }
        let (chunks, rest) = row.as_chunks::<CHUNK>();
        let mut threshold = top.threshold();
        for chunk in chunks {
            if largest(chunk) > threshold {
                top.take(chunk, first);
                threshold = top.threshold();
            }
            first += CHUNK as u32;
        }
        top.take(rest, first);
    }
}

/// Scans a piece of a row whose first entry has position `first`; `best_query` has one entry per
/// entry of the piece.
pub(crate) fn scan(
    arch: Arch,
    row: &[f32],
    first: u32,
    best_query: Option<&mut [f32]>,
    top: &mut Top<'_>,
) {
    arch.dispatch(Scan {
        row,
        first,
        best_query,
        top,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use rareclip_core::index::NONE;

    fn best(row: &[f32], k: usize) -> (Vec<f32>, Vec<u32>) {
        let (mut similarity, mut position) = (vec![f32::NEG_INFINITY; k], vec![NONE; k]);
        let mut top = Top {
            similarity: &mut similarity,
            position: &mut position,
        };
        scan(Arch::new(), row, 0, None, &mut top);
        (similarity, position)
    }

    #[test]
    fn ties_go_to_the_earlier_entry() {
        assert_eq!(
            best(&[1.0, 3.0, 3.0, 2.0, 3.0], 3),
            (vec![3.0; 3], vec![1, 2, 4])
        );
    }

    #[test]
    fn nan_is_never_chosen() {
        let mut row = vec![f32::NAN; 200];
        row[130] = 0.5;
        assert_eq!(
            best(&row, 2),
            (vec![0.5, f32::NEG_INFINITY], vec![130, NONE])
        );
    }

    #[test]
    fn long_rows_equal_a_stable_sort() {
        let row: Vec<f32> = (0..1000).map(|i| ((i * 7919) % 101) as f32).collect();
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        let expected: Vec<u32> = order[..20].iter().map(|&i| i as u32).collect();
        assert_eq!(best(&row, 20).1, expected);
    }
}
