//! The command line of `rareclip config`.

use clap::{Subcommand, ValueEnum};

use crate::config_args::ConfigArgs;

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
