//! The options of a component in words, from its JSON Schema.

use rareclip_core::Component;
use serde_json::Value;

/// Calls `row` for every option of a table, with those of the tables in it: `rescoring.period`,
/// `sampler(random).seed`.
pub(crate) fn each(schema: &Value, row: &mut dyn FnMut(&str, &Value)) {
    nested("", schema, row);
}

fn nested(prefix: &str, schema: &Value, row: &mut dyn FnMut(&str, &Value)) {
    for (name, option) in schema["properties"].as_object().into_iter().flatten() {
        if name == "type" && option["const"].is_string() {
            continue;
        }
        let name = format!("{prefix}{name}");
        row(&name, option);
        if option["x-slot"].is_string() {
            continue;
        }
        nested(&format!("{name}."), option, row);
        for alternative in alternatives(option) {
            match tag(alternative) {
                Some(tag) => nested(&format!("{name}({tag})."), alternative, row),
                // A table that may be left out.
                None => nested(&format!("{name}."), alternative, row),
            }
        }
    }
}

/// The forms a value may take; empty where there is one.
pub(crate) fn alternatives(schema: &Value) -> &[Value] {
    let forms = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
    forms.map_or(&[], Vec::as_slice)
}

/// The `type` that tells a table apart from its alternatives.
pub(crate) fn tag(schema: &Value) -> Option<&str> {
    schema["properties"]["type"]["const"].as_str()
}

/// The type of an option in words.
pub(crate) fn kind(option: &Value) -> String {
    if let Some(slot) = option["x-slot"].as_str() {
        return format!("{slot} component");
    }
    let forms = alternatives(option);
    if !forms.is_empty() {
        let mut names: Vec<String> = forms
            .iter()
            .filter(|form| form["type"] != "null")
            .map(|form| match tag(form).or(form["const"].as_str()) {
                Some(name) => name.to_owned(),
                None => kind(form),
            })
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
        "array" => match self::kind(&option["items"]).as_str() {
            kind @ ("whole number" | "number" | "string" | "table") => format!("list of {kind}s"),
            kind => format!("list of {kind}"),
        },
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

/// The default of a table, whose own options say it.
pub(crate) const SEE_BELOW: &str = "see below";

/// The default of an option as it would stand in a config; `-` where there is none.
pub(crate) fn default(option: &Value) -> String {
    match option.get("default") {
        None | Some(Value::Null) => "-".into(),
        Some(Value::Object(table)) if table.contains_key("type") => {
            table["type"].as_str().unwrap_or_default().to_owned()
        }
        Some(Value::Array(items)) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(", "))
        }
        Some(Value::Object(table)) if table.is_empty() => "{}".into(),
        Some(Value::Object(_)) => SEE_BELOW.into(),
        Some(value) => plain(value),
    }
}

/// A value as it would stand in a config. f32 defaults pass through f64: the shortest f32 is what
/// stands in the source.
fn plain(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => number
            .as_f64()
            .map_or_else(|| number.to_string(), |value| (value as f32).to_string()),
        other => other.to_string(),
    }
}

/// What a number, or each of a list, may be; empty where anything goes.
pub(crate) fn range(option: &Value) -> String {
    if option["items"].is_object() {
        let each = range(&option["items"]);
        return match each.is_empty() {
            true => each,
            false => format!("each {each}"),
        };
    }
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

/// What an option means, in its declaration's words.
pub(crate) fn meaning(option: &Value) -> String {
    let mut text = option["description"]
        .as_str()
        .unwrap_or_default()
        .replace('\n', " ");
    if option["x-runtime"] == true {
        text.push_str(" (not part of the detector's identity)");
    }
    text
}

/// What a component reaches, by name.
pub(crate) fn reaches(component: &Component) -> Vec<&'static str> {
    component.reaches.iter().map(|reach| reach.name()).collect()
}

/// What a component reaches, in a sentence.
pub(crate) fn reached(component: &Component) -> String {
    match reaches(component).as_slice() {
        [] => "Reaches nothing outside the process.".into(),
        names => format!(
            "Reaches {}: a service builds it from the config of a request only with `--allow-component {}/{}`.",
            names.join(", "),
            component.slot,
            component.name
        ),
    }
}
