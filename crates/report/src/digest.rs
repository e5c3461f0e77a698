//! The rows of a run, sorted into what the sections of the report show.

use rareclip_core::Verdict;

use super::axis::range;
use rareclip_pipeline::ResultRow;

/// An image that has a finite score.
#[derive(Clone, Copy)]
pub(super) struct Scored<'a> {
    /// Place in the stream, from 1.
    pub(super) place: usize,
    /// The score that was judged; finite.
    pub(super) score: f64,
    /// What was said of it.
    pub(super) verdict: Verdict,
    /// Its row.
    pub(super) row: &'a ResultRow,
}

/// An image that could not be scored.
#[derive(Clone, Copy)]
pub(super) struct Failed<'a> {
    /// Place in the stream, from 1.
    pub(super) place: usize,
    /// Its row.
    pub(super) row: &'a ResultRow,
    /// What is wrong with it.
    pub(super) error: &'a str,
}

/// The threshold an image was judged by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Threshold {
    /// Place in the stream, from 1.
    pub(super) place: usize,
    /// The threshold; `None` where there was none yet.
    pub(super) value: Option<f64>,
}

/// A run's rows by kind, each list in stream order.
pub(super) struct Digest<'a> {
    /// Number of rows.
    pub(super) total: usize,
    /// The images that were scored.
    pub(super) scored: Vec<Scored<'a>>,
    /// The images that were not.
    pub(super) failed: Vec<Failed<'a>>,
    /// The thresholds of the scored images.
    pub(super) thresholds: Vec<Threshold>,
}

impl<'a> Digest<'a> {
    /// Sorts `rows`, which are in stream order.
    pub(super) fn of(rows: &'a [ResultRow]) -> Self {
        let mut digest = Self {
            total: rows.len(),
            scored: Vec::new(),
            failed: Vec::new(),
            thresholds: Vec::new(),
        };
        for (row, place) in rows.iter().zip(1..) {
            match (finite(row.score()), &row.error) {
                (Some(score), None) => digest.push_scored(place, score, row),
                (_, error) => digest.failed.push(Failed {
                    place,
                    row,
                    error: error
                        .as_deref()
                        .unwrap_or("the score is not a finite number"),
                }),
            }
        }
        digest
    }

    fn push_scored(&mut self, place: usize, score: f64, row: &'a ResultRow) {
        let result = row.result.as_ref();
        let verdict = result.map_or(Verdict::Uncalibrated, |result| result.verdict);
        self.scored.push(Scored {
            place,
            score,
            verdict,
            row,
        });
        self.thresholds.push(Threshold {
            place,
            value: finite(result.and_then(|result| result.threshold)),
        });
    }

    /// Number of images with this verdict.
    pub(super) fn count(&self, verdict: Verdict) -> usize {
        self.scored
            .iter()
            .filter(|image| image.verdict == verdict)
            .count()
    }

    /// The scored images by falling score; equal scores in stream order.
    pub(super) fn ranked(&self) -> Vec<Scored<'a>> {
        let mut ranked = self.scored.clone();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranked
    }

    /// Least and greatest score; `None` where nothing was scored.
    pub(super) fn score_range(&self) -> Option<(f64, f64)> {
        range(self.scored.iter().map(|image| image.score))
    }
}

/// The number if it can be placed on an axis.
pub(super) fn finite(value: Option<f32>) -> Option<f64> {
    value.filter(|value| value.is_finite()).map(f64::from)
}
