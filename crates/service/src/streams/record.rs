//! The record of an outcome.

use rareclip_core::Outcome;

use crate::model::ResultRecord;

/// The record of an outcome.
pub(super) fn record(
    outcome: &Outcome,
    id: u64,
    at: i64,
    image: Option<String>,
    pictures: bool,
) -> ResultRecord {
    ResultRecord {
        id,
        at: crate::store::time(at),
        image,
        result: rareclip_pipeline::ResultRecord::of(outcome),
        feedback: None,
        note: None,
        pictures,
    }
}
