//! The REST interface, from the OpenAPI document that the service answers with.

use anyhow::Context;
use serde_json::Value;

use super::markdown::{Table, code, fenced};
use super::page::Page;

/// Files of the web page say nothing to a client.
const LEFT_OUT: &str = "page";

const METHODS: [&str; 4] = ["get", "post", "put", "delete"];

pub(super) fn page() -> anyhow::Result<Page> {
    let document = rareclip_server::api::document().context("the OpenAPI document")?;
    let document: Value = serde_json::from_str(&document)?;
    let mut text = String::from("# REST\n\n");
    text.push_str(
        "The running service explains the same at `/docs`, and answers `/openapi.json` for machines. How to use it: \
         [The service](../service.md#for-the-integrator).\n\n",
    );
    text.push_str(words(&document["info"]["description"]));
    text.push_str("\n\n");
    for group in document["tags"].as_array().into_iter().flatten() {
        let name = words(&group["name"]);
        if name == LEFT_OUT {
            continue;
        }
        let mut letters = name.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        let title: String = first.into_iter().chain(letters).collect();
        text.push_str(&format!(
            "## {title}\n\n{}\n\n",
            words(&group["description"])
        ));
        operations(&document, name, &mut text);
    }
    text.push_str("## Schemas\n\n");
    let schemas = document["components"]["schemas"].as_object();
    for (name, schema) in schemas.into_iter().flatten() {
        text.push_str(&described(name, schema));
    }
    Ok(Page::new("reference/rest.md", &text))
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or_default().trim()
}

fn operations(document: &Value, group: &str, text: &mut String) {
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            let operation = &item[method];
            if operation["tags"][0] == group {
                let title = format!("{} {path}", method.to_uppercase());
                text.push_str(&format!("### `{title}`\n\n"));
                text.push_str(&explained(operation));
            }
        }
    }
}

fn explained(operation: &Value) -> String {
    let mut text = format!(
        "{}.\n\n",
        words(&operation["summary"]).trim_end_matches('.')
    );
    let description = words(&operation["description"]);
    if !description.is_empty() {
        text.push_str(&format!("{description}\n\n"));
    }
    let mut table = Table::new(&["parameter", "in", "type", "meaning"]);
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let mut meaning = words(&parameter["description"]).to_owned();
        if parameter["required"] == true && parameter["in"] != "path" {
            meaning.push_str(" Required.");
        }
        table.row(&[
            code(words(&parameter["name"])),
            words(&parameter["in"]).to_owned(),
            kind(&parameter["schema"]),
            meaning,
        ]);
    }
    text.push_str(&table.finish());
    let body = &operation["requestBody"];
    if body.is_object() {
        let about = words(&body["description"]);
        text.push_str(&format!("Body: {}. {about}\n\n", forms(&body["content"])));
    }
    let mut table = Table::new(&["status", "body", "meaning"]);
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let status = match status.as_str() {
            "default" => "else",
            status => status,
        };
        let about = words(&response["description"]).to_owned();
        table.row(&[status.to_owned(), forms(&response["content"]), about]);
    }
    text.push_str(&table.finish());
    text
}

/// Media types, each with its schema.
fn forms(content: &Value) -> String {
    let forms: Vec<String> = content
        .as_object()
        .into_iter()
        .flatten()
        .map(|(media, content)| match kind(&content["schema"]) {
            kind if kind.is_empty() => code(media),
            kind => format!("{} {kind}", code(media)),
        })
        .collect();
    forms.join(", ")
}

/// The type of a schema in words; a named one as a link.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    let forms = ["oneOf", "anyOf"].map(|key| schema[key].as_array());
    if let Some(forms) = forms.into_iter().flatten().next() {
        let mut forms: Vec<String> = forms.iter().map(kind).collect();
        // What may be null says so last.
        forms.sort_by_key(|form| form == "null");
        return forms.join(" or ");
    }
    if let Some(names) = schema["enum"].as_array() {
        let names: Vec<String> = names.iter().filter_map(Value::as_str).map(code).collect();
        return names.join(", ");
    }
    let plain = |name: &str| match name {
        "array" => format!("list of {}", kind(&schema["items"])),
        "integer" => "whole number".to_owned(),
        name => name.to_owned(),
    };
    match &schema["type"] {
        Value::String(name) => plain(name),
        Value::Array(names) => {
            let names: Vec<String> = names.iter().filter_map(Value::as_str).map(plain).collect();
            names.join(" or ")
        }
        _ => String::new(),
    }
}

/// A named schema: its fields or forms, and an example.
fn described(name: &str, schema: &Value) -> String {
    let mut text = format!("### {name}\n\n{}\n\n", words(&schema["description"]));
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let (named, own): (Vec<&Value>, Vec<&Value>) = parts.partition(|part| part["$ref"].is_string());
    for part in named {
        text.push_str(&format!("The fields of {}, and\n\n", kind(part)));
    }
    let mut fields = fields(schema);
    fields.extend(own.into_iter().map(self::fields));
    let mut lines = String::new();
    for form in schema["oneOf"].as_array().into_iter().flatten() {
        let about = words(&form["description"]).replace('\n', " ");
        lines.push_str(&format!("* {}: {about}\n", kind(form)));
    }
    match (fields.is_empty(), lines.is_empty()) {
        (false, _) => text.push_str(&fields),
        (true, false) => text.push_str(&format!("{lines}\n")),
        (true, true) => text.push_str(&format!("{}.\n\n", kind(schema))),
    }
    for example in schema["examples"].as_array().into_iter().flatten() {
        let example = serde_json::to_string_pretty(example).unwrap_or_default();
        text.push_str(&fenced("json", &example));
    }
    text
}

/// The fields of an object.
fn fields(schema: &Value) -> String {
    let required: Vec<&Value> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let mut table = Table::new(&["field", "type", "meaning"]);
    for (field, option) in schema["properties"].as_object().into_iter().flatten() {
        let mut meaning = words(&option["description"]).to_owned();
        if !required.iter().any(|name| *name == field) {
            meaning.push_str(" Optional.");
        }
        table.row(&[code(field), kind(option), meaning]);
    }
    table.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_a_client_and_every_schema_that_is_named_has_a_section() {
        let page = page().unwrap().text;
        for part in [
            "### `POST /v1/streams/{name}/images`",
            "### `GET /v1/info`",
            "### Problem",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for link in page.split("](#").skip(1) {
            let name = link.split(')').next().unwrap();
            let named = |line: &str| line.strip_prefix("### ").map(str::to_lowercase);
            assert!(
                page.lines().filter_map(named).any(|title| title == name),
                "{name}"
            );
        }
    }

    #[test]
    fn what_may_be_null_says_so_last() {
        let schema = serde_json::json!({"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Drift"}]});
        assert_eq!(kind(&schema), "[Drift](#drift) or null");
    }
}
