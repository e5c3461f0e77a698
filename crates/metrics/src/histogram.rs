//! Pixel counts by score, in bins that keep the order of 32-bit floats.

use super::sweep::{Block, Sweep};

/// Leading bits of a score that choose its bin: sign, 8 of exponent, 11 of mantissa (bins 1/2048
/// wide, relatively).
const BITS: u32 = 20;

/// Bytes of a [`Histogram`].
pub(super) const HISTOGRAM_BYTES: usize = (1 << BITS) * size_of::<Bin>();

/// Normal and anomalous pixels per bin.
#[derive(Debug, Clone)]
pub(super) struct Histogram(Vec<Bin>);

#[derive(Debug, Clone, Copy)]
struct Bin {
    normal: u64,
    anomalous: u64,
    /// Sum over the anomalous pixels of 1 / (area of their region).
    overlap: f64,
    /// Smallest and largest score: equal ones mean real ties, which cost no accuracy.
    lowest: f32,
    highest: f32,
}

impl Histogram {
    pub(super) fn new() -> Self {
        let empty = Bin {
            normal: 0,
            anomalous: 0,
            overlap: 0.0,
            lowest: f32::INFINITY,
            highest: f32::NEG_INFINITY,
        };
        Self(vec![empty; 1 << BITS])
    }

    pub(super) fn add_normal(&mut self, score: f32) {
        self.bin(score).normal += 1;
    }

    /// `area` is that of the pixel's region, at least 1.
    pub(super) fn add_anomalous(&mut self, score: f32, area: u64) {
        let bin = self.bin(score);
        bin.anomalous += 1;
        bin.overlap += 1.0 / area as f64;
    }

    fn bin(&mut self, score: f32) -> &mut Bin {
        let bin = &mut self.0[index(score)];
        bin.lowest = bin.lowest.min(score);
        bin.highest = bin.highest.max(score);
        bin
    }

    pub(super) fn sweep(&self, regions: u64) -> Sweep {
        let total = |count: fn(&Bin) -> u64| self.0.iter().map(count).sum();
        let mut sweep = Sweep::new(total(|bin| bin.normal), total(|bin| bin.anomalous), regions);
        for bin in self
            .0
            .iter()
            .rev()
            .filter(|bin| bin.normal + bin.anomalous > 0)
        {
            sweep.add(Block {
                threshold: f64::from(bin.lowest),
                tied: bin.lowest == bin.highest,
                normal: bin.normal,
                anomalous: bin.anomalous,
                overlap: bin.overlap,
            });
        }
        sweep
    }
}

/// Flipping the sign bit of positive floats and all bits of negative ones makes their bits sort
/// like their values.
fn index(score: f32) -> usize {
    let bits = score.to_bits();
    let key = if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    };
    (key >> (32 - BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scores_a_thousandth_apart_are_in_different_bins() {
        for score in [1e-30_f32, 0.3, 1.0, 7e5] {
            assert!(index(score * (1.0 + 1.0 / 1024.0)) > index(score));
            assert!(index(-score) < index(score));
            assert!(index(score * (1.0 + 1.0 / 4096.0)) <= index(score) + 1);
        }
    }

    proptest! {
        #[test]
        fn bins_keep_the_order_of_scores(a in -1e6_f32..1e6, b in -1e6_f32..1e6) {
            prop_assert!(a < b || index(a) >= index(b));
        }
    }
}
