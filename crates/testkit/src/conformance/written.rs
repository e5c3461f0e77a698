//! A config written in every format and read again.

use std::path::Path;

use rareclip_core::config::ConfigBuilder;
use rareclip_core::{
    BackboneFactory, DetectorConfig, MemoryBankFactory, PromptHeadFactory, ScorerFactory, Slot,
    VectorIndexFactory,
};
use serde_json::Value;

use super::setup::{Factory, Setup, Table};
use crate::broken::{Held, told};

/// That the config of a detector around the component means the same in every format.
pub(super) fn round_trip(setup: &Setup) -> Held {
    let table = setup.table();
    let whole = completed(setup.slot, &table)?;
    if let Some(key) = table.keys().find(|key| !whole.contains_key(*key)) {
        return Err(format!("`{key}` is lost when its options are written"));
    }
    let config = setup.config()?;
    let identity = config.identity().map_err(told("reading its config"))?;
    let folder = tempfile::tempdir().map_err(told("making a folder"))?;
    let short = setup.value();
    let written = serde_json::to_value(&config).map_err(told("writing its config"))?;
    for value in [short, written] {
        for (format, text) in [
            (
                "toml",
                toml::to_string(&value).map_err(told("writing TOML"))?,
            ),
            ("yaml", yaml(&value)),
            ("json", value.to_string()),
        ] {
            let path = folder.path().join(format!("detector.{format}"));
            std::fs::write(&path, &text).map_err(told("writing a file"))?;
            let read = read(&path).map_err(|error| format!("{error}\n{text}"))?;
            if read != config {
                return Err(format!("it is another component in {format}:\n{text}"));
            }
            if read.identity().map_err(told("reading its config"))? != identity {
                return Err(format!("it has another identity in {format}:\n{text}"));
            }
        }
    }
    Ok(())
}

/// `table` checked and with every default, or the message that refuses it.
pub(super) fn completed(slot: Slot, table: &Table) -> Result<Table, String> {
    fn of<T: ?Sized + Factory>(table: &Table) -> Result<Table, String> {
        let options = T::of_table(table.clone());
        let table = options.and_then(|options| options.to_table());
        table.map_err(|error| error.to_string())
    }
    match slot {
        Slot::Backbone => of::<dyn BackboneFactory>(table),
        Slot::Prompt => of::<dyn PromptHeadFactory>(table),
        Slot::Bank => of::<dyn MemoryBankFactory>(table),
        Slot::Scorer => of::<dyn ScorerFactory>(table),
        Slot::Index => of::<dyn VectorIndexFactory>(table),
    }
}

fn read(path: &Path) -> Result<DetectorConfig, rareclip_core::ConfigError> {
    ConfigBuilder::new().file(path)?.build()
}

/// A table in YAML's block style; lists and strings are as in JSON, which YAML contains.
fn yaml(value: &Value) -> String {
    fn block(value: &Value, indent: usize, text: &mut String) {
        let Value::Object(table) = value else {
            return;
        };
        for (key, value) in table {
            text.push_str(&" ".repeat(indent));
            text.push_str(&format!("{}:", Value::from(key.as_str())));
            match value {
                Value::Object(inner) if !inner.is_empty() => {
                    text.push('\n');
                    block(value, indent + 2, text);
                }
                _ => text.push_str(&format!(" {value}\n")),
            }
        }
    }
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}
