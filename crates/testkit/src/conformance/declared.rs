//! What a component says of itself, and how it is configured.

use rareclip_core::registry::Component;
use rareclip_core::{
    BackboneFactory, MemoryBankFactory, PromptHeadFactory, ScorerFactory, Slot, VectorIndexFactory,
};
use serde_json::{Map, Value};

use super::documented::undocumented;
use super::setup::{Factory, Setup, Table, named};
use super::written::{completed, round_trip};
use crate::broken::{Broken, Held, Promise, keep, kept};

/// A component as it is declared, and the setup that is to be examined.
pub(super) struct Declared {
    pub(super) component: &'static Component,
    pub(super) setup: Setup,
}

/// Holds the declaration of the component of `setup` to what every declaration promises.
pub(super) fn examine(setup: &Setup) -> Result<(), Broken> {
    let says = "it is registered in its slot under its name, by one crate";
    let component = kept(&setup.component(), says, || setup.declaration())?;
    let declared = Declared {
        component,
        setup: setup.clone(),
    };
    keep(&setup.component(), &declared, PROMISES)
}

const PROMISES: &[Promise<Declared>] = &[
    Promise {
        says: "it says in a sentence what it is, and from which crate and version",
        holds: summary,
    },
    Promise {
        says: "every option has a description and a default, and every number a range",
        holds: documented,
    },
    Promise {
        says: "its defaults are valid, and what an empty table means",
        holds: defaults,
    },
    Promise {
        says: "an unknown key is refused by its name",
        holds: unknown_keys,
    },
    Promise {
        says: "a value of another type is refused by the name of its key",
        holds: other_types,
    },
    Promise {
        says: "its config means the same in TOML, YAML and JSON, and when every default is written out",
        holds: |declared| round_trip(&declared.setup),
    },
];

fn summary(declared: &Declared) -> Held {
    let component = declared.component;
    if component.summary().trim().is_empty() {
        return Err("its options struct has no documentation".into());
    }
    match component.package.is_empty() || component.version.is_empty() {
        true => Err("crate or version is empty".into()),
        false => Ok(()),
    }
}

fn documented(declared: &Declared) -> Held {
    let component = declared.component;
    let all = undocumented(component.schema(), &component.defaults());
    match all.is_empty() {
        true => Ok(()),
        false => Err(all.join("; ")),
    }
}

/// Reads the options struct itself, without the check of configs before it.
fn read_unchecked(slot: Slot, table: Table) -> Result<(), String> {
    fn of<T: ?Sized + Factory>(table: Table) -> Result<(), String> {
        let read = T::unchecked(table).map(drop);
        read.map_err(|error| error.to_string())
    }
    match slot {
        Slot::Backbone => of::<dyn BackboneFactory>(table),
        Slot::Prompt => of::<dyn PromptHeadFactory>(table),
        Slot::Bank => of::<dyn MemoryBankFactory>(table),
        Slot::Scorer => of::<dyn ScorerFactory>(table),
        Slot::Index => of::<dyn VectorIndexFactory>(table),
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(table) => {
            let entries = table.iter().filter(|(_, value)| !value.is_null());
            let entries = entries.map(|(key, value)| (key.clone(), without_nulls(value)));
            Value::Object(entries.collect())
        }
        other => other.clone(),
    }
}

fn defaults(declared: &Declared) -> Held {
    let Setup { slot, .. } = declared.setup;
    let component = declared.component;
    let Value::Object(defaults) = without_nulls(&component.defaults()) else {
        return Err("its defaults are no table".into());
    };
    let mut table = named(component.name);
    table.extend(defaults);
    let written = completed(slot, &table)?;
    let empty = completed(slot, &named(component.name))?;
    match written == table && empty == table {
        true => Ok(()),
        false => Err(format!(
            "{} by itself, {} read again, {} where nothing is set",
            Value::Object(table),
            Value::Object(written),
            Value::Object(empty)
        )),
    }
}

/// A key that no component has.
const UNKNOWN: &str = "unknown-to-the-testkit";

/// That `table` is refused with a message that holds `key`.
fn refused_by_name(slot: Slot, table: &Table, key: &str) -> Held {
    match completed(slot, table) {
        Ok(_) => Err(format!("`{key}` is accepted")),
        Err(message) if message.contains(key) => Ok(()),
        Err(message) => Err(format!("`{key}` is refused without its name: {message}")),
    }
}

fn unknown_keys(declared: &Declared) -> Held {
    let Setup { slot, .. } = declared.setup;
    let mut table = declared.setup.table();
    table.insert(UNKNOWN.into(), 1.into());
    refused_by_name(slot, &table, UNKNOWN)?;
    // The options themselves must, not only the check of configs before them.
    let mut options = declared.setup.table();
    let sound = read_unchecked(slot, options.clone());
    sound.map_err(|error| format!("its options cannot be read: {error}"))?;
    options.insert(UNKNOWN.into(), 1.into());
    if read_unchecked(slot, options).is_ok() {
        return Err(
            "its options struct accepts it: say `#[serde(deny_unknown_fields, default)]`".into(),
        );
    }
    let whole = completed(slot, &declared.setup.table())?;
    let schema = declared.component.schema();
    for (key, value) in &whole {
        // What goes into a free table is known to somebody else.
        let free = schema["properties"][key]["additionalProperties"] == true;
        let Value::Object(inner) = value else {
            continue;
        };
        if free {
            continue;
        }
        let mut inner = inner.clone();
        inner.insert(UNKNOWN.into(), 1.into());
        let mut table = whole.clone();
        table.insert(key.clone(), inner.into());
        refused_by_name(slot, &table, UNKNOWN).map_err(|found| format!("in `{key}` {found}"))?;
    }
    Ok(())
}

fn other_types(declared: &Declared) -> Held {
    let Setup { slot, .. } = declared.setup;
    let schema = declared.component.schema();
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    for key in properties.keys() {
        let mut table = declared.setup.table();
        // No option is a list of lists of nothing.
        table.insert(key.clone(), serde_json::json!([[[]]]));
        refused_by_name(slot, &table, key)?;
    }
    Ok(())
}
