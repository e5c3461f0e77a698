//! The command line, as `--help` shows it.

mod components;
mod config;
mod datasets;
mod doctor;
mod models;
mod policy;
mod reference;
mod results;
mod scan;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

pub(crate) use components::ComponentsCommand;
pub(crate) use config::{ConfigCommand, ConfigFormat};
pub(crate) use datasets::DatasetsCommand;
pub(crate) use doctor::DoctorArgs;
pub(crate) use models::ModelsCommand;
pub(crate) use reference::ReferenceArgs;
pub(crate) use results::{CalibrateArgs, EvaluateArgs, JudgeArgs};
pub(crate) use scan::{MapScaleArg, ScanArgs};

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
    Reference(ReferenceArgs),
}
