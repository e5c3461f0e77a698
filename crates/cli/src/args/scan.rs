//! The command line of `rareclip scan`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args as ClapArgs;

use super::policy::PolicyArgs;
use crate::config_args::ConfigArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct ScanArgs {
    /// Images, folders (walked recursively, natural order), globs, or `-` for a list on stdin.
    #[arg(required = true, value_name = "IMAGES")]
    pub(crate) images: Vec<String>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Folder that relative paths start from and that names in the results are relative to.
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Shuffle the images as the paper's code does with this seed.
    #[arg(long, value_name = "SEED", conflicts_with = "watch")]
    pub(crate) shuffle: Option<u64>,
    /// Known normal images, remembered before the first is scored (k-shot): files, folders or
    /// globs.
    #[arg(long, value_name = "IMAGES")]
    pub(crate) normals: Vec<String>,
    /// How many of the normals to use, the first in order (with --shuffle: in shuffled order).
    #[arg(long, value_name = "K", requires = "normals")]
    pub(crate) shots: Option<usize>,
    /// Score only; remember nothing but scores for the calibration.
    #[arg(long)]
    pub(crate) freeze: bool,
    /// Keep watching the folder for new images until stopped.
    #[arg(long)]
    pub(crate) watch: bool,
    /// With --watch: stop when nothing new has come for so many seconds.
    #[arg(long, value_name = "SECONDS", requires = "watch")]
    pub(crate) watch_idle: Option<f64>,
    /// Load the stream's state from this file if it is there, and save it there.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Save the state every so many images (and at the end).
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) save_every: u64,
    /// The state file belongs to an unfinished run over other images: leave that run and go on with
    /// these.
    #[arg(long, requires = "state")]
    pub(crate) new_run: bool,
    /// Write results.jsonl, results.csv, heatmaps, overlays and report.html into this folder.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Replace the results that are in the folder already.
    #[arg(long, requires = "out")]
    pub(crate) overwrite: bool,
    /// Also write every map as raw f32 (.npy).
    #[arg(long, requires = "out")]
    pub(crate) maps: bool,
    /// Write no heatmaps and overlays.
    #[arg(long, requires = "out")]
    pub(crate) no_pictures: bool,
    /// Colour scale of heatmaps: `calibrated` (the threshold is the middle colour), `per-image`, or
    /// LOW..HIGH.
    #[arg(long, value_name = "SCALE", default_value = "calibrated")]
    pub(crate) map_scale: MapScaleArg,
    /// Highest-scored images shown with a picture in the report.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) report_images: usize,
    /// Print results as JSON lines on stdout.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print time and peak memory of each stage; stages then run one after another.
    #[arg(long)]
    pub(crate) timings: bool,
    /// End with exit code 4 if an image is anomalous.
    #[arg(long)]
    pub(crate) fail_on_anomaly: bool,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// Largest image side in pixels.
    #[arg(long, value_name = "PIXELS")]
    pub(crate) max_side: Option<u32>,
}

/// How heatmaps are coloured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum MapScaleArg {
    Calibrated,
    PerImage,
    Fixed(f32, f32),
}

impl FromStr for MapScaleArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "calibrated" => Ok(Self::Calibrated),
            "per-image" => Ok(Self::PerImage),
            range => range
                .split_once("..")
                .and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)))
                .filter(|(low, high): &(f32, f32)| {
                    low < high && low.is_finite() && high.is_finite()
                })
                .map(|(low, high)| Self::Fixed(low, high))
                .ok_or_else(|| {
                    "expected `calibrated`, `per-image` or LOW..HIGH, e.g. 0..1.5".into()
                }),
        }
    }
}
