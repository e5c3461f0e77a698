//! Checks a config against a schema, so that every message names the source, the key path and the
//! way out.
//!
//! `serde` loses the key path in a table told apart by `type`, and a general JSON Schema validator
//! says no more of one than that none of the alternatives fits; users deserve to be told which key,
//! and what to write instead.

use std::fmt;

use serde_json::{Map, Value};

/// Everything that is wrong with a config.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct ConfigError {
    /// The problems, in the order of the config's keys.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The file, environment or flag it came from, where known.
    pub source: Option<String>,
    /// The dotted path of the key; empty for the whole.
    pub key: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl ConfigError {
    /// One problem.
    pub fn single(key: &str, source: Option<String>, message: String) -> Self {
        Self {
            problems: vec![Problem {
                source,
                key: key.to_owned(),
                message,
            }],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid configuration")?;
        for problem in &self.problems {
            write!(f, "\n  ")?;
            if let Some(source) = &problem.source {
                write!(f, "{source}: ")?;
            }
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            write!(f, "{}", problem.message)?;
        }
        Ok(())
    }
}

/// Checks `value`, which stands at `key`, against `schema`; `source` tells which layer a key came
/// from.
///
/// # Errors
/// [`ConfigError`] with every problem.
pub(super) fn check(
    schema: &Value,
    value: &Value,
    key: &str,
    source: &dyn Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    let mut checker = Checker {
        problems: Vec::new(),
        source,
    };
    checker.walk(schema, value, key);
    if checker.problems.is_empty() {
        Ok(())
    } else {
        Err(ConfigError {
            problems: checker.problems,
        })
    }
}

struct Checker<'a> {
    problems: Vec<Problem>,
    source: &'a dyn Fn(&str) -> Option<String>,
}

