//! Scores to p-values and verdicts: a threshold by the false alarms one can bear.
//!
//! The p-value of a score is the conformal one, (1 + how many of the n reference scores are at
//! least as large) / (1 + n): were the image exchangeable with the reference, a p-value of at most
//! `rate` would come up in at most that share of images.

mod drift;
mod state;

pub use drift::{Drift, RECENT};
pub use state::{CalibrationState, ReferenceKind};

use std::collections::VecDeque;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, check_value, schema_of};
use crate::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use crate::{Error, Result};

/// How a stream turns scores into verdicts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum CalibrationConfig {
    /// Against the scores this stream has seen: the rarest are anomalous. Needs no normals, assumes
    /// that defects are rare.
    Quantile {
        /// Share of the scores seen that count as normal.
        #[serde(default = "default_quantile")]
        #[schemars(range(min = 0.0, max = 0.9999))]
        quantile: f64,
        /// Images scored before the first verdict.
        #[serde(default = "default_warm_up")]
        #[schemars(range(min = 1, max = 100_000))]
        warm_up: usize,
        /// First scores of a stream that are left out as soon as there are enough others: they were
        /// made when the memory held next to nothing to compare with.
        #[serde(default = "default_burn_in")]
        #[schemars(range(min = 0, max = 10_000))]
        burn_in: usize,
        /// Scores remembered, the oldest forgotten first.
        #[serde(default = "default_history")]
        #[schemars(range(min = 20, max = 1_000_000))]
        history: usize,
    },
    /// Against the scores of known normals (`rareclip calibrate`): at most this share of normal
    /// images raises an alarm.
    FalseAlarmRate {
        /// Share of normal images that may be called anomalous.
        #[serde(default = "default_rate")]
        #[schemars(range(min = 0.00001, max = 0.5))]
        rate: f64,
    },
    /// A threshold set by hand, in units of the score.
    Fixed {
        /// Scores above it are anomalous.
        threshold: f32,
    },
}

fn default_quantile() -> f64 {
    0.95
}
fn default_warm_up() -> usize {
    20
}
fn default_burn_in() -> usize {
    4
}
fn default_history() -> usize {
    10_000
}
fn default_rate() -> f64 {
    0.01
}

impl Default for CalibrationConfig {
    fn default() -> Self {
        Self::Quantile {
            quantile: default_quantile(),
            warm_up: default_warm_up(),
            burn_in: default_burn_in(),
            history: default_history(),
        }
    }
}

impl CalibrationConfig {
    /// Checks every number against its range.
    ///
    /// # Errors
    /// [`ConfigError`] with every number that is out of range, or is none.
    pub fn check(&self) -> Result<(), ConfigError> {
        // JSON has no NaN and no infinities: they become null.
        let value = serde_json::to_value(self).unwrap_or_default();
        check_value(&schema_of::<Self>(), &value, "calibration")
    }
}

/// What is said of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Not above the threshold.
    Normal,
    /// Above the threshold.
    Anomalous,
    /// There is no threshold yet.
    Uncalibrated,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Anomalous => "anomalous",
            Self::Uncalibrated => "uncalibrated",
        })
    }
}

/// A verdict and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Share of reference scores at least as large, in (0, 1]; `None` without any reference.
    pub p_value: Option<f64>,
    /// Scores above it are anomalous; `None` while uncalibrated.
    pub threshold: Option<f32>,
    /// What the threshold rests on.
    pub calibration: CalibrationState,
}

/// One score and the median of its map; the median says what most of that image looked like.
pub type Reference = (f32, f32);

/// The calibration of one stream. Thresholds change without re-scoring: only scores are kept,
/// judged anew on demand.
#[derive(Debug, Clone)]
pub struct Calibrator {
    policy: CalibrationConfig,
    seen: VecDeque<Reference>,
    normals: Vec<Reference>,
    scored: u64,
}

impl Calibrator {
    /// A calibrator that has seen nothing.
    pub fn new(policy: CalibrationConfig) -> Self {
        Self {
            policy,
            seen: VecDeque::new(),
            normals: Vec::new(),
            scored: 0,
        }
    }

    /// The policy in force.
    pub fn policy(&self) -> &CalibrationConfig {
        &self.policy
    }

