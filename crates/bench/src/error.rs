//! The error of this crate.

use std::path::{Path, PathBuf};

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can stop a benchmark.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A detector could not be built or failed on an image.
    #[error("{detector}: {source}")]
    Detector {
        /// Its label.
        detector: String,
        /// What it said.
        source: rareclip_core::Error,
    },
    /// The images of a detector, or the detector itself.
    #[error(transparent)]
    Pipeline(#[from] rareclip_pipeline::Error),
    /// The backbone of a detector failed on an image, or the image could not be read.
    #[error("{detector}: {source}")]
    Encode {
        /// The label of the first detector that uses the backbone.
        detector: String,
        /// What went wrong.
        source: Box<rareclip_pipeline::Error>,
    },
    /// A mask could not be read.
    #[error(transparent)]
    Mask(#[from] rareclip_datasets::masks::MaskError),
    /// A mask is of a defect that the data set says nothing of.
    #[error("{path}: its value {value} is that of no defect in defects_config.json; get the category again, or remove that file to do without sPRO", path = .path.display())]
    NoSaturation {
        /// The mask.
        path: PathBuf,
        /// Its value.
        value: u8,
    },
    /// The data set.
    #[error(transparent)]
    Dataset(#[from] rareclip_datasets::DatasetError),
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] rareclip_metrics::MetricsError),
    /// A map could not be enlarged.
    #[error(transparent)]
    Map(#[from] rareclip_core::Error),
    /// A file could not be read or written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: {detail}; remove the file to have it made again", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A detector that learns from normals was given a category without any.
    #[error(
        "{detector} learns from known normals and category {category} has no training images: leave the detector out, or take a data set with a training set"
    )]
    NoNormals {
        /// Its label.
        detector: String,
        /// The category.
        category: String,
    },
    /// More shots than training images.
    #[error(
        "{detector}: {shots} shots are asked for, category {category} has {train} training images"
    )]
    TooFewNormals {
        /// Its label.
        detector: String,
        /// The category.
        category: String,
        /// How many are asked for.
        shots: usize,
        /// How many there are.
        train: usize,
    },
    /// The same label twice.
    #[error(
        "detector {0} is named twice; name each once, or give copies of the config another `name`"
    )]
    Twice(String),
    /// Two results cannot be compared.
    #[error("{0}")]
    Incomparable(String),
    /// The user stopped the run; what is finished is kept.
    #[error("stopped; run the same command again to go on")]
    Stopped,
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn damaged(path: &Path, detail: impl ToString) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            detail: detail.to_string(),
        }
    }

    pub(crate) fn detector(label: &str) -> impl FnOnce(rareclip_core::Error) -> Self {
        let detector = label.to_owned();
        move |source| Self::Detector { detector, source }
    }
}
