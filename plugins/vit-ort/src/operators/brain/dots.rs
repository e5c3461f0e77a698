//! Products of brain floats with the processor's own instructions: all of this crate that is not
//! safe code.

#![allow(
    unsafe_code,
    reason = "intrinsics of the processor, behind a check that it has them"
)]

/// Rows of one tile.
pub(super) const ROWS: usize = 6;
/// Columns of one tile: with [`ROWS`], sums for 24 of the 32 vector registers.
pub(super) const COLUMNS: usize = 64;
/// Sums of one tile.
pub(super) type Sums = [[f32; COLUMNS]; ROWS];

/// A cache line and a vector register: two successive inputs of 16 outputs, output by output.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u16; 32]);

/// Two successive inputs of [`COLUMNS`] outputs.
pub(super) type Step = [Line; COLUMNS / 16];

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::Dots;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m512, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_set1_epi32, _mm512_setzero_ps,
    };
    use std::mem::transmute;

    use super::{COLUMNS, Line, ROWS, Step, Sums};

    /// Proof that this processor multiplies brain floats.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Dots(());

    impl Dots {
        /// `None` where the processor lacks one of the instruction sets.
        pub(crate) fn detect() -> Option<Self> {
            Self::lacking().is_empty().then_some(Self(()))
        }

        /// The instruction sets that this processor lacks.
        pub(crate) fn lacking() -> Vec<&'static str> {
            let sets = [
                ("avx512f", is_x86_feature_detected!("avx512f")),
                ("avx512bw", is_x86_feature_detected!("avx512bw")),
                ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
            ];
            let missing = sets.into_iter().filter(|(_, there)| !there);
            missing.map(|(name, _)| name).collect()
        }

        /// Products of six rows of equal length with a panel of as many inputs, an odd last one
        /// being filled up with zeros.
        pub(in super::super) fn tile(self, rows: [&[u16]; ROWS], steps: &[Step]) -> Sums {
            // SAFETY: a `Dots` is made only by `detect`, after it has found every instruction set
            // that `tile` is compiled for.
            unsafe { tile(rows, steps) }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn tile(rows: [&[u16]; ROWS], steps: &[Step]) -> Sums {
        let mut sums = [[_mm512_setzero_ps(); COLUMNS / 16]; ROWS];
        let pairs = rows.map(|row| row.as_chunks::<2>().0);
        let [first, second, third, fourth, fifth, sixth] = pairs;
        // Slices zipped, not indexed: the loop has no bounds checks.
        let inputs = first.iter().zip(second).zip(third);
        let inputs = inputs.zip(fourth).zip(fifth).zip(sixth);
        for (step, (((((a, b), c), d), e), f)) in steps.iter().zip(inputs) {
            add(&mut sums, step, [a, b, c, d, e, f]);
        }
        let last = rows.map(|row| row.as_chunks::<2>().1.first());
        if let ([Some(a), Some(b), Some(c), Some(d), Some(e), Some(f)], Some(step)) =
            (last, steps.last())
        {
            let [a, b, c, d, e, f] = [a, b, c, d, e, f].map(|last| [*last, 0]);
            add(&mut sums, step, [&a, &b, &c, &d, &e, &f]);
        }
        let mut values = [[0.0; COLUMNS]; ROWS];
        for (values, sums) in values.iter_mut().zip(sums) {
            for (values, sum) in values.as_chunks_mut().0.iter_mut().zip(sums) {
                *values = floats(sum);
            }
        }
        values
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn add(sums: &mut [[__m512; COLUMNS / 16]; ROWS], step: &Step, inputs: [&[u16; 2]; ROWS]) {
        let [first, second, third, fourth] = *step;
        let weights = [brains(first), brains(second), brains(third), brains(fourth)];
        for (sums, [low, high]) in sums.iter_mut().zip(inputs) {
            let both = _mm512_set1_epi32((u32::from(*low) | u32::from(*high) << 16).cast_signed());
            // SAFETY: both types are 64 bytes of plain data.
            let both = unsafe { transmute::<__m512i, __m512bh>(both) };
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = _mm512_dpbf16_ps(*sum, both, weights);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn brains(line: Line) -> __m512bh {
        // SAFETY: both types are 64 bytes of plain data.
        unsafe { transmute(line.0) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn floats(sums: __m512) -> [f32; 16] {
        // SAFETY: both types are 64 bytes of plain data.
        unsafe { transmute(sums) }
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use other::Dots;

#[cfg(not(target_arch = "x86_64"))]
mod other {
    use std::convert::Infallible;

    use super::{ROWS, Step, Sums};

    /// There are no such instructions of ours on this architecture, and so no value of this type.
    /// Behind a reference, so that code that has one is not reported as never run.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Dots(&'static Infallible);

    impl Dots {
        pub(crate) fn detect() -> Option<Self> {
            let found: Option<&Infallible> = None;
            found.map(Self)
        }

        pub(in super::super) fn tile(self, _: [&[u16]; ROWS], _: &[Step]) -> Sums {
            match *self.0 {}
        }
    }
}
