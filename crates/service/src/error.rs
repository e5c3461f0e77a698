//! What can go wrong, and what a client is told.

use rareclip_core::ComponentError;
use rareclip_imaging::ImagingError;
use rareclip_pipeline::QueueError;

/// The database or the data folder cannot do what it should.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk has no room left.
    #[error("{place}: no space left on the disk; free some, or move the data folder")]
    Full {
        /// File or database.
        place: String,
    },
    /// Reading or writing failed.
    #[error("{place}: {problem}")]
    Failed {
        /// File or database.
        place: String,
        /// What the system said.
        problem: String,
    },
    /// The database is not one that this version can use.
    #[error("{place}: {problem}")]
    Unusable {
        /// File or database.
        place: String,
        /// What is wrong, and the way out.
        problem: String,
    },
}

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// There is no such thing.
    #[error("there is no {what} `{name}`{hint}")]
    NotFound {
        /// `stream`, `detector`, `result`, `snapshot`, ...
        what: &'static str,
        /// How it was called.
        name: String,
        /// What there is instead, beginning with a separator; may be empty.
        hint: String,
    },
    /// It was kept once and is not any more.
    #[error("{what} is not kept any more: {reason}")]
    Gone {
        /// What was asked for.
        what: String,
        /// Why it is not there.
        reason: String,
    },
    /// The request is not one that can be done.
    #[error("{place}: {problem}")]
    Invalid {
        /// The field, header or image that is wrong.
        place: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// What is there contradicts the request.
    #[error("{0}")]
    Conflict(String),
    /// The request is larger than ever allowed.
    #[error("{0}")]
    TooLarge(String),
    /// An image cannot be read.
    #[error("image {name}: {source}")]
    Image {
        /// The image as the request named it, or its position.
        name: String,
        /// What is wrong with it.
        source: ImagingError,
    },
    /// An image would take more memory to decode than all images together may.
    #[error(
        "image {name}: {width} x {height} pixels take {needed} bytes to decode and at most {budget} are allowed (--decode-memory); send a smaller image"
    )]
    TooCostly {
        /// The image as the request named it, or its position.
        name: String,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes that decoding takes at most.
        needed: u64,
        /// Bytes that there are for all images.
        budget: u64,
    },
    /// As many streams as the service may have.
    #[error(
        "there are {limit} streams and no more are allowed (--max-streams): delete streams that are not needed, or start the service with a higher limit"
    )]
    TooManyStreams {
        /// The bound.
        limit: usize,
    },
    /// A computation did not end in the time that it may take.
    #[error(
        "{what} did not end within {seconds:.0} s and was given up; nothing of it is recorded. The log says more"
    )]
    Stuck {
        /// The stream or part of the service.
        what: String,
        /// The time it may take.
        seconds: f64,
    },
    /// There is too much to do at present.
    #[error("{waiting} images are waiting and at most {limit} may; try again in {retry_after_s} s")]
    Busy {
        /// Images in work or waiting.
        waiting: usize,
        /// The bound.
        limit: usize,
        /// Seconds until there should be room, at least 1.
        retry_after_s: u64,
    },
    /// The image was not reached in time and left no trace.
    #[error(
        "the image was not reached within {0:.1} s and left no trace; send it again, or allow more time"
    )]
    Deadline(f64),
    /// A component was not built in time.
    #[error(
        "the detector was not built within {0:.1} s, and building it continues; send the request again later, or choose another detector"
    )]
    Building(f64),
    /// Too many configs of requests are being built.
    #[error("{limit} detectors are being built and no more may; send the request again later")]
    ManyBuilds {
        /// The bound.
        limit: usize,
    },
    /// The detector failed on the image, or cannot be used this way; the image left no trace.
    #[error(transparent)]
    Detector(#[from] rareclip_core::Error),
    /// The detector of a stream is not in this service.
    #[error(
        "stream {stream}: {problem}. Start the service with the config that the stream was made with; its state waits for it"
    )]
    NoDetector {
        /// The stream.
        stream: String,
        /// Which detector is missing.
        problem: String,
    },
    /// The state of a stream cannot be read.
    #[error(
        "stream {stream}: {problem}; its files are as they were. Restore a snapshot, import a state, or reset the stream"
    )]
    Damaged {
        /// The stream.
        stream: String,
        /// What is wrong with its state.
        problem: String,
    },
    /// Database or data folder failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The service is going down.
    #[error("the service is shutting down")]
    Stopping,
    /// A fault of the program.
    #[error("internal fault: {0}")]
    Internal(String),
}

