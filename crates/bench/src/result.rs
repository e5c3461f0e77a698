//! What a benchmark found out, as it stands in files.

use std::path::Path;

use rareclip_core::index::Recall;
use rareclip_datasets::Sample;
use rareclip_metrics::{ImageMetrics, Interval, PixelMetrics, SproMetrics};
use rareclip_pipeline::{ResultRecord, StageTimes};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// The whole result of a benchmark, as written to `results.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Benchmark {
    /// Version of this format.
    pub format: u32,
    /// The data set as the user named it.
    pub dataset: String,
    /// Its kind, e.g. `mvtec`.
    pub dataset_kind: String,
    /// Categories in the order of the table.
    pub categories: Vec<String>,
    /// Labels of the detectors in the order of the table.
    pub detectors: Vec<String>,
    /// Known normals asked for with each detector; `None`: all training images or none, as the
    /// detector learns.
    pub shots: Vec<Option<usize>>,
    /// The resolved config of each detector.
    pub configs: Vec<Value>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Side in pixels at which maps and masks were compared; 0: not at all.
    pub side: usize,
    /// The command line.
    pub command: Vec<String>,
    /// Where it ran.
    pub environment: Environment,
    /// Every run: category by category, detector by detector, seed by seed.
    pub runs: Vec<Run>,
}

/// The present version of the format of [`Benchmark`].
pub(crate) const FORMAT: u32 = 1;

impl ImageResult {
    /// The part of a result that a benchmark keeps.
    pub(crate) fn new(sample: &Sample, result: &ResultRecord) -> Self {
        Self {
            id: sample.id.clone(),
            label: sample.label,
            defect: sample.defect.clone(),
            score: result.score,
            raw_score: result.raw_score,
        }
    }
}

impl Benchmark {
    /// Reads a `results.json`, or the one in a folder.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Damaged`].
    pub fn read(path: &Path) -> Result<Self> {
        let file = if path.is_dir() {
            path.join("results.json")
        } else {
            path.to_owned()
        };
        let bytes = std::fs::read(&file).map_err(Error::io(&file))?;
        let benchmark: Self =
            serde_json::from_slice(&bytes).map_err(|error| Error::damaged(&file, error))?;
        if benchmark.format != FORMAT {
            return Err(Error::damaged(
                &file,
                format!(
                    "is of format {}, this version reads {FORMAT}",
                    benchmark.format
                ),
            ));
        }
        Ok(benchmark)
    }

    /// The runs of a detector on a category, one a seed.
    pub fn of<'a>(&'a self, detector: &'a str, category: &'a str) -> impl Iterator<Item = &'a Run> {
        self.runs
            .iter()
            .filter(move |run| run.detector == detector && run.category == category)
    }
}

/// Where a benchmark ran.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Environment {
    /// Version of rareclip.
    pub version: String,
    /// Operating system and processor architecture.
    pub platform: String,
    /// The processor as the system names it.
    pub processor: Option<String>,
    /// Cores that the process may use.
    pub cores: usize,
    /// Memory of the machine in bytes.
    pub memory_bytes: Option<u64>,
}

impl Environment {
    /// This machine.
    pub fn here() -> Self {
        let lines = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
        };
        let memory = value(&lines("/proc/meminfo"), "MemTotal");
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processor: value(&lines("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory
                .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
                .map(|kib| kib * 1024),
        }
    }
}

/// One detector on one category with one seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// What decides the result; a run is taken over only under the same.
    pub fingerprint: String,
    /// Label of the detector.
    pub detector: String,
    /// The category.
    pub category: String,
    /// The seed.
    pub seed: u64,
    /// Known normals shown first.
    pub shots: usize,
    /// The images in stream order.
    pub images: Vec<ImageResult>,
    /// Metrics of the image scores; absent without labels.
    pub image: Option<ImageMetrics>,
    /// 95 % bootstrap interval of the image AUROC.
    pub image_auroc_interval: Option<Interval>,
    /// Metrics of the maps; absent without masks.
    pub pixel: Option<PixelMetrics>,
    /// Overlap with defects that saturate; absent where the data set does not say at which area
    /// they do (all but MVTec LOCO).
    #[serde(default)]
    pub spro: Option<SproMetrics>,
    /// Milliseconds an image per stage, in the order an image goes through them.
    pub stages: Vec<StageTime>,
    /// Milliseconds that learning from the known normals took, without their features.
    pub fit_ms: f64,
    /// Peak resident memory of the process during the run in bytes, features read from the cache;
    /// Linux only.
    pub peak_bytes: Option<u64>,
    /// Bytes that the bank held at the end.
    pub bank_bytes: Option<u64>,
    /// What the bank's index found of what an exact one finds, over sampled patches of up to 20
    /// images; absent where it is exact.
    #[serde(default)]
    pub recall: Option<Recall>,
}

impl Run {
    /// Milliseconds an image, all stages together.
    pub fn ms_per_image(&self) -> f64 {
        self.stages.iter().map(|stage| stage.ms).sum()
    }
}

/// Time in one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// decode, backbone, prompt, bank or scorer.
    pub stage: String,
    /// Milliseconds an image.
    pub ms: f64,
}

impl StageTime {
    /// The stages that took any time, with milliseconds for each of `images`.
    pub(crate) fn all(times: &StageTimes, images: usize) -> Vec<Self> {
        let all = times.mean_ms(images as u64);
        all.map(|(stage, ms)| Self {
            stage: stage.name().to_owned(),
            ms,
        })
        .collect()
    }
}

/// One image of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageResult {
    /// Path relative to the root of the data set.
    pub id: String,
    /// `true` = anomalous; absent where it is not known.
    pub label: Option<bool>,
    /// The class of the defect, or `good`.
    pub defect: String,
    /// The score.
    pub score: f32,
    /// The score before re-scoring.
    pub raw_score: f32,
}
