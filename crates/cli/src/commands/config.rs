//! `rareclip config`.

use super::output::say;
use crate::args::{ConfigCommand, ConfigFormat};
use crate::builtin;
use crate::config_args::ConfigArgs;
use crate::exit::Exit;
use crate::failure::told;
use rareclip_core::DetectorConfig;

pub(crate) fn run(command: ConfigCommand) -> anyhow::Result<Exit> {
    match command {
        ConfigCommand::Check { configs, set } => {
            let mut exit = Exit::Success;
            for config in configs {
                let args = ConfigArgs {
                    config,
                    set: set.clone(),
                };
                match builtin::load(&args, &[]) {
                    Ok(found) => say(format!("{}: ok ({})", args.config, found.name))?,
                    Err(error) => {
                        eprintln!("error: {}", told(&error));
                        exit = Exit::Failure;
                    }
                }
            }
            return Ok(exit);
        }
        ConfigCommand::Show { config, format } => {
            let config = builtin::load(&config, &[])?;
            match format {
                ConfigFormat::Toml => say(toml::to_string(&config)?)?,
                ConfigFormat::Json => say(serde_json::to_string_pretty(&config)?)?,
            }
        }
        ConfigCommand::Schema => {
            say(serde_json::to_string_pretty(DetectorConfig::schema())?)?;
        }
        ConfigCommand::List => {
            for (name, _) in builtin::CONFIGS {
                let args = ConfigArgs {
                    config: (*name).to_owned(),
                    set: Vec::new(),
                };
                say(format!(
                    "{name:<24} {}",
                    builtin::load(&args, &[])?.description
                ))?;
            }
        }
    }
    Ok(Exit::Success)
}
