//! The plain data that every reader gives.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Kind;

/// Defect of every normal sample.
pub const GOOD: &str = "good";

/// Defect of every sample whose label is unknown.
pub const UNLABELLED: &str = "unlabelled";

/// Defect of anomalous samples of which nothing more is known.
pub const ANOMALOUS: &str = "anomalous";

/// Where the defects of an image are marked. A pixel above 0 in any of the files is a defect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mask {
    /// No file: the image is normal, or nothing is known of its pixels ([`Sample::pixel_truth`]
    /// tells which).
    #[default]
    None,
    /// One file for the image.
    File(PathBuf),
    /// One file a region; the defect is their union (MVTec LOCO).
    Merged(Vec<PathBuf>),
}

impl Mask {
    /// The files, none, one or several.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        match self {
            Self::None => &[],
            Self::File(path) => std::slice::from_ref(path),
            Self::Merged(paths) => paths,
        }
    }

    /// Whether there is no file.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.files().is_empty()
    }
}

/// What is known about the pixels of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelTruth<'a> {
    /// Nothing: pixel metrics leave the image out.
    Unknown,
    /// Every pixel is normal.
    Normal,
    /// The union of these masks is defective.
    Masks(&'a [PathBuf]),
}

/// One image of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Path of the image relative to the root of the data set, `/`-separated on every platform; no
    /// two are equal.
    pub id: String,
    /// Path of the image.
    pub path: PathBuf,
    /// `true` = anomalous, `false` = normal, `None` = unknown.
    pub label: Option<bool>,
    /// [`GOOD`], the name of the defect class, [`ANOMALOUS`] or [`UNLABELLED`].
    pub defect: String,
    /// Where the defects are marked.
    pub mask: Mask,
}

impl Sample {
    /// What is known about the pixels.
    #[must_use]
    pub fn pixel_truth(&self) -> PixelTruth<'_> {
        match (self.label, self.mask.files()) {
            (Some(false), _) => PixelTruth::Normal,
            (_, []) => PixelTruth::Unknown,
            (_, files) => PixelTruth::Masks(files),
        }
    }

    pub(super) fn new(id: String, path: PathBuf, defect: Option<&str>) -> Self {
        Self {
            id,
            path,
            label: Some(defect.is_some()),
            defect: defect.unwrap_or(GOOD).to_owned(),
            mask: Mask::None,
        }
    }

    pub(super) fn unlabelled(id: String, path: PathBuf) -> Self {
        Self {
            id,
            path,
            label: None,
            defect: UNLABELLED.to_owned(),
            mask: Mask::None,
        }
    }
}

/// Up to which area a defect must be found to count as found whole (sPRO; Bergmann et al., IJCV
/// 2022).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saturation {
    /// The defect.
    #[serde(rename = "defect_name", default)]
    pub defect: String,
    /// Its value in the masks, 1 to 255.
    pub pixel_value: u8,
    /// The area: pixels, or a share of the region in 0..1 where `relative`.
    #[serde(rename = "saturation_threshold")]
    pub threshold: f64,
    /// Whether `threshold` is a share.
    #[serde(rename = "relative_saturation")]
    pub relative: bool,
}

impl Saturation {
    /// The share of a region of `area` pixels (at least 1) that must be found for it to count as
    /// found whole, above 0, up to 1. As a share it holds for the mask at any size.
    #[must_use]
    pub fn share(&self, area: u64) -> f64 {
        match self.relative {
            true => self.threshold,
            false => (self.threshold / area as f64).min(1.0),
        }
    }
}

/// One product of a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Category {
    /// Its name, mostly that of its folder.
    pub name: String,
    /// Its folder.
    pub root: PathBuf,
    /// Images to learn from; normal unless the data set itself puts others here. May be empty.
    pub train: Vec<Sample>,
    /// Further normal images, for thresholds. May be empty.
    pub validation: Vec<Sample>,
    /// Images to score; never empty.
    pub test: Vec<Sample>,
    /// Saturation areas of the defects, where the data set has them.
    pub saturations: Vec<Saturation>,
}

impl Category {
    pub(super) fn new(name: &str, root: &Path) -> Self {
        Self {
            name: name.to_owned(),
            root: root.to_owned(),
            train: Vec::new(),
            validation: Vec::new(),
            test: Vec::new(),
            saturations: Vec::new(),
        }
    }

    /// Every sample: train, validation, test.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.train.iter().chain(&self.validation).chain(&self.test)
    }
}

/// A data set: one category or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dataset {
    /// How it is laid out.
    pub kind: Kind,
    /// The folder that sample ids are relative to.
    pub root: PathBuf,
    /// The categories: folders in natural order, those of a table as it first names them. Never
    /// empty.
    pub categories: Vec<Category>,
}
