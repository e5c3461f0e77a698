//! Data sets on disk as lists of samples.
//!
//! Names sort naturally (`img2` before `img10`), folders before the files in them. Hidden entries and files that are not
//! images are passed over; anything else out of place is an error that names the first offending path.

mod folder;
mod layout;
mod list;
mod mvtec;
mod natural;
mod order;
mod scan;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::EvalError;

pub use layout::Layout;
pub use list::{read_list, select};
pub use natural::natural_cmp;
pub use order::{python_shuffle, shuffled};

/// Kind of every normal sample.
pub const GOOD: &str = "good";

/// Kind of every sample of a folder without labels.
pub const UNLABELLED: &str = "unlabelled";

/// One image of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Path of the image relative to the root of the data set, `/`-separated on every platform.
    pub id: String,
    /// Path of the image.
    pub path: PathBuf,
    /// `true` = anomalous, `false` = normal, `None` = unknown.
    pub label: Option<bool>,
    /// [`GOOD`], the name of the defect class, or [`UNLABELLED`].
    pub kind: String,
    /// Path of the defect mask (non-zero = defect). Always `None` for normal images, whose mask is empty.
    pub mask: Option<PathBuf>,
}

/// One product of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// Name of its folder.
    pub name: String,
    /// Its folder.
    pub root: PathBuf,
    /// Normal images to learn from; may be empty.
    pub train: Vec<Sample>,
    /// Images to score; never empty.
    pub test: Vec<Sample>,
}

/// A data set: one category or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// The folder that sample ids are relative to.
    pub root: PathBuf,
    /// How the folder is laid out.
    pub layout: Layout,
    /// The categories in natural order; never empty.
    pub categories: Vec<Category>,
}

impl Dataset {
    /// Reads `root`, taking the layout from what is there: [`Layout::Mvtec`] if `root` or one of its folders has a
    /// folder `test` or `train`, otherwise [`Layout::Folder`].
    ///
    /// # Errors
    /// [`EvalError::Layout`] or [`EvalError::Io`].
    pub fn open(root: &Path) -> Result<Self, EvalError> {
        Self::open_as(root, Layout::detect(root)?)
    }

    /// Reads `root`, which must have the given layout.
    ///
    /// # Errors
    /// [`EvalError::Layout`] or [`EvalError::Io`].
    pub fn open_as(root: &Path, layout: Layout) -> Result<Self, EvalError> {
        let categories = match layout {
            Layout::Mvtec => mvtec::read(root)?,
            Layout::Folder => vec![folder::read(root)?],
        };
        Ok(Self {
            root: root.to_owned(),
            layout,
            categories,
        })
    }
}
