//! The keys of a config, and the configs that are built in.

use rareclip_core::{DetectorConfig, Slot};
use serde_json::Value;

use super::components::{configs, option_table, slot_title};
use super::markdown::{Table, code};
use super::page::Page;
use crate::builtin::CONFIGS;
use crate::options;

pub(super) fn page() -> anyhow::Result<Page> {
    let schema = DetectorConfig::schema();
    let mut text = String::from("# Keys of a config\n\n");
    text.push_str(
        "How layers are put together, and what the environment sets: [Configuration](../configuration.md).\n\n",
    );
    text.push_str(schema["description"].as_str().unwrap_or_default());
    text.push_str("\n\n");
    text.push_str(&keys(schema));
    text.push_str(
        "A table chooses a component by its `type`; the other keys of the table are the [component's options](../components/index.md). \
         Keys that no component knows are refused.\n\n",
    );
    text.push_str("## `[calibration]`\n\n");
    text.push_str(&calibration(&schema["properties"]["calibration"]));
    text.push_str("## Built-in configs\n\n");
    text.push_str(&built_in()?);
    Ok(Page::new("reference/config.md", &text))
}

fn keys(schema: &Value) -> String {
    let mut table = Table::new(&["key", "type", "meaning"]);
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, option) in schema["properties"].as_object().into_iter().flatten() {
        let slot = Slot::ALL.into_iter().find(|slot| slot.name() == name);
        let (key, kind) = match slot {
            Some(slot) => (
                format!("[{name}]"),
                format!(
                    "[{}](../components/index.md#{})",
                    slot_title(slot),
                    slug(slot)
                ),
            ),
            None if name == "calibration" => {
                (format!("[{name}]"), "[table](#calibration)".to_owned())
            }
            None => (name.clone(), options::kind(option)),
        };
        let mut meaning = options::meaning(option);
        if required.contains(&name.as_str()) {
            meaning.push_str(" Required.");
        }
        table.row(&[code(&key), kind, meaning]);
    }
    table.finish()
}

/// The anchor of a slot in the list of components.
fn slug(slot: Slot) -> String {
    slot_title(slot).to_lowercase().replace(' ', "-")
}

fn calibration(schema: &Value) -> String {
    let mut text = options::meaning(schema) + "\n\n";
    for form in options::alternatives(schema) {
        let Some(name) = options::tag(form) else {
            continue;
        };
        text.push_str(&format!("### `type = \"{name}\"`\n\n"));
        text.push_str(form["description"].as_str().unwrap_or_default());
        text.push_str("\n\n");
        text.push_str(&option_table(form));
    }
    text
}

fn built_in() -> anyhow::Result<String> {
    let mut table = Table::new(&["config", "what it is", "components"]);
    for ((name, text), (_, parts)) in CONFIGS.iter().zip(configs()) {
        let config: toml::Table = toml::from_str(text)?;
        let description = config.get("description").and_then(toml::Value::as_str);
        let parts: Vec<String> = parts
            .into_iter()
            .map(|(slot, name)| format!("[{slot} `{name}`](../components/{slot}/{name}.md)"))
            .collect();
        table.row(&[
            code(name),
            description.unwrap_or_default().to_owned(),
            parts.join(", "),
        ]);
    }
    Ok(table.finish())
}