    /// Changes the policy; what was seen stays.
    pub fn set_policy(&mut self, policy: CalibrationConfig) {
        self.policy = policy;
        self.trim();
    }

    /// Replaces the scores of known normals, each with the median of its map.
    ///
    /// # Errors
    /// [`Error::Calibration`] on a value that is not finite.
    pub fn set_normals(&mut self, normals: Vec<Reference>) -> Result<()> {
        if normals
            .iter()
            .any(|(score, floor)| !score.is_finite() || !floor.is_finite())
        {
            return Err(Error::Calibration(
                "a reference score is NaN or infinite".into(),
            ));
        }
        self.normals = normals;
        Ok(())
    }

    /// Scores of known normals.
    pub fn normals(&self) -> &[Reference] {
        &self.normals
    }

    /// Remembers a score that was judged.
    pub fn observe(&mut self, score: f32, map_median: f32) {
        self.scored += 1;
        self.seen.push_back((score, map_median));
        self.trim();
    }

    fn trim(&mut self) {
        if let CalibrationConfig::Quantile { history, .. } = self.policy {
            while self.seen.len() > history {
                self.seen.pop_front();
            }
        }
    }

    /// Judges a score by the policy in force. Does not remember it.
    pub fn judge(&self, score: f32) -> Judgement {
        let (state, threshold) = self.state();
        let p_value = self.p_value(score);
        let verdict = match threshold {
            None => Verdict::Uncalibrated,
            Some(threshold) if score > threshold => Verdict::Anomalous,
            Some(_) => Verdict::Normal,
        };
        Judgement {
            verdict,
            p_value,
            threshold,
            calibration: state,
        }
    }

    /// The threshold in force, if the stream is calibrated.
    pub fn threshold(&self) -> Option<f32> {
        self.state().1
    }

    /// The fixed scale of heatmaps while this calibration holds, `(low, high)`: from what most of
    /// an image looks like to as far beyond the threshold, so that the threshold is the middle
    /// colour. `None` while uncalibrated.
    pub fn map_scale(&self) -> Option<(f32, f32)> {
        let threshold = self.threshold()?;
        let mut floors: Vec<f32> = self.reference().map(|(_, floor)| floor).collect();
        if floors.is_empty() {
            return (threshold > 0.0).then_some((0.0, 2.0 * threshold));
        }
        let middle = floors.len() / 2;
        let floor = *floors.select_nth_unstable_by(middle, f32::total_cmp).1;
        (threshold > floor).then_some((floor, 2.0 * threshold - floor))
    }

