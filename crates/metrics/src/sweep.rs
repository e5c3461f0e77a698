//! One pass over thresholds from high to low that yields every threshold metric.

use serde::{Deserialize, Serialize};

use super::AUPRO_FPR_LIMIT;

/// Largest possible absolute distance of each metric from its exact value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ErrorBounds {
    /// Of the AUROC.
    pub auroc: f64,
    /// Of the average precision.
    pub ap: f64,
    /// Of the best F1.
    pub f1_max: f64,
    /// Of the exact AUPRO.
    pub aupro: f64,
}

/// All samples that become positive at one threshold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// The threshold: the smallest score of the block.
    pub(super) threshold: f64,
    /// Whether all scores of the block are equal. Otherwise their order is unknown and they count
    /// as equal.
    pub(super) tied: bool,
    /// Normal samples.
    pub(super) normal: u64,
    /// Anomalous samples.
    pub(super) anomalous: u64,
    /// Sum over the anomalous pixels of 1 / (area of their region). Zero for image scores.
    pub(super) overlap: f64,
}

/// What [`Sweep::finish`] returns; `None` means n/a.
#[derive(Debug, Clone, Copy)]
pub(super) struct SweepResult {
    pub(super) auroc: Option<f64>,
    pub(super) ap: Option<f64>,
    pub(super) f1_max: Option<f64>,
    pub(super) f1_threshold: Option<f64>,
    pub(super) aupro: Option<f64>,
    /// How far off the metrics may be because of blocks whose scores are not equal.
    pub(super) bounds: ErrorBounds,
}

/// Sum with Neumaier's compensation: millions of tiny terms keep 1e-15 relative accuracy.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    pub(super) fn add(&mut self, term: f64) {
        let total = self.sum + term;
        self.lost += if self.sum.abs() >= term.abs() {
            (self.sum - total) + term
        } else {
            (term - total) + self.sum
        };
        self.sum = total;
    }

    pub(super) fn value(&self) -> f64 {
        self.sum + self.lost
    }
}

/// A metric with the smallest and largest value it could have if blocks were resolved.
#[derive(Debug, Clone, Copy, Default)]
struct Bracket {
    value: Sum,
    low: Sum,
    high: Sum,
}

impl Bracket {
    fn add(&mut self, tied: bool, value: f64, low: f64, high: f64) {
        self.value.add(value);
        self.low.add(if tied { value } else { low });
        self.high.add(if tied { value } else { high });
    }

    fn bound(&self) -> f64 {
        let value = self.value.value();
        (self.high.value() - value)
            .max(value - self.low.value())
            .max(0.0)
    }
}

/// Running state of the sweep. Feed blocks with descending thresholds.
#[derive(Debug, Clone)]
pub(super) struct Sweep {
    normal: u64,
    anomalous: u64,
    regions: u64,
    false_positives: u64,
    true_positives: u64,
    overlap: Sum,
    /// Twice the number of (normal, anomalous) pairs in the right order, ties counting one.
    /// Integers stay exact.
    doubled_wins: u128,
    unresolved_pairs: u128,
    ap: Bracket,
    best_f1: f64,
    best_threshold: f64,
    highest_f1: f64,
    pro: Bracket,
}

impl Sweep {
    /// `regions` is 0 for image scores.
    pub(super) fn new(normal: u64, anomalous: u64, regions: u64) -> Self {
        Self {
            normal,
            anomalous,
            regions,
            false_positives: 0,
            true_positives: 0,
            overlap: Sum::default(),
            doubled_wins: 0,
            unresolved_pairs: 0,
            ap: Bracket::default(),
            best_f1: f64::NEG_INFINITY,
            best_threshold: f64::NAN,
            highest_f1: 0.0,
            pro: Bracket::default(),
        }
    }

    pub(super) fn add(&mut self, block: Block) {
        self.add_pairs(block);
        self.add_precision(block);
        self.add_f1(block);
        self.add_overlap(block);
        self.false_positives += block.normal;
        self.true_positives += block.anomalous;
        self.overlap.add(block.overlap);
    }

