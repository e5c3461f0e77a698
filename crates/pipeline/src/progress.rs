//! How far a long piece of work is.

use std::time::Duration;

/// How far a long piece of work is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// What is being done.
    pub doing: String,
    /// Steps done; in a benchmark an image encoded or scored is one.
    pub done: u64,
    /// All steps.
    pub total: u64,
    /// The time left by the speed so far; `None` at the start.
    pub left: Option<Duration>,
}
