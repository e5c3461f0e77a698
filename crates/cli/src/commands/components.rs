//! `rareclip components`: what is linked in, from its own declarations.

use anyhow::bail;
use rareclip_core::Component;
use rareclip_core::registry;
use serde_json::{Value, json};

use super::{say, table};
use crate::args::ComponentsCommand;
use crate::exit::Exit;

pub(crate) fn run(command: Option<ComponentsCommand>) -> anyhow::Result<Exit> {
    match command.unwrap_or(ComponentsCommand::List { json: false }) {
        ComponentsCommand::List { json } => list(json)?,
        ComponentsCommand::Show { name, json } => show(&name, json)?,
    }
    Ok(Exit::Success)
}

fn list(as_json: bool) -> anyhow::Result<()> {
    let components = registry::components();
    if as_json {
        let list: Vec<Value> = components
            .iter()
            .map(|component| {
                json!({
                    "slot": component.slot.name(),
                    "name": component.name,
                    "package": component.package,
                    "version": component.version,
                    "summary": component.summary(),
                })
            })
            .collect();
        return say(serde_json::to_string_pretty(&list)?);
    }
    let mut rows = table(&["slot", "name", "from", "what it is"]);
    for component in components {
        rows.add_row([
            component.slot.name(),
            component.name,
            &format!("{} {}", component.package, component.version),
            &component.summary(),
        ]);
    }
    say(rows)
}

fn show(name: &str, as_json: bool) -> anyhow::Result<()> {
    let (slot, plain) = match name.split_once('/') {
        Some((slot, plain)) => (Some(slot), plain),
        None => (None, name),
    };
    let all = registry::components();
    let found: Vec<&&Component> = all
        .iter()
        .filter(|component| component.name == plain)
        .filter(|component| slot.is_none_or(|slot| slot == component.slot.name()))
        .collect();
    if found.is_empty() {
        let names = all.iter().map(|component| component.name);
        let nearest = rareclip_core::config::nearest(plain, names);
        bail!(
            "no component `{name}` is linked into this program{nearest} (see `rareclip components list`)"
        );
    }
    for component in found {
        let schema = (component.schema)();
        if as_json {
            say(serde_json::to_string_pretty(&schema)?)?;
        } else {
            describe(component, &schema)?;
        }
    }
    Ok(())
}

fn describe(component: &Component, schema: &Value) -> anyhow::Result<()> {
    say(format!(
        "{} `{}` ({} {})\n",
        component.slot, component.name, component.package, component.version
    ))?;
    if let Some(text) = schema["description"].as_str() {
        say(format!("{text}\n"))?;
    }
    let mut rows = table(&["option", "type", "default", "range", "meaning"]);
    options("", schema, &mut |name, option| {
        rows.add_row([
            name,
            &kind(option),
            &default(option),
            &range(option),
            &meaning(option),
        ]);
    });
    say(rows)
}

/// Every option of a table, with those of the tables in it: `rescoring.period`, `sampler(random).seed`.
fn options(prefix: &str, schema: &Value, row: &mut dyn FnMut(&str, &Value)) {
    for (name, option) in schema["properties"].as_object().into_iter().flatten() {
        if name == "type" && option["const"].is_string() {
            continue;
        }
        let name = format!("{prefix}{name}");
        row(&name, option);
        if option["x-slot"].is_string() {
            continue;
        }
        options(&format!("{name}."), option, row);
        let alternatives = option["oneOf"].as_array().or(option["anyOf"].as_array());
        for alternative in alternatives.into_iter().flatten() {
            if let Some(tag) = alternative["properties"]["type"]["const"].as_str() {
                options(&format!("{name}({tag})."), alternative, row);
            }
        }
    }
}

/// The type of an option in words.
fn kind(option: &Value) -> String {
    if let Some(slot) = option["x-slot"].as_str() {
        return format!("{slot} component");
    }
    if let Some(alternatives) = option["oneOf"].as_array().or(option["anyOf"].as_array()) {
        let mut names: Vec<String> = alternatives
            .iter()
            .filter(|alternative| alternative["type"] != "null")
            .map(
                |alternative| match alternative["properties"]["type"]["const"].as_str() {
                    Some(tag) => tag.to_owned(),
                    None => alternative["const"]
                        .as_str()
                        .map_or_else(|| kind(alternative), str::to_owned),
                },
            )
            .collect();
        names.dedup();
        return names.join(" | ");
    }
    if let Some(names) = option["enum"].as_array() {
        let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
        return names.join(" | ");
    }
    let word = |kind: &str| match kind {
        "integer" => "whole number".to_owned(),
        "array" => format!("list of {}", self::kind(&option["items"])),
        "object" => "table".to_owned(),
        other => other.to_owned(),
    };
    match &option["type"] {
        Value::String(name) => word(name),
        Value::Array(names) => {
            let names: Vec<String> = names
                .iter()
                .filter_map(Value::as_str)
                .filter(|name| *name != "null")
                .map(word)
                .collect();
            names.join(" or ")
        }
        _ => "any".into(),
    }
}

fn default(option: &Value) -> String {
    match option.get("default") {
        None | Some(Value::Null) => "-".into(),
        Some(Value::Object(table)) if table.contains_key("type") => {
            table["type"].as_str().unwrap_or_default().to_owned()
        }
        Some(Value::Array(items)) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(", "))
        }
        Some(Value::Object(_)) => "see below".into(),
        Some(value) => plain(value),
    }
}

/// A value as it would stand in a config. f32 defaults pass through f64: the shortest f32 is what stands in the source.
fn plain(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => number
            .as_f64()
            .map_or_else(|| number.to_string(), |value| (value as f32).to_string()),
        other => other.to_string(),
    }
}

fn range(option: &Value) -> String {
    let number = |name: &str| option[name].as_f64();
    let (low, high) = (number("minimum"), number("maximum"));
    let above = number("exclusiveMinimum").map(|low| format!("> {low}"));
    let below = number("exclusiveMaximum").map(|high| format!("< {high}"));
    if let (Some(low), Some(high)) = (low, high) {
        return format!("{low} to {high}");
    }
    let low = above.or(low.map(|low| format!("≥ {low}")));
    let high = below.or(high.map(|high| format!("≤ {high}")));
    [low, high]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

fn meaning(option: &Value) -> String {
    let mut text = option["description"]
        .as_str()
        .unwrap_or_default()
        .replace('\n', " ");
    if option["x-runtime"] == true {
        text.push_str(" (does not change scores)");
    }
    text
}