    fn reference(&self) -> Box<dyn Iterator<Item = Reference> + '_> {
        match self.policy {
            CalibrationConfig::FalseAlarmRate { .. } => Box::new(self.normals.iter().copied()),
            CalibrationConfig::Quantile {
                quantile, burn_in, ..
            } => {
                let enough = needed_for(1.0 - quantile);
                let forgotten = usize::try_from(self.scored)
                    .unwrap_or(usize::MAX)
                    .saturating_sub(self.seen.len());
                let early = burn_in.saturating_sub(forgotten);
                let spare = self.seen.len().saturating_sub(enough);
                Box::new(self.seen.iter().copied().skip(early.min(spare)))
            }
            CalibrationConfig::Fixed { .. } if !self.normals.is_empty() => {
                Box::new(self.normals.iter().copied())
            }
            CalibrationConfig::Fixed { .. } => Box::new(self.seen.iter().copied()),
        }
    }

    fn p_value(&self, score: f32) -> Option<f64> {
        let (count, above) = self
            .reference()
            .fold((0usize, 0usize), |(count, above), (reference, _)| {
                (count + 1, above + usize::from(reference >= score))
            });
        (count > 0).then(|| (1 + above) as f64 / (1 + count) as f64)
    }

    /// What the threshold rests on, and the threshold in force, if the stream is calibrated.
    pub fn state(&self) -> (CalibrationState, Option<f32>) {
        match self.policy {
            CalibrationConfig::Fixed { threshold } => (CalibrationState::Fixed, Some(threshold)),
            CalibrationConfig::Quantile {
                quantile, warm_up, ..
            } => {
                let needed = warm_up.max(needed_for(1.0 - quantile));
                let have = usize::try_from(self.scored)
                    .unwrap_or(usize::MAX)
                    .min(self.seen.len());
                let reference = ReferenceKind::Images;
                if have < needed {
                    return (
                        CalibrationState::WarmingUp {
                            have,
                            needed,
                            reference,
                        },
                        None,
                    );
                }
                let state = CalibrationState::Quantile {
                    quantile,
                    scores: have,
                };
                (state, self.order_statistic(1.0 - quantile))
            }
            CalibrationConfig::FalseAlarmRate { rate } => {
                let (have, needed) = (self.normals.len(), needed_for(rate));
                let reference = ReferenceKind::KnownNormals;
                if have < needed {
                    return (
                        CalibrationState::WarmingUp {
                            have,
                            needed,
                            reference,
                        },
                        None,
                    );
                }
                let state = CalibrationState::FalseAlarmRate {
                    rate,
                    normals: have,
                };
                (state, self.order_statistic(rate))
            }
        }
    }

    /// The reference score that a score must exceed for its p-value to be at most `rate`.
    fn order_statistic(&self, rate: f64) -> Option<f32> {
        let mut scores: Vec<f32> = self.reference().map(|(score, _)| score).collect();
        // p <= rate means at most rank - 1 references at or above the score, so it must exceed the
        // rank-th largest.
        let rank = allowed_rank(rate, scores.len());
        if rank == 0 || rank > scores.len() {
            return None;
        }
        let (_, value, _) = scores.select_nth_unstable_by(rank - 1, |a, b| b.total_cmp(a));
        Some(*value)
    }

    /// Writes the state.
    pub(crate) fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        let flat = |pairs: &mut dyn Iterator<Item = &Reference>| -> Vec<f32> {
            pairs.flat_map(|(score, floor)| [*score, *floor]).collect()
        };
        writer.value("policy", &self.policy);
        writer.value("scored", &self.scored);
        writer.floats("seen", &[self.seen.len(), 2], flat(&mut self.seen.iter()));
        writer.floats(
            "normals",
            &[self.normals.len(), 2],
            flat(&mut self.normals.iter()),
        );
    }

    /// Restores the memory of a saved calibrator under the present policy.
    pub(crate) fn load(&mut self, reader: &SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.scored = reader.value("scored")?;
        self.seen = pairs(reader, "seen")?.into();
        self.normals = Self::saved_normals(reader)?;
        self.trim();
        Ok(())
    }

    /// The known normals of a saved calibrator, read in its scope `calibration`.
    ///
    /// # Errors
    /// [`SnapshotError`] when the state holds none.
    pub fn saved_normals(reader: &SnapshotReader<'_>) -> Result<Vec<Reference>, SnapshotError> {
        pairs(reader, "normals")
    }
}

fn pairs(reader: &SnapshotReader<'_>, name: &str) -> Result<Vec<Reference>, SnapshotError> {
    let (_, flat) = reader.floats(name)?;
    Ok(flat
        .chunks_exact(2)
        .map(|pair| (pair[0], pair[1]))
        .collect())
}

/// What the rounding of rates such as 1 - 0.95 is forgiven.
const ROUNDING: f64 = 1e-9;

/// References needed before a p-value can be as small as `rate`: the fewest with an
/// [`allowed_rank`] of 1.
fn needed_for(rate: f64) -> usize {
    (((1.0 - ROUNDING) / rate).ceil() as usize).saturating_sub(1)
}

