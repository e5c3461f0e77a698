//! Inner products, always computed the same way.
//!
//! faiss computes a similarity by different kernels depending on how many queries come together.
//! What is handed out comes from here, so that a vector has the same similarity to a query whatever
//! the query came with.

use pulp::{Arch, Simd, WithSimd};

struct Dot<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl WithSimd for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let (a, a_rest) = S::as_simd_f32s(self.a);
        let (b, b_rest) = S::as_simd_f32s(self.b);
        // Four sums, so that one addition need not wait for the other.
        let mut sums = [simd.splat_f32s(0.0); 4];
        let (a_fours, a_last) = a.as_chunks::<4>();
        let (b_fours, b_last) = b.as_chunks::<4>();
        for (a, b) in a_fours.iter().zip(b_fours) {
            for lane in 0..4 {
                sums[lane] = simd.mul_add_f32s(a[lane], b[lane], sums[lane]);
            }
        }
        for (&a, &b) in a_last.iter().zip(b_last) {
            sums[0] = simd.mul_add_f32s(a, b, sums[0]);
        }
        let left = simd.add_f32s(sums[0], sums[1]);
        let right = simd.add_f32s(sums[2], sums[3]);
        let mut sum = simd.reduce_sum_f32s(simd.add_f32s(left, right));
        for (a, b) in a_rest.iter().zip(b_rest) {
            sum += a * b;
        }
        sum
    }
}

/// The inner product of two vectors of one width.
pub(crate) fn dot(arch: Arch, a: &[f32], b: &[f32]) -> f32 {
    arch.dispatch(Dot { a, b })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_is_summed_whole() {
        for width in 0..200 {
            let a: Vec<f32> = (0..width).map(|i| (i % 7) as f32 - 3.0).collect();
            let b: Vec<f32> = (0..width).map(|i| (i % 5) as f32 - 2.0).collect();
            let plain: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(dot(Arch::new(), &a, &b), plain, "width {width}");
        }
    }
}
