//! The configs that come with the program, and where a config is looked for.

use std::path::Path;

use anyhow::{Context, bail};
use rareclip_core::DetectorConfig;
use rareclip_core::config::ConfigBuilder;

use crate::args::ConfigArgs;

/// The configs of the `configs` folder, by name.
pub(crate) const CONFIGS: &[(&str, &str)] = &[
    ("rareclip", include_str!("../../../configs/rareclip.toml")),
    (
        "rarity-dinov2",
        include_str!("../../../configs/rarity-dinov2.toml"),
    ),
    (
        "rarity-direct-dinov2",
        include_str!("../../../configs/rarity-direct-dinov2.toml"),
    ),
];

/// The detector's config from `--config`, the environment, `--set` and shorthand flags, in this order.
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
