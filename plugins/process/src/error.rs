//! The errors of this crate.

use std::fmt;

/// What a host did that a host must not do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The program could not be started.
    #[error("cannot be started: {0}; check `command`")]
    Start(String),
    /// Nobody answers at the address.
    #[error("cannot be reached: {0}; check `address` and that the host runs")]
    Unreachable(String),
    /// The process ended or closed the connection.
    #[error("{0}")]
    Ended(String),
    /// No connection in time.
    #[error("did not connect within {0} s; raise `start_timeout_s` if it needs longer to start")]
    NotConnected(f64),
    /// No answer in time.
    #[error("gave no answer within {0} s; raise `timeout_s` if it needs longer")]
    TimedOut(f64),
    /// What it sent is no answer.
    #[error("broke the protocol: {0}")]
    Protocol(String),
    /// A message was over the limit.
    #[error("sent a message of {found} bytes, the limit is {limit}; raise `max_message`")]
    TooLarge {
        /// Its size in bytes.
        found: u64,
        /// The largest allowed.
        limit: u64,
    },
}

/// Who failed, at what, and what it said before.
#[derive(Debug, Clone, PartialEq)]
pub struct Blame {
    /// The component and its host.
    pub who: String,
    /// The process, where it is ours.
    pub pid: Option<u32>,
    /// What it was asked.
    pub asked: String,
    /// What happened.
    pub fault: Fault,
    /// The last lines it wrote to stderr and stdout.
    pub last_lines: Vec<String>,
}

impl Blame {
    /// Nothing has happened to `who` yet.
    pub(crate) fn nobody(who: String) -> Self {
        Self {
            who,
            pid: None,
            asked: "open".into(),
            fault: Fault::Ended("has no host".into()),
            last_lines: Vec::new(),
        }
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.who)?;
        if let Some(pid) = self.pid {
            write!(f, " (process {pid})")?;
        }
        write!(f, ", asked to `{}`: it {}", self.asked, self.fault)?;
        match self.last_lines.as_slice() {
            [] if self.pid.is_some() => write!(f, "; it wrote nothing to stderr"),
            [] => Ok(()),
            lines => write!(f, "; its last lines were: {}", lines.join(" | ")),
        }
    }
}

/// What can be wrong with a component in another process.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// An option has a value that cannot be worked with.
    #[error("option `{option}` is {found}, expected {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The host does not have the component.
    #[error("{who}: {problem}")]
    Component {
        /// The component and its host.
        who: String,
        /// What is there instead.
        problem: String,
    },
    /// The host failed, and starting it again did not help.
    #[error("{0}")]
    Host(Box<Blame>),
    /// The host failed more often than is allowed.
    #[error(
        "{blame}; it was started again {restarts} times within {window_s} s and is given up until that time is over: mend it, or raise `restarts`"
    )]
    GivenUp {
        /// The last failure.
        blame: Box<Blame>,
        /// The restarts within the window.
        restarts: u32,
        /// The window in seconds.
        window_s: f64,
    },
    /// The memory of the stream went with the host.
    #[error(
        "{blame}; the component cannot give its state, so what the stream had learned from {changes} images is lost: reset the stream or show the images again, and ask the author of the component for `save` and `load`"
    )]
    MemoryLost {
        /// The failure that ended it.
        blame: Box<Blame>,
        /// The images, normals included.
        changes: u64,
    },
    /// The host answered with an error; its state is as it was.
    #[error("{who}, asked to `{asked}`: {kind} error: {message}")]
    Refused {
        /// The component and its host.
        who: String,
        /// What it was asked.
        asked: String,
        /// The kind of error: `options`, `input`, `state`, `unsupported`, `protocol` or `internal`.
        kind: String,
        /// What it said.
        message: String,
    },
    /// The answer is not what the contract asks for.
    #[error("{who}, asked to `{asked}`, answered against the contract: {problem}")]
    Answer {
        /// The component and its host.
        who: String,
        /// What it was asked.
        asked: String,
        /// What is wrong.
        problem: String,
    },
    /// The request is larger than messages may be.
    #[error("the request `{asked}` has {found} bytes, the limit is {limit}; raise `max_message`")]
    RequestTooLarge {
        /// The request.
        asked: String,
        /// Its size in bytes.
        found: u64,
        /// The largest allowed.
        limit: u64,
    },
    /// A bank was used as one that learns otherwise.
    #[error("{who} learns by {learning:?} and is not asked to `{asked}`")]
    Learning {
        /// The component.
        who: String,
        /// What it was to be asked.
        asked: &'static str,
        /// What it learns from.
        learning: rareclip_core::Learning,
    },
    /// An image was compared before the training pass had ended.
    #[error(
        "the training pass has not ended: show known normals and end it before the first image to be scored"
    )]
    NotFitted,
    /// The training pass was ended before any known normal was shown.
    #[error("there are no known normals to learn from: show some before the training pass ends")]
    NoNormals,
    /// The training pass went on, or was ended again, after its end.
    #[error("the training pass has ended; start a new stream to learn from other normals")]
    AlreadyFitted,
    /// The backbone does not give a block.
    #[error("block {block} is asked for, the backbone gives {available:?}; change `blocks`")]
    Block {
        /// The block asked for, 1-based.
        block: usize,
        /// The blocks of the backbone.
        available: Vec<usize>,
    },
    /// An array that was to be sent has the wrong shape.
    #[error("{what} has shape {found:?}, expected {expected}")]
    Shape {
        /// The array.
        what: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: String,
    },
    /// The assessment was made by another component.
    #[error("the assessment is not one of this component; absorb what the same one has assessed")]
    ForeignAssessment,
    /// Saved state belongs to another component.
    #[error(
        "the state is of component {found}, the host has {expected}; use the host it was made with, or start a new state"
    )]
    OtherComponent {
        /// The component and version in the state.
        found: String,
        /// Those of the host.
        expected: String,
    },
    /// Saved state does not hold what the component had learned.
    #[error(
        "the component could not give its state when this was saved, so the state holds nothing it had learned: start a new state"
    )]
    NoState,
}
