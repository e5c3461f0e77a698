//! The errors of this crate.

use std::path::{Path, PathBuf};

use rareclip_core::BoxError;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between the bytes of images and their features.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An image could not be decoded or prepared.
    #[error("{path}: {source}", path = .path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rareclip_imaging::ImagingError,
    },
    /// An image is not what it was when the run began.
    #[error("{path}: was changed while the run was under way; start again", path = .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A file of features does not hold what it should.
    #[error("{path}: {detail}; remove the file to have it made again", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The backbone failed on an image.
    #[error("backbone: {path}: {source}", path = .path.display())]
    Backbone {
        /// The image.
        path: PathBuf,
        /// What the backbone said.
        source: BoxError,
    },
    /// A position beyond the images at hand.
    #[error("no image {at}: there are {images}")]
    OutOfRange {
        /// The position asked for, from 0.
        at: usize,
        /// How many images there are.
        images: usize,
    },
    /// A detector could not be built.
    #[error("{detector}: {source}")]
    Detector {
        /// Its label.
        detector: String,
        /// What it said.
        source: rareclip_core::Error,
    },
    /// Two detectors that share a backbone want it to run in different ways.
    #[error(
        "detectors `{first}` and `{second}` share one backbone, but `{key}` is {left} in `{first}` and {right} in `{second}`; give both the same value"
    )]
    RuntimeConflict {
        /// A detector.
        first: String,
        /// Another one.
        second: String,
        /// The key path of the option.
        key: String,
        /// Its value in the first, as JSON.
        left: String,
        /// Its value in the second, as JSON.
        right: String,
    },
}

impl Error {
    /// What is wrong with the image at `path`.
    pub(crate) fn image(path: &Path) -> impl Fn(rareclip_imaging::ImagingError) -> Self {
        move |source| Self::Image {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn backbone(path: &Path) -> impl FnOnce(BoxError) -> Self {
        let path = path.to_owned();
        move |source| Self::Backbone { path, source }
    }

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

/// Why a [`Queue`](crate::Queue) did not encode an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The backbone has not ended in time; its thread is left alone.
    #[error("backbone {name} has not ended after {seconds} s")]
    Stuck {
        /// The backbone.
        name: String,
        /// The time that it was given, in seconds.
        seconds: f64,
    },
    /// Too many threads of the backbone hang.
    #[error("backbone {name} does not end or has failed; restart the service")]
    GivenUp {
        /// The backbone.
        name: String,
    },
    /// The thread could not be started.
    #[error("backbone thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The thread has ended.
    #[error("the backbone's thread has ended")]
    Gone,
    /// The backbone panicked.
    #[error("the backbone panicked")]
    Panicked,
    /// The backbone failed, or gave the features of another number of images.
    #[error("backbone: {0}")]
    Backbone(String),
    /// What the backbone gave cannot be used.
    #[error(transparent)]
    Features(#[from] rareclip_core::ComponentError),
}
