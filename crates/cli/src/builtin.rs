//! The configs that come with the program, and where a config is looked for.

use std::path::Path;

use anyhow::{Context, bail};
use rareclip_core::DetectorConfig;
use rareclip_core::config::ConfigBuilder;

use crate::config_args::ConfigArgs;

/// Lists files of the `configs` folder by name.
macro_rules! configs {
    ($($name:literal,)*) => {
        &[$(($name, include_str!(concat!("../../../configs/", $name, ".toml")))),*]
    };
}

/// The configs of the `configs` folder, by name.
pub(crate) const CONFIGS: &[(&str, &str)] = configs![
    "rareclip",
    "rareclip-d",
    "rareclip-int8",
    "rarity-dinov2",
    "rarity-direct-dinov2",
    "rareclip-dinov2",
    "prior-dinov2",
    "april-gan",
    "winclip",
    "winclip-few-shot",
    "musc-dinov2",
    "anomalydino",
    "patchcore-dinov2",
    "patchcore-efficientnet",
    "padim-dinov2",
    "subspacead",
    "knn-embedding",
    "baseline-brightness",
    "baseline-darkness",
    "baseline-contrast",
    "baseline-file-size",
    "baseline-random",
];

/// The detector's config from `--config`, the environment, `--set` and shorthand flags, in this
/// order.
pub(crate) fn load(args: &ConfigArgs, shorthands: &[String]) -> anyhow::Result<DetectorConfig> {
    let builder = ConfigBuilder::new().library(CONFIGS);
    let path = Path::new(&args.config);
    let builder = match CONFIGS.iter().find(|(name, _)| *name == args.config) {
        // A file of such a name has an ending: there is no doubt which is meant.
        Some((name, text)) => builder.toml(&format!("built-in config {name}"), text)?,
        None if path.is_file() => builder.file(path)?,
        None => bail!(unknown_config(&args.config)),
    };
    let mut builder = builder.env()?;
    for assignment in args.set.iter().chain(shorthands) {
        builder = builder.set(assignment)?;
    }
    builder
        .build()
        .with_context(|| format!("config {}", args.config))
}

fn unknown_config(name: &str) -> String {
    let names: Vec<&str> = CONFIGS.iter().map(|(name, _)| *name).collect();
    let nearest = rareclip_core::config::nearest(name, names.iter().copied());
    format!(
        "config {name}: no such file, and no built-in config of that name (there are {}){nearest}",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::CONFIGS;

    #[test]
    fn every_file_of_the_configs_folder_is_built_in() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        let listed = CONFIGS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(files, listed);
    }

    #[test]
    fn every_built_in_config_is_right_and_bears_the_name_of_its_file() {
        for (name, text) in CONFIGS {
            let config = rareclip_core::config::ConfigBuilder::new()
                .library(CONFIGS)
                .toml(name, text)
                .and_then(|builder| builder.build())
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(config.name, *name);
            let read = serde_json::to_value(&config).and_then(serde_json::from_value);
            assert_eq!(config, read.unwrap(), "{name}");
            assert!(!config.description.is_empty(), "{name}");
        }
    }
}
