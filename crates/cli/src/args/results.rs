//! The command lines of what works on images or results of a scan.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::policy::PolicyArgs;
use crate::config_args::ConfigArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct CalibrateArgs {
    /// Known normal images: files, folders or globs.
    #[arg(required = true, value_name = "NORMALS")]
    pub(crate) normals: Vec<String>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The stream's state. If it is there, the normals are scored against its memory, which stays
    /// as it is; if not, they are walked through as a stream and remembered.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: PathBuf,
    /// Without a state: scores left out at the start, while there is little memory [default: a
    /// quarter, at least 4].
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
    /// Where the truth is: `labels:FILE.csv` (columns image,label; label 0 or 1), or a data set,
    /// e.g. `mvtec:DIR`, `folder:DIR` (good|ok|normal, anything else anomalous),
    /// `manifest:FILE.csv` (`rareclip datasets list`).
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