    fn add_pairs(&mut self, block: Block) {
        let ties = u128::from(block.normal) * u128::from(block.anomalous);
        self.unresolved_pairs += if block.tied { 0 } else { ties };
        self.doubled_wins += 2 * u128::from(block.normal) * u128::from(self.true_positives) + ties;
    }

    /// Average precision: recall step times the precision after it.
    fn add_precision(&mut self, block: Block) {
        if block.anomalous == 0 {
            return;
        }
        let step = block.anomalous as f64 / self.anomalous as f64;
        let precision = |true_positives: u64, false_positives: u64| {
            true_positives as f64 / (true_positives + false_positives) as f64
        };
        let (tp, fp) = (self.true_positives, self.false_positives);
        let all = precision(tp + block.anomalous, fp + block.normal);
        // Worst order: all normal samples first. Precision is then concave in the number of
        // anomalous ones, so its mean is at least the mean of its ends.
        let worst = 0.5 * (precision(tp + 1, fp + block.normal) + all);
        let best = precision(tp + block.anomalous, fp);
        self.ap
            .add(block.tied, step * all, step * worst, step * best);
    }

    fn add_f1(&mut self, block: Block) {
        let f1 = |true_positives: u64, false_positives: u64| {
            2.0 * true_positives as f64 / (true_positives + false_positives + self.anomalous) as f64
        };
        let true_positives = self.true_positives + block.anomalous;
        let reached = f1(true_positives, self.false_positives + block.normal);
        if reached > self.best_f1 {
            self.best_f1 = reached;
            self.best_threshold = block.threshold;
        }
        let best = if block.tied {
            reached
        } else {
            f1(true_positives, self.false_positives)
        };
        self.highest_f1 = self.highest_f1.max(best);
    }

    /// AUPRO (Bergmann et al., MVTec AD, IJCV 2021, section 5.2): the area under PRO over the
    /// false-positive rate, up to the limit.
    ///
    /// PRO(t) = 1/K sum over the K regions C of |C above t| / |C|. An anomalous pixel adds 1 /
    /// (K |C|) when the threshold passes it, so no region is visited twice. Each block is one step
    /// along the curve:
    ///
    /// 1. Its false-positive rates, from `start` to `end`, the latter cut at the limit.
    /// 2. PRO at both ends; at a cut end by interpolation.
    /// 3. The trapezium between them.
    fn add_overlap(&mut self, block: Block) {
        if block.normal == 0 || self.regions == 0 {
            return;
        }
        // Step 1. Without normal pixels the step has no width, and PRO rises at the next one.
        let start = self.false_positives as f64 / self.normal as f64;
        if start >= AUPRO_FPR_LIMIT {
            return;
        }
        let end = (self.false_positives + block.normal) as f64 / self.normal as f64;
        let width = end.min(AUPRO_FPR_LIMIT) - start;
        // Step 2.
        let before = self.overlap.value() / self.regions as f64;
        let gain = block.overlap / self.regions as f64;
        let at_end = before + gain * width / (end - start);
        // Step 3. If the order inside the block is unknown, the curve may rise at its first or at
        // its last pixel.
        let value = width * 0.5 * (before + at_end);
        self.pro
            .add(block.tied, value, width * before, width * (before + gain));
    }

    pub(super) fn finish(self) -> SweepResult {
        let doubled_pairs = 2.0 * self.normal as f64 * self.anomalous as f64;
        let ranked = doubled_pairs > 0.0;
        let located = self.normal > 0 && self.regions > 0;
        SweepResult {
            auroc: ranked.then(|| self.doubled_wins as f64 / doubled_pairs),
            ap: ranked.then(|| self.ap.value.value()),
            f1_max: ranked.then_some(self.best_f1),
            f1_threshold: ranked.then_some(self.best_threshold),
            aupro: located.then(|| self.pro.value.value() / AUPRO_FPR_LIMIT),
            bounds: ErrorBounds {
                auroc: if ranked {
                    self.unresolved_pairs as f64 / doubled_pairs
                } else {
                    0.0
                },
                ap: if ranked { self.ap.bound() } else { 0.0 },
                f1_max: if ranked {
                    (self.highest_f1 - self.best_f1).max(0.0)
                } else {
                    0.0
                },
                aupro: self.pro.bound() / AUPRO_FPR_LIMIT,
            },
        }
    }
}
