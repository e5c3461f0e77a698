//! A page for each component that is linked in.

use std::collections::BTreeSet;
use std::path::Path;

use rareclip_core::config::ConfigBuilder;
use rareclip_core::registry::{self, Component};
use rareclip_core::{DetectorConfig, Slot};
use serde_json::Value;

use super::markdown::{Table, code, fenced};
use super::page::{Page, written};
use crate::builtin::CONFIGS;
use crate::options;

/// The crates that are linked by a feature of `rareclip`.
const FEATURES: [(&str, &str); 3] = [
    ("rareclip-index-faiss", "faiss"),
    ("rareclip-vit-ort", "ort"),
    ("rareclip-vit-tch", "tch"),
];

/// What stands in a slot.
pub(super) const fn slot_title(slot: Slot) -> &'static str {
    match slot {
        Slot::Backbone => "Backbone",
        Slot::Prompt => "Prompt head",
        Slot::Bank => "Memory bank",
        Slot::Scorer => "Scorer",
        Slot::Index => "Vector index",
    }
}

pub(super) fn pages() -> Vec<Page> {
    let configs = configs();
    let all = registry::components().iter();
    all.map(|component| page(component, &configs)).collect()
}

fn page(component: &Component, configs: &[(&str, Parts)]) -> Page {
    let slot = component.slot;
    let schema = component.schema();
    let mut text = format!("# {} `{}`\n\n", slot_title(slot), component.name);
    let description = schema["description"].as_str().unwrap_or_default();
    text.push_str(&with_links(description));
    text.push_str(&format!("\n\n{}.\n\n", origin(component)));
    text.push_str(&format!("{}\n\n", options::reached(component)));
    text.push_str("## Options\n\n");
    let table = option_table(schema);
    match table.is_empty() {
        true => text.push_str("None.\n\n"),
        false => text.push_str(&table),
    }
    text.push_str(&forms(schema));
    text.push_str("## Example\n\n");
    text.push_str(&example(component));
    let users = users(component, configs);
    if !users.is_empty() {
        let users: Vec<String> = users.iter().map(|name| code(name)).collect();
        let configs = match users.len() {
            1 => "config",
            _ => "configs",
        };
        let users = users.join(", ");
        text.push_str(&format!("## Used by\n\nThe built-in {configs} {users}.\n"));
    }
    Page::new(format!("components/{slot}/{}.md", component.name), &text)
}

/// A description with its mentions of pages, `docs/NAME.md`, as links.
fn with_links(text: &str) -> String {
    let mut pieces = text.split("docs/");
    let mut linked = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        linked.push_str(&match piece.split_once(".md") {
            Some((name, rest)) if !name.contains(char::is_whitespace) => {
                format!("[docs/{name}.md](../../{name}.md){rest}")
            }
            _ => format!("docs/{piece}"),
        });
    }
    linked
}

/// Which crate it is from, which is also how a stale page is told from that of another program.
fn origin(component: &Component) -> String {
    let package = component.package;
    let feature = FEATURES.iter().find(|(name, _)| *name == package);
    let feature = match feature {
        Some((_, feature @ "ort")) => format!(", linked by the feature `{feature}` (default)"),
        Some((_, feature)) => format!(", linked by the feature `{feature}`"),
        None => String::new(),
    };
    format!("From the crate `{package}`{feature}")
}

/// The options of a table, one a row.
pub(super) fn option_table(schema: &Value) -> String {
    let mut table = Table::new(&["option", "type", "default", "range", "meaning"]);
    options::each(schema, &mut |name, option| {
        let default = match options::default(option) {
            words if words == options::SEE_BELOW => words,
            value => code(&value),
        };
        table.row(&[
            code(name),
            options::kind(option),
            default,
            options::range(option),
            options::meaning(option),
        ]);
    });
    table.finish()
}

/// The forms of options that have several, with what each does.
fn forms(schema: &Value) -> String {
    let mut text = String::new();
    options::each(schema, &mut |name, option| {
        if option["x-slot"].is_string() {
            return;
        }
        let mut lines = String::new();
        for form in options::alternatives(option) {
            let tag = options::tag(form).or(form["const"].as_str());
            if let (Some(tag), Some(what)) = (tag, form["description"].as_str()) {
                let what = super::markdown::one_line(what);
                lines.push_str(&format!("* `{tag}`: {what}\n"));
            }
        }
        if !lines.is_empty() {
            text.push_str(&format!("`{name}` is one of\n\n{lines}\n"));
        }
    });
    text
}