impl Checker<'_> {
    fn report(&mut self, key: &str, message: String) {
        self.problems.push(Problem {
            source: (self.source)(key),
            key: key.to_owned(),
            message,
        });
    }

    fn walk(&mut self, schema: &Value, value: &Value, key: &str) {
        let alternatives = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
        if let Some(alternatives) = alternatives {
            let slot = schema["x-slot"].as_str().unwrap_or("value");
            return self.alternatives(alternatives, slot, value, key);
        }
        if let Some(expected) = schema.get("const") {
            if expected != value {
                self.report(key, format!("found {}, expected {expected}", shown(value)));
            }
            return;
        }
        if let Some(allowed) = schema["enum"].as_array() {
            let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
            return self.name(&names, value, key);
        }
        if !self.json_type(schema, value, key) {
            return;
        }
        match value {
            Value::Object(map) => self.object(schema, map, key),
            Value::Array(items) => self.array(schema, items, key),
            Value::Number(number) => self.number(schema, number.as_f64().unwrap_or(f64::NAN), key),
            _ => {}
        }
    }

    /// Tables told apart by `type`, plain names, or a value that may be absent.
    fn alternatives(&mut self, alternatives: &[Value], slot: &str, value: &Value, key: &str) {
        if alternatives.is_empty() {
            return self.report(
                key,
                format!("no {slot} component is linked into this program; link a plugin crate that has one"),
            );
        }
        let present: Vec<&Value> = alternatives
            .iter()
            .filter(|a| a["type"] != "null")
            .collect();
        if present.len() < alternatives.len() && value.is_null() {
            return;
        }
        if let [only] = present.as_slice()
            && only["properties"]["type"]["const"].is_null()
        {
            return self.walk(only, value, key);
        }
        let tag = |a: &Value| a["properties"]["type"]["const"].as_str().map(str::to_owned);
        let tags: Vec<String> = present.iter().filter_map(|a| tag(a)).collect();
        if tags.is_empty() {
            let names: Vec<&str> = present
                .iter()
                .flat_map(|a| match a["enum"].as_array() {
                    Some(names) => names.iter().filter_map(Value::as_str).collect(),
                    None => a["const"].as_str().into_iter().collect::<Vec<_>>(),
                })
                .collect();
            return self.name(&names, value, key);
        }
        let Value::Object(map) = value else {
            let message = format!(
                "found {}, expected a table with a `type`, one of {}",
                shown(value),
                quoted(&tags)
            );
            return self.report(key, message);
        };
        let chosen = map.get("type").and_then(Value::as_str);
        match present
            .iter()
            .find(|a| tag(a).as_deref() == chosen && chosen.is_some())
        {
            Some(schema) => self.walk(schema, value, key),
            None => {
                let type_key = join(key, "type");
                match map.get("type") {
                    None => self.report(&type_key, format!("missing; one of {}", quoted(&tags))),
                    Some(found) => {
                        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                        self.name(&tags, found, &type_key);
                    }
                }
            }
        }
    }

    fn name(&mut self, names: &[&str], value: &Value, key: &str) {
        let found = value.as_str();
        if found.is_some_and(|found| names.contains(&found)) {
            return;
        }
        let hint = found
            .map(|found| nearest(found, names.iter().copied()))
            .unwrap_or_default();
        self.report(
            key,
            format!(
                "found {}, expected one of {}{hint}",
                shown(value),
                quoted(names)
            ),
        );
    }

    fn json_type(&mut self, schema: &Value, value: &Value, key: &str) -> bool {
        let allowed: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
            _ => return true,
        };
        let fits = allowed.iter().any(|kind| match *kind {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            _ => false,
        });
        if !fits {
            let names: Vec<&str> = allowed
                .iter()
                .filter(|kind| **kind != "null")
                .map(|kind| match *kind {
                    "boolean" => "true or false",
                    "integer" => "a whole number",
                    "number" => "a number",
                    "string" => "a string",
                    "array" => "a list",
                    _ => "a table",
                })
                .collect();
            let message = format!(
                "found {}, expected {}{}",
                shown(value),
                names.join(" or "),
                range(schema)
            );
            self.report(key, message);
        }
        fits
    }

    fn number(&mut self, schema: &Value, number: f64, key: &str) {
        let bound = |name: &str| schema[name].as_f64();
        let outside = bound("minimum").is_some_and(|low| number < low)
            || bound("exclusiveMinimum").is_some_and(|low| number <= low)
            || bound("maximum").is_some_and(|high| number > high)
            || bound("exclusiveMaximum").is_some_and(|high| number >= high)
            || !number.is_finite();
        if outside {
            self.report(
                key,
                format!("found {number}, expected a number{}", range(schema)),
            );
        }
    }

    fn array(&mut self, schema: &Value, items: &[Value], key: &str) {
        let count = items.len() as u64;
        let least = schema["minItems"].as_u64().unwrap_or(0);
        let most = schema["maxItems"].as_u64().unwrap_or(u64::MAX);
        if count < least || count > most {
            let expected = match most {
                u64::MAX => format!("at least {least}"),
                most if most == least => format!("{least}"),
                most => format!("{least} to {most}"),
            };
            self.report(key, format!("found {count} entries, expected {expected}"));
        }
        if schema["items"].is_object() {
            for (position, item) in items.iter().enumerate() {
                self.walk(&schema["items"], item, &join(key, &position.to_string()));
            }
        }
    }

    fn object(&mut self, schema: &Value, map: &Map<String, Value>, key: &str) {
        let empty = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&empty);
        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
        for (name, value) in map {
            match properties.get(name) {
                Some(property) => self.walk(property, value, &join(key, name)),
                None if schema["additionalProperties"] == false
                    || schema["properties"].is_object() =>
                {
                    let owner = match schema["title"].as_str() {
                        Some(title) if !key.is_empty() => format!(" of `{title}`"),
                        _ => String::new(),
                    };
                    let message = format!(
                        "unknown key{owner}; allowed are {}{}",
                        quoted(&names),
                        nearest(name, names.iter().copied())
                    );
                    self.report(&join(key, &shortened(name)), message);
                }
                None => {}
            }
        }
        let required = schema["required"].as_array();
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if !map.contains_key(name) {
                let about = properties
                    .get(name)
                    .and_then(|property| property["description"].as_str())
                    .map(|text| format!(" ({})", text.trim_end_matches('.')))
                    .unwrap_or_default();
                self.report(&join(key, name), format!("missing{about}"));
            }
        }
    }
}

fn join(key: &str, name: &str) -> String {
    if key.is_empty() {
        name.to_owned()
    } else {
        format!("{key}.{name}")
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "a table".into(),
        Value::Array(_) => "a list".into(),
        Value::Null => "nothing".into(),
        plain => shortened(&plain.to_string()),
    }
}

/// The longest text of a config that is repeated in a message, in characters.
const LONGEST: usize = 80;

/// Enough of a text to recognise it, without control characters.
fn shortened(text: &str) -> String {
    let mut short: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST)
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push_str("...");
    }
    short
}

fn quoted<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("`{}`", name.as_ref()))
        .collect();
    names.join(", ")
}

/// "; did you mean `x`?" where one of `names` is near enough to `found` to be a slip; empty
/// otherwise.
pub fn nearest<'a>(found: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    if found.len() > LONGEST {
        return String::new();
    }
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(found, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}

fn range(schema: &Value) -> String {
    let bound = |name: &str| schema[name].as_f64();
    let low = bound("minimum")
        .map(|low| format!("at least {low}"))
        .or(bound("exclusiveMinimum").map(|low| format!("above {low}")));
    let high = bound("maximum")
        .map(|high| format!("at most {high}"))
        .or(bound("exclusiveMaximum").map(|high| format!("below {high}")));
    match (low, high) {
        (Some(low), Some(high)) => format!(", {low} and {high}"),
        (Some(one), None) | (None, Some(one)) => format!(", {one}"),
        (None, None) => String::new(),
    }
}
