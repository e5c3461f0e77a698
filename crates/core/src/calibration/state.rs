//! What the threshold of a stream rests on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the threshold of a stream rests on at present. [`Display`](fmt::Display) gives it in words.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CalibrationState {
    /// There are too few reference scores for a threshold.
    WarmingUp {
        /// Reference scores that there are.
        have: usize,
        /// Reference scores that the policy needs; more than `have`.
        needed: usize,
        /// What the reference scores are of.
        reference: ReferenceKind,
    },
    /// A quantile of the scores of the stream.
    Quantile {
        /// Share of the scores that count as normal, in [0, 1).
        quantile: f64,
        /// Scores that it is a quantile of.
        scores: usize,
    },
    /// The false-positive rate on known normals.
    FalseAlarmRate {
        /// Share of normal images that may be called anomalous, in (0, 1).
        rate: f64,
        /// Scores of known normals.
        normals: usize,
    },
    /// A threshold set by hand.
    Fixed,
}

/// What reference scores are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReferenceKind {
    /// Images of the stream.
    Images,
    /// Known normals.
    KnownNormals,
}

impl fmt::Display for CalibrationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WarmingUp {
                have,
                needed,
                reference,
            } => write!(f, "uncalibrated, {have} of {needed} {reference}"),
            Self::Quantile { quantile, scores } => {
                write!(f, "quantile {quantile} of the last {scores} scores")
            }
            Self::FalseAlarmRate { rate, normals } => {
                write!(f, "false alarm rate {rate} by {normals} known normals")
            }
            Self::Fixed => f.write_str("fixed threshold"),
        }
    }
}

impl fmt::Display for ReferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Images => "images",
            Self::KnownNormals => "known normals",
        })
    }
}