/// The table of the first built-in config that has it, or else its defaults.
fn example(component: &Component) -> String {
    let (slot, name) = (component.slot, component.name);
    for (config, text) in CONFIGS {
        let wanted = toml::from_str::<toml::Table>(text).is_ok_and(|config| {
            config.get(slot.name()).and_then(|table| table.get("type")) == Some(&name.into())
        });
        if wanted {
            let table = fenced("toml", &section(text, slot.name()));
            return format!("From the built-in config `{config}`:\n\n{table}");
        }
    }
    format!(
        "With its defaults:\n\n{}",
        fenced("toml", &defaults(component))
    )
}

/// The lines of a table of a config, with the tables in it and the comments.
fn section(config: &str, name: &str) -> String {
    let (head, inner) = (format!("[{name}]"), format!("[{name}."));
    let lines = config.lines().skip_while(|line| line.trim() != head);
    let ours = |line: &&str| !line.starts_with('[') || *line == head || line.starts_with(&inner);
    let lines: Vec<&str> = lines.take_while(ours).collect();
    lines.join("\n")
}

/// The table with every default written out.
fn defaults(component: &Component) -> String {
    let mut inner = toml::Table::new();
    if let Value::Object(values) = component.defaults() {
        inner.extend(
            values
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), as_toml(value)?))),
        );
    }
    // An index is part of a bank's table.
    let path: &[&str] = match component.slot {
        Slot::Index => &["bank", "index"],
        slot => &[slot.name()],
    };
    let nested = path.iter().rev().fold(inner, |inner, name| {
        toml::Table::from_iter([((*name).to_owned(), toml::Value::Table(inner))])
    });
    // What it is comes first, right under the head of the table.
    let text = nested.to_string();
    let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
    format!("{head}\ntype = \"{}\"\n{rest}", component.name)
}

/// A value as TOML, which has no null; an f32 as short as it stands in the source.
fn as_toml(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => (*value).into(),
        Value::String(value) => value.as_str().into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => {
                let short = (number.as_f64()? as f32).to_string();
                short.parse::<f64>().ok()?.into()
            }
        },
        Value::Array(items) => items.iter().filter_map(as_toml).collect::<Vec<_>>().into(),
        Value::Object(table) => toml::Value::Table(
            table
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), as_toml(value)?)))
                .collect(),
        ),
    })
}

/// Slot and name of components.
pub(super) type Parts = BTreeSet<(String, String)>;

/// The built-in configs in which it stands.
fn users<'a>(component: &Component, configs: &[(&'a str, Parts)]) -> Vec<&'a str> {
    let part = (component.slot.name().to_owned(), component.name.to_owned());
    configs
        .iter()
        .filter(|(_, parts)| parts.contains(&part))
        .map(|(name, _)| *name)
        .collect()
}

/// Every built-in config with its components.
pub(super) fn configs() -> Vec<(&'static str, Parts)> {
    let schema = DetectorConfig::schema();
    CONFIGS
        .iter()
        .map(|(name, text)| (*name, parts(name, text, schema)))
        .collect()
}

fn parts(name: &str, text: &str, schema: &Value) -> Parts {
    let mut found = BTreeSet::new();
    let config = ConfigBuilder::new()
        .library(CONFIGS)
        .toml(name, text)
        .and_then(|builder| builder.build());
    // A config whose components are not all linked in uses none of them.
    if let Ok(Ok(value)) = config.map(serde_json::to_value) {
        choices(schema, &value, &mut found);
    }
    found
}

fn choices(schema: &Value, value: &Value, found: &mut Parts) {
    let Some(table) = value.as_object() else {
        return;
    };
    let chosen = value["type"].as_str();
    if let (Some(slot), Some(name)) = (schema["x-slot"].as_str(), chosen) {
        found.insert((slot.to_owned(), name.to_owned()));
    }
    for form in options::alternatives(schema) {
        let tag = options::tag(form);
        if tag.is_none() || tag == chosen {
            choices(form, value, found);
        }
    }
    for (name, value) in table {
        choices(&schema["properties"][name], value, found);
    }
}

