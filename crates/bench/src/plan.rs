//! What a benchmark compares.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rareclip_core::DetectorConfig;
use rareclip_datasets::{Category, Dataset, Sample, python_shuffle};

use crate::{Error, Result};

/// A detector that takes part.
#[derive(Debug, Clone)]
pub struct Entrant {
    /// What tables call it.
    pub label: String,
    /// Its config.
    pub config: DetectorConfig,
    /// Known normals shown before the first score. `None`: all training images for detectors that
    /// learn from normals, none for the others.
    pub shots: Option<usize>,
}

/// Detectors, data, seeds.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The detectors in the order of the table.
    pub entrants: Vec<Entrant>,
    /// The data set.
    pub dataset: Dataset,
    /// The data set as the user wrote it, for the report.
    pub dataset_spec: String,
    /// Seeds: of the order of the stream and of the choice of shots, as the published code
    /// shuffles.
    pub seeds: Vec<u64>,
    /// Side in pixels at which maps and masks are compared; 0 for image scores alone. The paper's
    /// tables: 256.
    pub side: usize,
    /// Where results go.
    pub out: PathBuf,
    /// Where features are kept.
    pub features: PathBuf,
    /// The command line, for the report.
    pub command: Vec<String>,
}

impl Plan {
    /// Checks what can be checked before any weights are loaded.
    ///
    /// # Errors
    /// [`Error::Twice`].
    pub fn check(&self) -> Result<()> {
        let mut labels = BTreeSet::new();
        for entrant in &self.entrants {
            if !labels.insert(entrant.label.as_str()) {
                return Err(Error::Twice(entrant.label.clone()));
            }
        }
        Ok(())
    }
}

impl Plan {
    /// The file of a run with its images and metrics.
    pub fn run_file(&self, detector: &str, category: &str, seed: u64) -> PathBuf {
        self.file(detector, category, seed, "json")
    }

    /// The file of the maps `[images, side, side]` of a run in stream order, small; kept for the
    /// first seed only.
    pub fn maps_file(&self, detector: &str, category: &str, seed: u64) -> PathBuf {
        self.file(detector, category, seed, "npy")
    }

    fn file(&self, detector: &str, category: &str, seed: u64, ending: &str) -> PathBuf {
        let plain = |name: &str| name.replace(['/', '\\', ':'], "-");
        self.out
            .join("runs")
            .join(plain(detector))
            .join(plain(category))
            .join(format!("seed{seed}.{ending}"))
    }
}

/// The test images of a category in the order of a seed.
pub(crate) fn stream(category: &Category, seed: u64) -> Vec<usize> {
    python_shuffle(seed, category.test.len())
}

/// The training images that a run of `shots` shows first, by position.
pub(crate) fn normals(
    entrant: &Entrant,
    category: &Category,
    fits: bool,
    seed: u64,
) -> Result<Vec<usize>> {
    let known: Vec<usize> = (0..category.train.len())
        .filter(|&at| category.train[at].label == Some(false))
        .collect();
    match entrant.shots {
        None if !fits => Ok(Vec::new()),
        None if known.is_empty() => Err(Error::NoNormals {
            detector: entrant.label.clone(),
            category: category.name.clone(),
        }),
        None => Ok(known),
        Some(shots) if shots > known.len() => Err(Error::TooFewNormals {
            detector: entrant.label.clone(),
            category: category.name.clone(),
            shots,
            train: known.len(),
        }),
        Some(shots) => {
            let order = python_shuffle(seed, known.len());
            Ok(order.into_iter().take(shots).map(|at| known[at]).collect())
        }
    }
}

/// The samples at `positions`.
pub(crate) fn at<'a>(samples: &'a [Sample], positions: &[usize]) -> Vec<&'a Sample> {
    positions.iter().map(|&at| &samples[at]).collect()
}
