//! One image's result: a line of `results.jsonl`, a row of `results.csv`, an entry of the report.

use rareclip_core::Outcome;
use serde::{Deserialize, Serialize, Serializer};

use crate::ResultRecord;

/// Bytes of a file name that most file systems take, without an ending such as `.png`.
const MAX_STEM: usize = 255 - 4;

/// The result of one image of a run, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultRow {
    /// Position in this run's list, from 0.
    pub index: u64,
    /// The image as it was named, `/`-separated, relative to `--root` where given.
    pub image: String,
    /// The result; in JSON its fields stand beside `index`, null where there is none.
    #[serde(flatten, serialize_with = "nulls_for_none")]
    pub result: Option<ResultRecord>,
    /// What is wrong with the image, if it could not be scored.
    pub error: Option<String>,
}

/// What a row without a result has in the place of each field of one.
const NO_RESULT: [&str; 11] = [
    "sequence",
    "score",
    "raw_score",
    "p_value",
    "verdict",
    "threshold",
    "calibration",
    "map_median",
    "scale_low",
    "scale_high",
    "remembered",
];

fn nulls_for_none<S: Serializer>(
    result: &Option<ResultRecord>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match result {
        Some(result) => result.serialize(serializer),
        None => serializer.collect_map(NO_RESULT.map(|name| (name, ()))),
    }
}

impl ResultRow {
    /// The row of an image that was scored; its pictures have the colour scale `(low, high)`.
    pub fn scored(index: u64, image: String, outcome: &Outcome, scale: (f32, f32)) -> Self {
        let mut result = ResultRecord::of(outcome);
        (result.scale_low, result.scale_high) = scale;
        Self::of(index, image, result)
    }

    /// The row of an image with a result.
    pub fn of(index: u64, image: String, result: ResultRecord) -> Self {
        Self {
            index,
            image,
            result: Some(result),
            error: None,
        }
    }

    /// The row of an image that could not be scored.
    pub fn failed(index: u64, image: String, error: String) -> Self {
        Self {
            index,
            image,
            result: None,
            error: Some(error),
        }
    }

    /// Its score, where it has one.
    pub fn score(&self) -> Option<f32> {
        self.result.as_ref().map(|result| result.score)
    }

    /// The stem of this image's picture files: its index and the name of its file, at most 80
    /// characters of it, and cut so that a name with an ending of four bytes fits the 255 bytes of
    /// file systems.
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
        self.result.as_ref().is_some_and(ResultRecord::is_anomalous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result() -> ResultRecord {
        ResultRecord {
            sequence: 4,
            score: 0.1,
            raw_score: 0.2,
            p_value: None,
            verdict: rareclip_core::Verdict::Uncalibrated,
            threshold: None,
            calibration: "uncalibrated".into(),
            map_median: 0.3,
            scale_low: 0.0,
            scale_high: 1.0,
            remembered: true,
        }
    }

    #[test]
    fn a_row_without_a_result_has_null_for_each_of_its_fields() {
        let row = ResultRow::of(7, "a.png".into(), result());
        let failed = ResultRow::failed(7, "a.png".into(), "broken".into());
        let keys = |row: &ResultRow| -> Vec<String> {
            let value = serde_json::to_value(row).unwrap();
            value.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(keys(&row), keys(&failed));
        let value = serde_json::to_value(&failed).unwrap();
        assert!(value["score"].is_null() && value["remembered"].is_null());
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        for row in [
            ResultRow::of(7, "a.png".into(), result()),
            ResultRow::failed(8, "b.png".into(), "broken".into()),
        ] {
            let text = serde_json::to_string(&row).unwrap();
            assert_eq!(serde_json::from_str::<ResultRow>(&text).unwrap(), row);
        }
    }

    #[test]
    fn rows_of_versions_without_sequence_and_remembered_are_read() {
        let text = r#"{"index":0,"image":"a","score":0.5,"raw_score":0.5,"p_value":null,"verdict":"uncalibrated",
            "error":null,"threshold":null,"calibration":"","map_median":0.1,"scale_low":0.0,"scale_high":1.0}"#;
        let row: ResultRow = serde_json::from_str(text).unwrap();
        assert_eq!(row.score(), Some(0.5));
    }

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
