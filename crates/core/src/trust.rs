//! Which components a config may choose that does not come from the operator.
//!
//! A config from a file or a flag may use every component. A config from a request, or one stored
//! by a request, may use a component only if the program trusts it, it reaches nothing outside the
//! process ([`Reach`]), and its options are numbers, names from a fixed list, or tables of those.
//! The operator may allow other components by name.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::config::{ConfigError, Problem, check_value, nearest};
use crate::registry::{self, Component};
use crate::slot::Slot;

pub use crate::reach::Reach;

/// A name that cannot be allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot allow component `{name}`: {problem}")]
pub struct UnknownComponent {
    /// The name given.
    pub name: String,
    /// Why it is not the name of a component, and the nearest name.
    pub problem: String,
}

/// The components that a config from a request may choose. The default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    components: BTreeSet<(Slot, String)>,
    allowed: BTreeSet<(Slot, String)>,
}

impl Trust {
    /// Trusts `components` as far as their declarations go: those that reach something stay
    /// refused.
    pub fn of<'a>(components: impl IntoIterator<Item = &'a Component>) -> Self {
        let named = |one: &Component| (one.slot, one.name.to_owned());
        Self {
            components: components.into_iter().map(named).collect(),
            allowed: BTreeSet::new(),
        }
    }

    /// Allows the component `SLOT/NAME` whatever it reaches, with any option.
    ///
    /// # Errors
    /// [`UnknownComponent`] if this program does not have it.
    pub fn allow(&mut self, name: &str) -> Result<(), UnknownComponent> {
        let unknown = |problem: String| UnknownComponent {
            name: name.to_owned(),
            problem,
        };
        let all = registry::components();
        let names: Vec<String> = all
            .iter()
            .map(|one| format!("{}/{}", one.slot, one.name))
            .collect();
        match names.iter().position(|known| known == name) {
            Some(at) => {
                self.allowed.insert((all[at].slot, all[at].name.to_owned()));
                Ok(())
            }
            None => Err(unknown(format!(
                "expected SLOT/NAME of a component of this program{} (see `rareclip components list`)",
                nearest(name, names.iter().map(String::as_str))
            ))),
        }
    }

    /// Whether the operator allowed the component by name.
    pub fn allows(&self, slot: Slot, name: &str) -> bool {
        self.allowed.contains(&(slot, name.to_owned()))
    }

    /// Whether the component in `table`, or one that its options choose, is allowed by name.
    pub fn allows_part_of(&self, slot: Slot, table: &Map<String, Value>) -> bool {
        let name = table
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let Some(component) = registry::find(slot, name) else {
            return false;
        };
        if self.allows(slot, name) {
            return true;
        }
        let schema = component.schema();
        table.iter().any(|(key, value)| {
            let inner = slot_of(&schema["properties"][key]);
            match (inner, value) {
                (Some(inner), Value::Object(table)) => self.allows_part_of(inner, table),
                _ => false,
            }
        })
    }

    /// Checks the table of a component, `type` included, which is at `key` in a config from a
    /// request. Builds nothing and runs no code of the component but its declaration.
    ///
    /// # Errors
    /// [`ConfigError`] that names each component and option that may not be given, and the remedy.
    pub fn check(
        &self,
        slot: Slot,
        table: &Map<String, Value>,
        key: &str,
    ) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        self.component(slot, table, key, &mut problems);
        match problems.is_empty() {
            true => Ok(()),
            false => Err(ConfigError { problems }),
        }
    }

    fn component(
        &self,
        slot: Slot,
        table: &Map<String, Value>,
        key: &str,
        problems: &mut Vec<Problem>,
    ) {
        let Some(name) = table.get("type").and_then(Value::as_str) else {
            let message = format!("missing; expected the name of a {slot} component");
            return problems.push(problem(&format!("{key}.type"), message));
        };
        let Some(component) = registry::find(slot, name) else {
            let names = registry::components_of(slot);
            let hint = nearest(name, names.map(|one| one.name));
            let name = shortened(name);
            let message = format!("this program has no {slot} component `{name}`{hint}");
            return problems.push(problem(&format!("{key}.type"), message));
        };
        let allowed = self.allows(slot, name);
        if let Some(reason) = self.refusal(component).filter(|_| !allowed) {
            return problems.push(problem(key, reason));
        }
        let schema = component.schema();
        let mut options = table.clone();
        options.remove("type");
        if let Err(error) = check_value(schema, &Value::Object(options), key) {
            return problems.extend(error.problems);
        }
        let none = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        let walk = Walk {
            trust: self,
            owner: component,
            free: allowed,
        };
        for (option, value) in table.iter().filter(|(option, _)| *option != "type") {
            let key = format!("{key}.{option}");
            match properties.get(option) {
                Some(schema) => walk.value(schema, value, &key, problems),
                // Only a component with a free table has such options.
                None if !allowed => problems.push(walk.refused(&key, "is not one of its options")),
                None => {}
            }
        }
    }

    /// Why a component may not be chosen; `None` if it may.
    fn refusal(&self, component: &Component) -> Option<String> {
        let Component { slot, name, .. } = component;
        let remedy = format!(
            "Use a detector of the service by name, choose another component, or start the service with \
             `--allow-component {slot}/{name}` if everyone who can create streams may use it"
        );
        if !self.components.contains(&(*slot, (*name).to_owned())) {
            return Some(format!(
                "a request cannot choose the {slot} `{name}`: it comes from the crate {}, which is not part of the program. {remedy}",
                component.package
            ));
        }
        let reaches: Vec<&str> = component.reaches.iter().map(|reach| reach.name()).collect();
        (!reaches.is_empty()).then(|| {
            format!(
                "a request cannot choose the {slot} `{name}`: it reaches {}. {remedy}",
                reaches.join(", ")
            )
        })
    }
}

