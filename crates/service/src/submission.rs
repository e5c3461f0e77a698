//! Images that are sent to a stream, and their results.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::{ResultRecord, Timings};
use crate::pictures::Shown;

/// An image that is sent.
#[derive(Debug, Clone, Default)]
pub struct Submission {
    /// What the client calls it.
    pub name: Option<String>,
    /// The file.
    pub bytes: Bytes,
    /// Idempotency key, 1 to 200 characters: sent again with the same key, the image is not counted
    /// again.
    pub key: Option<String>,
}

/// How images are to be handled.
#[derive(Debug, Clone, Copy)]
pub struct SubmitOptions {
    /// Whether the stream counts them. Without, they leave no trace, not even in the history.
    pub update: bool,
    /// Time within which their turn must have come; `None`: as the settings say.
    pub deadline: Option<Duration>,
    /// Whether [`Submitted::shown`] is wanted.
    pub keep_shown: bool,
}

impl Default for SubmitOptions {
    fn default() -> Self {
        Self {
            update: true,
            deadline: None,
            keep_shown: false,
        }
    }
}

/// What became of an image.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The result; its id is 0 where it is not in the history.
    pub record: ResultRecord,
    /// Whether it is in the history, and the image in the memory as the policy says.
    pub recorded: bool,
    /// Whether the image had been sent before and the first result is given again.
    pub replayed: bool,
    /// What the client should know, in words.
    pub notice: Option<String>,
    /// Milliseconds in each stage.
    pub timings: Timings,
    /// Picture and map, where they were asked for.
    pub shown: Option<Arc<Shown>>,
}

impl Submitted {
    pub(crate) fn replayed(record: ResultRecord) -> Self {
        Self {
            record,
            recorded: true,
            replayed: true,
            notice: None,
            timings: Timings::default(),
            shown: None,
        }
    }

    /// A known normal, which has no score.
    pub fn normal(images: u64) -> Self {
        Self::replayed(ResultRecord {
            id: 0,
            at: String::new(),
            image: None,
            result: rareclip_pipeline::ResultRecord {
                sequence: images.saturating_sub(1),
                score: 0.0,
                raw_score: 0.0,
                p_value: None,
                verdict: rareclip_core::Verdict::Uncalibrated,
                threshold: None,
                calibration: String::new(),
                map_median: 0.0,
                scale_low: 0.0,
                scale_high: 0.0,
                remembered: true,
            },
            feedback: None,
            note: None,
            pictures: false,
        })
    }
}
