//! One image's result: a line of `results.jsonl`, a row of `results.csv`, an entry of the report.

use rareclip_core::{Outcome, Verdict};
use serde::{Deserialize, Serialize};

/// Bytes of a file name that most file systems take, without an ending such as `.png`.
const MAX_STEM: usize = 255 - 4;

/// The result of one image. `error` is set where the image could not be scored; the numbers are absent then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultRow {
    /// Position in this run's list, from 0.
    pub index: u64,
    /// The image as it was named, `/`-separated, relative to `--root` where given.
    pub image: String,
    /// The score that is judged (after re-scoring).
    pub score: Option<f32>,
    /// The score of this image alone.
    pub raw_score: Option<f32>,
    /// Share of reference scores at least as large, in (0, 1].
    pub p_value: Option<f64>,
    /// `normal`, `anomalous` or `uncalibrated`.
    pub verdict: Option<Verdict>,
    /// What is wrong with the image, if it could not be scored.
    pub error: Option<String>,
    /// The threshold it was judged by.
    pub threshold: Option<f32>,
    /// The state of the calibration in words.
    pub calibration: Option<String>,
    /// The median of the map: what most of the image looked like.
    pub map_median: Option<f32>,
    /// Low end of the heatmap's colour scale.
    pub scale_low: Option<f32>,
    /// High end of the heatmap's colour scale.
    pub scale_high: Option<f32>,
}

impl ResultRow {
    /// The row of an image that was scored.
    pub fn scored(index: u64, image: String, outcome: &Outcome, scale: (f32, f32)) -> Self {
        let judgement = &outcome.judgement;
        Self {
            index,
            image,
            score: Some(outcome.scored.score),
            raw_score: Some(outcome.scored.raw_score),
            p_value: judgement.p_value,
            verdict: Some(judgement.verdict),
            error: None,
            threshold: judgement.threshold,
            calibration: Some(judgement.calibration.to_string()),
            map_median: Some(outcome.map_median),
            scale_low: Some(scale.0),
            scale_high: Some(scale.1),
        }
    }

    /// The row of an image that could not be scored.
    pub fn failed(index: u64, image: String, error: String) -> Self {
        Self {
            index,
            image,
            score: None,
            raw_score: None,
            p_value: None,
            verdict: None,
            error: Some(error),
            threshold: None,
            calibration: None,
            map_median: None,
            scale_low: None,
            scale_high: None,
        }
    }

    /// The stem of this image's picture files: its index and the name of its file, at most 80 characters of
    /// it, and cut so that a name with an ending of four bytes fits the 255 bytes of file systems.
    pub fn file_stem(&self) -> String {
        let name = self.image.rsplit('/').next().unwrap_or(&self.image);
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let safe: String = stem
            .chars()
            .map(|c| {
                if c.is_alphanumeric() || "-_.".contains(c) {
                    c
                } else {
                    '_'
                }
            })
            .take(80)
            .collect();
        let stem = format!("{:06}_{safe}", self.index);
        stem[..stem.floor_char_boundary(MAX_STEM)].to_owned()
    }

    /// Whether the image was called anomalous.
    pub fn is_anomalous(&self) -> bool {
        self.verdict == Some(Verdict::Anomalous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stem(index: u64, image: &str) -> String {
        ResultRow::failed(index, image.to_owned(), String::new()).file_stem()
    }

    #[test]
    fn stems_are_cut_by_bytes_between_characters() {
        assert_eq!(stem(7, "a/b/part 1.png"), "000007_part_1");
        assert_eq!(
            stem(7, &"x".repeat(200)),
            format!("000007_{}", "x".repeat(80))
        );
        for letter in ["\u{1d4d0}", "\u{4e2d}", "\u{e9}", "x"] {
            for index in [0, u64::MAX] {
                let stem = stem(index, &format!("{}.png", letter.repeat(100)));
                assert!(stem.len() + ".png".len() <= 255, "{} bytes", stem.len());
                assert!(stem.ends_with(letter));
            }
        }
        // 60 letters of four bytes fit, so that they are not cut.
        assert_eq!(stem(0, &"\u{1d4d0}".repeat(60)).chars().count(), 67);
    }
}
