//! Whether the options of a component are documented.

use serde_json::{Map, Value};

/// What is missing in the documentation of the options of `schema`, whose defaults are `defaults`.
pub(super) fn undocumented(schema: &Value, defaults: &Value) -> Vec<String> {
    let mut missing = Vec::new();
    table(schema, Some(defaults), "", &mut missing);
    missing
}

/// The options of a table; its defaults are `defaults`, or stand beside each.
fn table(schema: &Value, defaults: Option<&Value>, path: &str, missing: &mut Vec<String>) {
    let none = Map::new();
    let required = schema["required"].as_array();
    let required = |name: &str| required.is_some_and(|all| all.iter().any(|key| key == name));
    for (name, option) in schema["properties"].as_object().unwrap_or(&none) {
        // What tells alternatives apart is described with them.
        if option.get("const").is_some() {
            continue;
        }
        let path = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        let described = option["description"].as_str();
        if described.is_none_or(|text| text.trim().is_empty()) {
            missing.push(format!("`{path}` has no description"));
        }
        let default = defaults.is_some_and(|defaults| defaults.get(name).is_some());
        // What may be null is not set unless it is.
        let default = default || option.get("default").is_some() || nullable(option);
        if !default && !required(name) {
            missing.push(format!("`{path}` has no default"));
        }
        value(option, &path, missing);
    }
}

fn nullable(schema: &Value) -> bool {
    let alternatives = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
    let among = |all: &Vec<Value>| all.iter().any(|one| one == "null" || one["type"] == "null");
    schema["type"].as_array().is_some_and(among) || alternatives.is_some_and(among)
}

/// The value of an option: numbers have a range, names are described, tables are walked.
fn value(schema: &Value, path: &str, missing: &mut Vec<String>) {
    // A component that is chosen documents its own options.
    if schema.get("x-slot").is_some() {
        return;
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if types
        .iter()
        .any(|kind| ["number", "integer"].contains(kind))
    {
        let bounds = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
        if !bounds.iter().any(|bound| schema.get(bound).is_some()) {
            missing.push(format!("`{path}` is a number without a range"));
        }
    }
    if let Some(names) = schema["enum"].as_array()
        && names.len() > 1
    {
        missing.push(format!(
            "`{path}` does not say what each of its names means"
        ));
    }
    let alternatives = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
    for alternative in alternatives.into_iter().flatten() {
        if alternative["type"] == "null" {
            continue;
        }
        let tag = match alternative.get("const") {
            Some(name) => name.as_str(),
            None => alternative["properties"]["type"]["const"].as_str(),
        };
        let described = alternative["description"].as_str();
        if let Some(tag) = tag
            && described.is_none_or(|text| text.trim().is_empty())
        {
            missing.push(format!("`{path}` does not say what \"{tag}\" means"));
        }
        let path = tag.map_or_else(|| path.to_owned(), |tag| format!("{path}.{tag}"));
        value(alternative, &path, missing);
    }
    if schema["items"].is_object() {
        value(&schema["items"], path, missing);
    }
    table(schema, schema.get("default"), path, missing);
}