/// A walk through the options of one component.
struct Walk<'a> {
    trust: &'a Trust,
    owner: &'a Component,
    /// Whether the operator allowed the component by name: then only the components that it chooses
    /// are checked.
    free: bool,
}

impl Walk<'_> {
    fn refused(&self, key: &str, what: &str) -> Problem {
        let Component { slot, name, .. } = self.owner;
        problem(
            key,
            format!(
                "{what}, which a request cannot set: only numbers, true or false, and names from a fixed list. Leave it out, or start \
                 the service with `--allow-component {slot}/{name}`"
            ),
        )
    }

    fn value(&self, schema: &Value, value: &Value, key: &str, problems: &mut Vec<Problem>) {
        if let Some(slot) = slot_of(schema) {
            match value {
                Value::Null => {}
                Value::Object(table) => self.trust.component(slot, table, key, problems),
                _ => problems.push(self.refused(key, "is not a table")),
            }
            return;
        }
        // The default is what the operator gets too: a request that writes it out changes nothing.
        if self.free || value.is_null() || schema.get("default") == Some(value) {
            return;
        }
        if let Some(alternatives) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
            return self.alternatives(alternatives, value, key, problems);
        }
        if let Some(constant) = schema.get("const") {
            if constant != value {
                problems.push(self.refused(key, "is not the value expected"));
            }
            return;
        }
        if let Some(names) = schema["enum"].as_array() {
            if !names.contains(value) {
                problems.push(self.refused(key, "is not one of its names"));
            }
            return;
        }
        match value {
            Value::Number(_) if typed(schema, &["number", "integer"]) => {}
            Value::Bool(_) if typed(schema, &["boolean"]) => {}
            Value::String(_) if typed(schema, &["string"]) && schema["x-text"] == "harmless" => {}
            Value::Array(items) if typed(schema, &["array"]) => {
                for (at, item) in items.iter().enumerate() {
                    let key = format!("{key}.{at}");
                    let item_schema = match &schema["prefixItems"][at] {
                        Value::Null => &schema["items"],
                        fixed => fixed,
                    };
                    self.value(item_schema, item, &key, problems);
                }
            }
            Value::Object(table) if typed(schema, &["object"]) => {
                for (name, inner) in table {
                    let key = format!("{key}.{name}");
                    match schema["properties"].get(name) {
                        Some(schema) => self.value(schema, inner, &key, problems),
                        None => problems.push(self.refused(&key, "is not one of its options")),
                    }
                }
            }
            Value::String(_) => problems.push(self.refused(key, "is free text")),
            _ => problems.push(self.refused(key, "has no declared type")),
        }
    }

    /// A value fits if one alternative takes all of it.
    fn alternatives(
        &self,
        alternatives: &[Value],
        value: &Value,
        key: &str,
        problems: &mut Vec<Problem>,
    ) {
        let mut nearest: Option<Vec<Problem>> = None;
        for alternative in alternatives {
            let mut found = Vec::new();
            match check_value(alternative, value, key) {
                Ok(()) => self.value(alternative, value, key, &mut found),
                Err(_) => continue,
            }
            if found.is_empty() {
                return;
            }
            nearest.get_or_insert(found);
        }
        problems.extend(nearest.unwrap_or_else(|| vec![self.refused(key, "fits no alternative")]));
    }
}

/// The slot whose component a value of this schema chooses, also where it may be absent.
fn slot_of(schema: &Value) -> Option<Slot> {
    let named = |schema: &Value| {
        let name = schema["x-slot"].as_str()?;
        Slot::ALL.into_iter().find(|slot| slot.name() == name)
    };
    named(schema).or_else(|| {
        let alternatives = schema["anyOf"].as_array().or(schema["oneOf"].as_array())?;
        alternatives.iter().find_map(named)
    })
}

fn typed(schema: &Value, kinds: &[&str]) -> bool {
    match &schema["type"] {
        Value::String(kind) => kinds.contains(&kind.as_str()),
        Value::Array(all) => all
            .iter()
            .filter_map(Value::as_str)
            .any(|kind| kinds.contains(&kind)),
        _ => false,
    }
}

fn problem(key: &str, message: String) -> Problem {
    Problem {
        source: None,
        key: key.to_owned(),
        message,
    }
}

/// Enough of a text to recognise it, without control characters.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 64;
    text.chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect()
}
