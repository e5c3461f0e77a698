//! `rareclip keys`: who may use the service.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args as ClapArgs, Subcommand};
use rareclip_server::security::{KeyRing, Scope};

use super::output::{say, table};
use crate::exit::Exit;

/// The subcommands of `rareclip keys`. What they do holds for a running service at once.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key and print it; it is kept as a hash only and cannot be shown again.
    Add {
        /// What it is called in the list, e.g. the camera.
        name: String,
        /// `read` looks, `score` also posts images, `admin` does everything.
        #[arg(long, default_value = "score")]
        scope: Scope,
        #[command(flatten)]
        data: DataArgs,
    },
    /// The keys there are.
    List {
        #[command(flatten)]
        data: DataArgs,
    },
    /// Take a key back.
    Revoke {
        /// Its name.
        name: String,
        #[command(flatten)]
        data: DataArgs,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DataArgs {
    /// Data folder of the service.
    #[arg(short, long, value_name = "DIR", default_value = "rareclip-data")]
    data: PathBuf,
}

fn ring(data: &Path) -> anyhow::Result<KeyRing> {
    rareclip_server::make_data_folder(data)
        .with_context(|| format!("data folder {}", data.display()))?;
    Ok(KeyRing::open(data.join("keys.json"))?)
}

pub(crate) fn run(command: &KeysCommand) -> anyhow::Result<Exit> {
    match command {
        KeysCommand::Add { name, scope, data } => {
            say(ring(&data.data)?.add(name, *scope)?)?;
        }
        KeysCommand::List { data } => {
            let mut rows = table(&["NAME", "SCOPE", "MADE"]);
            for key in ring(&data.data)?.list() {
                rows.add_row([key.name, key.scope.to_string(), key.created_at]);
            }
            say(rows)?;
        }
        KeysCommand::Revoke { name, data } => {
            ring(&data.data)?.revoke(name)?;
            say(format!("{name} is revoked"))?;
        }
    }
    Ok(Exit::Success)
}
