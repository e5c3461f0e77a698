//! `rareclip components`: what is linked in, from its own declarations.

use anyhow::bail;
use rareclip_core::Component;
use rareclip_core::registry;
use serde_json::{Value, json};

use super::output::{say, table};
use crate::args::ComponentsCommand;
use crate::exit::Exit;
use crate::options;

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
                    "reaches": options::reaches(component),
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
    let found: Vec<&Component> = all
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
        let schema = component.schema();
        if as_json {
            say(serde_json::to_string_pretty(schema)?)?;
        } else {
            describe(component, schema)?;
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
    say(format!("{}\n", options::reached(component)))?;
    let mut rows = table(&["option", "type", "default", "range", "meaning"]);
    options::each(schema, &mut |name, option| {
        rows.add_row([
            name,
            &options::kind(option),
            &options::default(option),
            &options::range(option),
            &options::meaning(option),
        ]);
    });
    say(rows)
}
