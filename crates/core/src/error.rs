//! The error of this crate.

use std::path::PathBuf;

use crate::component_error::{BoxError, ComponentError};
use crate::config::ConfigError;
use crate::snapshot::SnapshotError;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a config and a score.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A component could not be built or could not do its work.
    #[error("{slot} `{name}`: {source}")]
    Component {
        /// The slot it stands in.
        slot: crate::Slot,
        /// Its registered name.
        name: String,
        /// What it said.
        source: BoxError,
    },
    /// A stream of a config could grow beyond the memory that it may take.
    #[error(
        "the {slot} `{name}` can grow to {bound} bytes, but may take at most {budget}; lower {options}, or raise the memory budget"
    )]
    TooLarge {
        /// The slot of the component.
        slot: crate::Slot,
        /// Its registered name.
        name: String,
        /// The bytes that it can grow to; `u64::MAX` for more than can be counted.
        bound: u64,
        /// The bytes that it may take.
        budget: u64,
        /// The options that the bound depends on.
        options: String,
    },
    /// What a stream of a config could grow to is not known before it is built.
    #[error(
        "the {slot} `{name}` does not declare how much memory it can take, which a config from a request requires; choose another component, or start the service with `--allow-component {slot}/{name}`"
    )]
    UnknownBound {
        /// The slot of the component.
        slot: crate::Slot,
        /// Its registered name.
        name: String,
    },
    /// Something given to a component or a stream is not as it should be.
    #[error(transparent)]
    Given(#[from] ComponentError),
    /// A map could not be enlarged or blurred.
    #[error(transparent)]
    Image(#[from] rareclip_imaging::ImagingError),
    /// A known normal came after images had been scored.
    #[error(
        "known normals must be shown before the first scored image: the stream has absorbed {absorbed} other images; start a new stream"
    )]
    LateNormal {
        /// Images absorbed that were no normals.
        absorbed: u64,
    },
    /// A bank that learns from known normals has seen none.
    #[error(
        "the bank `{bank}` learns from known normals and has seen none: show it some first (`--normals` on the command line, the training images of a data set in `rareclip bench`)"
    )]
    NotFitted {
        /// The bank.
        bank: String,
    },
    /// A bank that looks at a whole batch was given one image.
    #[error(
        "the bank `{bank}` compares the images of a whole set with each other and cannot score one at a time: use `rareclip scan` or `rareclip bench` over the whole set, or `Stream::score_batch` in a program"
    )]
    NeedsBatch {
        /// The bank.
        bank: String,
    },
    /// An image was to be absorbed after the stream had changed.
    #[error("the stream has changed since the image was assessed: assess it again")]
    StaleAssessment,
    /// Bank or scorer failed while it remembered an image, so that what the stream knows is in
    /// doubt.
    #[error(
        "the stream cannot go on: {cause}. Its memory took in a part of the image; restore it from its last saved state, or start a new stream"
    )]
    Poisoned {
        /// What failed.
        cause: String,
    },
    /// A bank that walks through a stream was given a batch.
    #[error("the detector scores images one after another; push them instead of giving a batch")]
    NoBatch,
    /// State could not be saved or restored.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// State belongs to another detector.
    #[error("state {path} was made by another detector: {difference}; use the config it was made with, or start a new state file", path = .path.display())]
    StateMismatch {
        /// The state file.
        path: PathBuf,
        /// The first keys that differ.
        difference: String,
    },
    /// The calibration cannot be used as asked.
    #[error("calibration: {0}")]
    Calibration(String),
}
