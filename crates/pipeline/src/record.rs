//! What came out for one image.

use rareclip_core::calibration::Judgement;
use rareclip_core::{Outcome, Verdict};
use serde::{Deserialize, Serialize};

/// The result of one image, as it stands in a line of `results.jsonl`, an answer of the API, a
/// report and a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResultRecord {
    /// Images shown to the stream before this one.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub sequence: u64,
    /// The score that is judged (after re-scoring).
    pub score: f32,
    /// The score of this image alone.
    pub raw_score: f32,
    /// Share of reference scores at least as large, in (0, 1]; null without any reference.
    pub p_value: Option<f64>,
    /// `normal`, `anomalous` or `uncalibrated`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub verdict: Verdict,
    /// The threshold it was judged by; null while warming up.
    pub threshold: Option<f32>,
    /// The state of the calibration in words; says how far the warm-up is.
    pub calibration: String,
    /// The median of the map: what most of the image looked like.
    pub map_median: f32,
    /// Low end of the heatmap's colour scale.
    pub scale_low: f32,
    /// High end of the heatmap's colour scale.
    pub scale_high: f32,
    /// Whether the memory absorbed the image.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub remembered: bool,
}

impl ResultRecord {
    /// The result that an outcome of a stream stands for.
    pub fn of(outcome: &Outcome) -> Self {
        let judgement = &outcome.judgement;
        let (scale_low, scale_high) = outcome.map_scale;
        Self {
            sequence: outcome.sequence,
            score: outcome.scored.score,
            raw_score: outcome.scored.raw_score,
            p_value: judgement.p_value,
            verdict: judgement.verdict,
            threshold: judgement.threshold,
            calibration: judgement.calibration.to_string(),
            map_median: outcome.map_median,
            scale_low,
            scale_high,
            remembered: outcome.remembered,
        }
    }

    /// Judges the score anew.
    pub fn judge(&mut self, judgement: &Judgement) {
        self.p_value = judgement.p_value;
        self.verdict = judgement.verdict;
        self.threshold = judgement.threshold;
        self.calibration = judgement.calibration.to_string();
    }

    /// Whether the image was called anomalous.
    pub fn is_anomalous(&self) -> bool {
        self.verdict == Verdict::Anomalous
    }
}