/// floor(rate * (n + 1)).
fn allowed_rank(rate: f64, references: usize) -> usize {
    (rate * (references + 1) as f64 + ROUNDING).floor() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantile(quantile: f64, warm_up: usize) -> Calibrator {
        Calibrator::new(CalibrationConfig::Quantile {
            quantile,
            warm_up,
            burn_in: 0,
            history: 1000,
        })
    }

    #[test]
    fn the_first_scores_are_left_out_once_there_are_enough_others() {
        let mut calibrator = Calibrator::new(CalibrationConfig::Quantile {
            quantile: 0.95,
            warm_up: 20,
            burn_in: 4,
            history: 1000,
        });
        // The second image meets a memory of one.
        for image in 0..20 {
            calibrator.observe(
                if image == 1 {
                    9.0
                } else {
                    image as f32 / 100.0
                },
                0.0,
            );
        }
        assert_eq!(calibrator.threshold(), Some(9.0));
        for image in 20..23 {
            calibrator.observe(image as f32 / 100.0, 0.0);
        }
        assert_eq!(calibrator.threshold(), Some(0.22));
    }

    #[test]
    fn warm_up_is_explicit() {
        let mut calibrator = quantile(0.95, 20);
        for image in 0..7 {
            calibrator.observe(image as f32, 0.0);
        }
        let judgement = calibrator.judge(100.0);
        assert_eq!(judgement.verdict, Verdict::Uncalibrated);
        assert_eq!(
            judgement.calibration,
            CalibrationState::WarmingUp {
                have: 7,
                needed: 20,
                reference: ReferenceKind::Images
            }
        );
        let words = judgement.calibration.to_string();
        assert_eq!(words, "uncalibrated, 7 of 20 images");
        assert_eq!(judgement.threshold, None);
    }

    #[test]
    fn verdict_and_p_value_agree() {
        let mut calibrator = quantile(0.9, 20);
        for image in 0..99 {
            calibrator.observe(image as f32, 0.0);
        }
        for score in [0.0, 50.0, 88.0, 89.0, 89.5, 90.0, 98.0, 99.0] {
            let judgement = calibrator.judge(score);
            let anomalous = judgement.p_value.unwrap() <= 0.1 + 1e-12;
            assert_eq!(
                judgement.verdict == Verdict::Anomalous,
                anomalous,
                "{score}"
            );
        }
    }

    #[test]
    fn a_false_alarm_rate_needs_enough_normals() {
        let mut calibrator = Calibrator::new(CalibrationConfig::FalseAlarmRate { rate: 0.01 });
        calibrator
            .set_normals((0..98).map(|n| (n as f32, 0.0)).collect())
            .unwrap();
        assert_eq!(
            calibrator.judge(1e9).calibration.to_string(),
            "uncalibrated, 98 of 99 known normals"
        );
        calibrator
            .set_normals((0..99).map(|n| (n as f32, 0.0)).collect())
            .unwrap();
        assert_eq!(calibrator.judge(98.5).verdict, Verdict::Anomalous);
        assert_eq!(calibrator.judge(98.0).verdict, Verdict::Normal);
    }

    #[test]
    fn as_many_references_are_needed_as_let_one_of_them_be_an_alarm() {
        for step in 1..=50_000 {
            let rate = f64::from(step) * 1e-5;
            let needed = needed_for(rate);
            assert_eq!(allowed_rank(rate, needed), 1, "{rate}");
            assert_eq!(allowed_rank(rate, needed - 1), 0, "{rate}");
        }
        assert_eq!(needed_for(1.0 - 0.95), 19);
    }

    #[test]
    fn a_rate_out_of_range_is_refused_by_name_and_gives_no_threshold() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let policy = CalibrationConfig::FalseAlarmRate { rate };
            let error = policy.check().unwrap_err();
            assert_eq!(error.problems[0].key, "calibration.rate", "{error}");
            let mut calibrator = Calibrator::new(policy);
            let normals = (0..99).map(|n| (n as f32, 0.0)).collect();
            calibrator.set_normals(normals).unwrap();
            assert_eq!(calibrator.judge(50.0).threshold, None, "{rate}");
        }
        CalibrationConfig::default().check().unwrap();
    }

    #[test]
    fn a_threshold_changes_without_re_scoring() {
        let mut calibrator = quantile(0.95, 20);
        for image in 0..100 {
            calibrator.observe(image as f32, 0.0);
        }
        assert_eq!(calibrator.judge(60.0).verdict, Verdict::Normal);
        calibrator.set_policy(CalibrationConfig::Fixed { threshold: 50.0 });
        assert_eq!(calibrator.judge(60.0).verdict, Verdict::Anomalous);
    }

    #[test]
    fn the_threshold_is_the_middle_of_the_map_scale() {
        let mut calibrator = quantile(0.95, 20);
        for image in 0..100 {
            calibrator.observe(1.0 + image as f32 / 100.0, 0.25);
        }
        let (low, high) = calibrator.map_scale().unwrap();
        assert_eq!(low, 0.25);
        assert!(((low + high) / 2.0 - calibrator.threshold().unwrap()).abs() < 1e-6);
    }
}
