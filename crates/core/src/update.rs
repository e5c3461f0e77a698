//! Which scored images a bank remembers.
//!
//! The published online detectors remember every image, defects included; refinements of them leave
//! some out. The policy is a choice of the bank (`update = { type = "quantile" }`); the scorer's
//! own memory is not touched by it.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};

/// Which scored images the bank remembers. Known normals are always remembered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum UpdatePolicy {
    /// Every image, as in RareCLIP.
    #[default]
    Always,
    /// Images whose score is not above a quantile of the latest scores: what looks anomalous is
    /// kept out of the memory.
    Quantile {
        /// Share of the latest scores that may be remembered.
        #[serde(default = "default_quantile")]
        #[schemars(range(min = 0.01, max = 1.0))]
        quantile: f64,
        /// How many of the latest scores the quantile is taken of.
        #[serde(default = "default_window")]
        #[schemars(range(min = 2, max = 100_000))]
        window: usize,
        /// First images, all remembered: while the memory is small, scores say little.
        #[serde(default = "default_warm_up")]
        #[schemars(range(min = 1, max = 10_000))]
        warm_up: usize,
    },
    /// Images that the text side takes for normal. Without a prompt head every image is remembered.
    PriorAgreement {
        /// Largest prior probability that the image is abnormal, 0 to 1.
        #[serde(default = "default_probability")]
        #[schemars(range(min = 0.0, max = 1.0))]
        probability: f32,
    },
    /// The first of every so many images.
    EveryNth {
        /// One of how many.
        #[schemars(range(min = 1, max = 1_000_000_000))]
        n: u64,
    },
    /// The first images of the stream, and then none.
    Budget {
        /// How many.
        #[schemars(range(min = 1, max = 1_000_000_000_000_u64))]
        images: u64,
    },
}

fn default_quantile() -> f64 {
    0.8
}
fn default_window() -> usize {
    200
}
fn default_warm_up() -> usize {
    10
}
fn default_probability() -> f32 {
    0.5
}

/// An [`UpdatePolicy`] at work in one stream.
#[derive(Debug, Clone)]
pub(crate) struct UpdateGate {
    policy: UpdatePolicy,
    /// Images that asked to be remembered.
    asked: u64,
    scores: VecDeque<f32>,
}

impl UpdateGate {
    pub(crate) fn new(policy: UpdatePolicy) -> Self {
        Self {
            policy,
            asked: 0,
            scores: VecDeque::new(),
        }
    }

    /// Whether the bank remembers an image of this raw score and prior probability.
    pub(crate) fn admits(&self, score: f32, prior: Option<f32>) -> bool {
        match self.policy {
            UpdatePolicy::Always => true,
            UpdatePolicy::Quantile {
                quantile, warm_up, ..
            } => {
                let asked = usize::try_from(self.asked).unwrap_or(usize::MAX);
                asked < warm_up.max(1) || self.quantile(quantile).is_none_or(|limit| score <= limit)
            }
            UpdatePolicy::PriorAgreement { probability } => {
                prior.is_none_or(|prior| prior <= probability)
            }
            UpdatePolicy::EveryNth { n } => self.asked.is_multiple_of(n.max(1)),
            UpdatePolicy::Budget { images } => self.asked < images,
        }
    }

    /// Counts an image that asked, remembered or not.
    pub(crate) fn observe(&mut self, score: f32) {
        self.asked += 1;
        if let UpdatePolicy::Quantile { window, .. } = self.policy {
            self.scores.push_back(score);
            while self.scores.len() > window.max(1) {
                self.scores.pop_front();
            }
        }
    }

    /// The smallest latest score that at least `share` of them do not exceed.
    fn quantile(&self, share: f64) -> Option<f32> {
        let mut sorted: Vec<f32> = self.scores.iter().copied().collect();
        sorted.sort_by(f32::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied()
    }

    pub(crate) fn save(&self, writer: &mut SnapshotWriter<'_>) {
        writer.value("asked", &self.asked);
        writer.value("scores", &self.scores);
    }

    pub(crate) fn load(&mut self, reader: &SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.asked = reader.value("asked")?;
        self.scores = reader.value("scores")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{UpdateGate, UpdatePolicy};

    fn admitted(policy: UpdatePolicy, scores: &[f32], prior: Option<f32>) -> Vec<bool> {
        let mut gate = UpdateGate::new(policy);
        scores
            .iter()
            .map(|&score| {
                let admitted = gate.admits(score, prior);
                gate.observe(score);
                admitted
            })
            .collect()
    }

    #[test]
    fn every_nth_takes_the_first_of_each_run() {
        let policy = UpdatePolicy::EveryNth { n: 3 };
        assert_eq!(
            admitted(policy, &[0.0; 7], None),
            [true, false, false, true, false, false, true]
        );
    }

    #[test]
    fn a_budget_is_spent_once() {
        let policy = UpdatePolicy::Budget { images: 2 };
        assert_eq!(
            admitted(policy, &[0.0; 4], None),
            [true, true, false, false]
        );
    }

    #[test]
    fn the_quantile_gate_keeps_out_what_scores_higher_than_most() {
        let policy = UpdatePolicy::Quantile {
            quantile: 0.75,
            window: 4,
            warm_up: 4,
        };
        let scores = [1.0, 2.0, 3.0, 4.0, 3.5, 3.0, 9.0, 5.0, 4.0];
        assert_eq!(
            admitted(policy, &scores, None),
            [true, true, true, true, false, true, false, false, true]
        );
    }

    #[test]
    fn prior_agreement_follows_the_text_side_and_needs_one() {
        let policy = UpdatePolicy::PriorAgreement { probability: 0.5 };
        assert_eq!(admitted(policy.clone(), &[0.0], Some(0.6)), [false]);
        assert_eq!(admitted(policy.clone(), &[0.0], Some(0.5)), [true]);
        assert_eq!(admitted(policy, &[0.0], None), [true]);
    }
}
