//! What those who watch a run hear.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{EpochLog, Log, Progress};

/// What happens in a run, for those who watch it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// Features are about to be kept.
    Features {
        /// Images.
        images: usize,
        /// What they take on disk altogether, in bytes; those that are there already included.
        bytes: u64,
        /// Where.
        folder: &'e Path,
    },
    /// The folder holds this run.
    Resumed {
        /// Steps made before.
        steps: u64,
        /// Whether it is at its end: nothing is left to do.
        finished: bool,
    },
    /// Something was done.
    Progress(Progress),
    /// An epoch is over.
    Epoch(&'e EpochLog),
    /// A checkpoint and the log were written.
    Saved(&'e Log),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// `false` where it was stopped; it goes on from its checkpoint.
    pub finished: bool,
    /// The weights, where there are any yet.
    pub weights: Option<PathBuf>,
    /// How it went.
    pub log: Log,
}

/// The time that is left by the speed so far.
pub(crate) fn left(elapsed: Duration, done: u64, total: u64) -> Option<Duration> {
    let each = elapsed.as_secs_f64() / (done > 0).then_some(done as f64)?;
    Duration::try_from_secs_f64(each * total.saturating_sub(done) as f64).ok()
}
