//! The arguments that say which config is used.

use clap::Args as ClapArgs;

/// Which detector.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct ConfigArgs {
    /// A config file (.toml, .yaml, .json) or the name of a built-in config.
    #[arg(short, long, value_name = "FILE|NAME", default_value = "rarity-dinov2")]
    pub(crate) config: String,
    /// Change one key of the config, e.g. `--set bank.capacity=2`; may be given often.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}