impl From<QueueError> for ServiceError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Stuck { name, seconds } => Self::Stuck {
                what: format!("backbone {name}"),
                seconds,
            },
            QueueError::Features(error) => Self::Detector(error.into()),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<rareclip_pipeline::Error> for ServiceError {
    fn from(error: rareclip_pipeline::Error) -> Self {
        match error {
            conflict @ rareclip_pipeline::Error::RuntimeConflict { .. } => {
                Self::Conflict(conflict.to_string())
            }
            rareclip_pipeline::Error::Detector { source, .. } => Self::Detector(source),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl ServiceError {
    /// The HTTP status that says so.
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound { .. } => 404,
            Self::Gone { .. } => 410,
            Self::Invalid { .. } => 400,
            Self::Conflict(_) => 409,
            Self::TooLarge(_) => 413,
            Self::Image { .. } | Self::TooCostly { .. } => 422,
            Self::TooManyStreams { .. } => 409,
            Self::Busy { .. } => 429,
            Self::Deadline(_) => 504,
            Self::Building(_) | Self::ManyBuilds { .. } => 503,
            Self::Damaged { .. } | Self::NoDetector { .. } => 409,
            Self::Detector(error) => Self::status_of(error),
            Self::Internal(_) | Self::Stuck { .. } => 500,
            Self::Store(StoreError::Full { .. }) => 507,
            Self::Store(_) | Self::Stopping => 503,
        }
    }

    /// The same error where the request itself brought the options or the state that the detector
    /// rejects: that is not a fault of the program. `place` is where the request has them.
    pub fn of_request(self, place: &str) -> Self {
        match self {
            Self::Detector(error) if Self::status_of(&error) == 500 => Self::Invalid {
                place: place.to_owned(),
                problem: error.to_string(),
            },
            other => other,
        }
    }

    fn status_of(error: &rareclip_core::Error) -> u16 {
        use rareclip_core::Error;
        match error {
            Error::LateNormal { .. } | Error::NotFitted { .. } | Error::StateMismatch { .. } => 409,
            // The stream changed while the image was assessed: the same request can succeed.
            Error::StaleAssessment => 409,
            Error::Config(_)
            | Error::Calibration(_)
            | Error::NeedsBatch { .. }
            | Error::NoBatch
            | Error::TooLarge { .. }
            | Error::UnknownBound { .. }
            | Error::Snapshot(_) => 400,
            Error::Given(error) => Self::status_of_given(error),
            Error::Component { source, .. } => {
                ComponentError::of(source).map_or(500, Self::status_of_given)
            }
            _ => 500,
        }
    }

    fn status_of_given(error: &ComponentError) -> u16 {
        match error {
            ComponentError::NonFinite { .. } => 422,
            ComponentError::LateNormal
            | ComponentError::NotFitted
            | ComponentError::AlreadyFitted
            | ComponentError::TooFewNormals { .. }
            | ComponentError::TooManyNormals { .. } => 409,
            _ => 500,
        }
    }

    /// A short name of the kind, for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not-found",
            Self::Gone { .. } => "gone",
            Self::Invalid { .. } => "invalid",
            Self::Conflict(_) => "conflict",
            Self::TooLarge(_) => "too-large",
            Self::Image { .. } | Self::TooCostly { .. } => "image",
            Self::TooManyStreams { .. } => "too-many-streams",
            Self::Stuck { .. } => "stuck",
            Self::Busy { .. } => "busy",
            Self::Deadline(_) => "deadline",
            Self::Building(_) | Self::ManyBuilds { .. } => "building",
            Self::Detector(_) => "detector",
            Self::Damaged { .. } => "damaged",
            Self::NoDetector { .. } => "no-detector",
            Self::Store(StoreError::Full { .. }) => "disk-full",
            Self::Store(_) => "store",
            Self::Stopping => "stopping",
            Self::Internal(_) => "internal",
        }
    }

    /// Seconds after which a client may try again, where that can help.
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Busy { retry_after_s, .. } => Some(*retry_after_s),
            Self::Stopping | Self::Store(_) | Self::Building(_) | Self::ManyBuilds { .. } => {
                Some(5)
            }
            _ => None,
        }
    }
}
