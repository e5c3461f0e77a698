//! The error of this crate.

use std::path::{Path, PathBuf};

use rareclip_core::BoxError;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can stop a training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libtorch failed.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// A device that is not there.
    #[error(transparent)]
    Device(#[from] rareclip_vit::torch::NoDevice),
    /// Arrays that do not fit each other.
    #[error("{what} has shape {found:?}, expected {expected}")]
    Shape {
        /// The array.
        what: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: String,
    },
    /// A setting is out of its range.
    #[error("{name}: must be {allowed}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its range.
        allowed: &'static str,
    },
    /// The backbone does not give a block that is to be bridged.
    #[error(
        "block {block} is to be bridged, the backbone gives {available:?}; check `prompt.blocks`"
    )]
    Block {
        /// The block, 1-based.
        block: usize,
        /// What the backbone gives.
        available: Vec<usize>,
    },
    /// A name that the data set does not have.
    #[error(
        "there is no {what} `{name}` among the images to learn from (there are: {known}){hint}"
    )]
    Unknown {
        /// What is named.
        what: &'static str,
        /// The name as given.
        name: String,
        /// The nearest name as a question, or nothing.
        hint: String,
        /// The names that there are.
        known: String,
    },
    /// An anomalous or unlabelled image without a mask.
    #[error(
        "{path}: where it is defective is not known; training needs a mask for every anomalous image and a label for every other: leave \
         its class out, or take a data set with masks", path = .path.display()
    )]
    NoMask {
        /// The image.
        path: PathBuf,
    },
    /// No image shows a defect.
    #[error(
        "{images} images {purpose}, none of them anomalous: without defects there is nothing to learn; check what is held out, excluded and restricted"
    )]
    NoDefects {
        /// What the images are for.
        purpose: &'static str,
        /// How many there are.
        images: usize,
    },
    /// The loss or the weights are NaN or infinite.
    #[error(
        "step {step} of epoch {epoch}: {problem} (images: {images}). Look for damaged images among them, or take a lower \
         learning rate in another folder; features that are kept serve it as well"
    )]
    Diverged {
        /// The step, from 1.
        step: u64,
        /// The epoch, from 1.
        epoch: u64,
        /// What is no number.
        problem: String,
        /// The images of the step.
        images: String,
    },
    /// The folder holds a run of another making.
    #[error("{folder} holds a run of other settings:\n{differences}\ntake another folder, or the settings of that run", folder = .folder.display())]
    OtherRun {
        /// The folder.
        folder: PathBuf,
        /// A line a difference.
        differences: String,
    },
    /// The folder holds weights that no checkpoint belongs to.
    #[error("{path} is there, but no checkpoint.safetensors beside it that could be gone on from; remove it to begin anew (features that are kept stay), or take another folder", path = .path.display())]
    NoCheckpoint {
        /// The weights.
        path: PathBuf,
    },
    /// Another process works in the folder.
    #[error("{folder}: another process trains in this folder", folder = .folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("{path}: {detail}; put a copy back, or remove checkpoint.safetensors and tpb.safetensors there to begin anew (features that are kept stay)", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// No room for features.
    #[error("{path}: the disk is full; take another folder for the features, or compute them anew in every epoch", path = .path.display())]
    DiskFull {
        /// The file that did not fit.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An image or a mask could not be read.
    #[error("{path}: {source}", path = .path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rareclip_imaging::ImagingError,
    },
    /// The backbone failed on an image.
    #[error("{path}: the backbone: {source}", path = .path.display())]
    Backbone {
        /// The image.
        path: PathBuf,
        /// What it said.
        source: BoxError,
    },
    /// Images and kept features.
    #[error(transparent)]
    Pipeline(#[from] rareclip_pipeline::Error),
    /// A mask.
    #[error(transparent)]
    Mask(#[from] rareclip_datasets::masks::MaskError),
    /// The data set.
    #[error(transparent)]
    Dataset(#[from] rareclip_datasets::DatasetError),
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] rareclip_metrics::MetricsError),
    /// The map of a validation image.
    #[error(transparent)]
    Map(#[from] rareclip_core::Error),
    /// Who watches the run cannot go on.
    #[error("{0}")]
    Watcher(BoxError),
}

impl Error {
    /// What is wrong with the image or mask at `path`.
    pub(crate) fn image(path: &Path) -> impl Fn(rareclip_imaging::ImagingError) -> Self {
        move |source| Self::Image {
            path: path.to_owned(),
            source,
        }
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
}