/// The components there are pages of, in `out` and in this program, by slot.
pub(super) fn list(out: &Path) -> anyhow::Result<Page> {
    let mut text = String::from(
        "# Components\n\nWhat can stand in each slot. `rareclip components list` says which of them are linked into your program,\n\
         `rareclip components show NAME` prints what stands on the page.\n",
    );
    for slot in Slot::ALL {
        text.push_str(&format!("\n## {}\n\n", slot_title(slot)));
        let mut table = Table::new(&["`type`", "what it is"]);
        for page in written(&out.join("components").join(slot.name()))? {
            let link = format!("[`{0}`]({slot}/{0}.md)", page.name);
            table.row(&[link, page.summary]);
        }
        text.push_str(table.finish().trim_end());
        text.push('\n');
    }
    Ok(Page::new("components/index.md", &text))
}

/// Pages of components that a linked crate no longer has. Those of crates that are not linked are
/// another program's.
pub(super) fn gone(out: &Path) -> anyhow::Result<Vec<String>> {
    let all = registry::components();
    let mut found = Vec::new();
    for slot in Slot::ALL {
        for page in written(&out.join("components").join(slot.name()))? {
            let linked = |component: &&Component| page.text.contains(&origin(component));
            let here = all
                .iter()
                .any(|component| component.slot == slot && component.name == page.name);
            if !here && all.iter().find(linked).is_some() {
                found.push(format!("components/{slot}/{}.md", page.name));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_a_table_that_the_config_check_accepts() {
        for component in registry::components() {
            let text = example(component);
            let table = text
                .split_once("```toml\n")
                .and_then(|(_, rest)| rest.split_once("```"))
                .map(|(table, _)| table)
                .unwrap();
            let around = match component.slot {
                Slot::Index => "type = \"patches\"\nindex = { type = \"exact\" }",
                _ => "",
            };
            let base = format!(
                "[backbone]\ntype = \"thumbnail\"\n[bank]\n{around}\n[scorer]\ntype = \"nearest-neighbour\"\n"
            );
            let base = base.replace("[bank]\n\n", "");
            let config = ConfigBuilder::new()
                .toml("a detector around it", &base)
                .and_then(|builder| builder.toml("the example", table))
                .and_then(|builder| builder.build());
            if let Err(error) = config {
                panic!("{} {}: {error}\n{table}", component.slot, component.name);
            }
        }
    }

    #[test]
    fn an_index_is_used_by_the_configs_whose_bank_searches_with_it() {
        let exact = registry::find(Slot::Index, "exact").unwrap();
        let users = users(exact, &configs());
        assert!(users.contains(&"patchcore-dinov2"), "{users:?}");
        assert!(!users.contains(&"winclip"), "{users:?}");
    }

    /// The names in code of a cell of a Markdown table.
    fn names(cell: &str) -> BTreeSet<String> {
        let pieces = cell.split('`').skip(1).step_by(2);
        pieces.map(str::to_owned).collect()
    }

    #[test]
    fn the_page_of_methods_names_every_config_with_its_components() {
        let page = include_str!("../../../../docs/methods.md");
        let configs = configs();
        let mut seen = BTreeSet::new();
        let rows = page.lines().map(|line| line.split('|').collect::<Vec<_>>());
        for row in rows.filter(|row| row.len() == 8 && row[2].contains('`')) {
            let [prompt, bank, scorer] = [row[3], row[4], row[5]].map(names);
            for config in names(row[2]) {
                let (_, parts) = configs
                    .iter()
                    .find(|(name, _)| *name == config)
                    .unwrap_or_else(|| panic!("{config} is no built-in config"));
                for (slot, named) in [("prompt", &prompt), ("bank", &bank), ("scorer", &scorer)] {
                    let used: BTreeSet<String> = parts
                        .iter()
                        .filter(|(other, _)| other == slot)
                        .map(|(_, name)| name.clone())
                        .collect();
                    assert_eq!(&used, named, "{config}: {slot}");
                }
                seen.insert(config);
            }
        }
        let all = configs.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(seen, all);
    }

    #[test]
    fn a_page_that_a_description_names_is_linked() {
        assert_eq!(
            with_links("See docs/engines.md. Not docs/ or docs/a b.md."),
            "See [docs/engines.md](../../engines.md). Not docs/ or docs/a b.md."
        );
    }

    #[test]
    fn a_section_ends_where_another_table_begins() {
        let config = "a = 1\n[prompt]\nx = 1 # why\n\n[prompt.text]\ny = 2\n\n[bank]\nz = 3\n";
        assert_eq!(
            section(config, "prompt"),
            "[prompt]\nx = 1 # why\n\n[prompt.text]\ny = 2\n"
        );
    }
}
