//! What a benchmark was made with.

use anyhow::Context;
use maud::{Markup, html};
use rareclip_bench::Benchmark;
use serde_json::Value;

use crate::shell;
use crate::text::printable;

/// Names and values of data, seeds and machine.
pub(super) fn environment(benchmark: &Benchmark) -> Vec<(String, String)> {
    let machine = &benchmark.environment;
    let unknown = || "n/a".to_owned();
    let side = match benchmark.side {
        0 => "image scores alone".to_owned(),
        side => format!("maps and masks at {side} x {side} pixels"),
    };
    let seeds: Vec<String> = benchmark.seeds.iter().map(u64::to_string).collect();
    [
        ("data set", benchmark.dataset.clone()),
        ("layout", benchmark.dataset_kind.clone()),
        ("compared", side),
        ("seeds", seeds.join(", ")),
        ("rareclip", machine.version.clone()),
        ("platform", machine.platform.clone()),
        (
            "processor",
            machine.processor.clone().unwrap_or_else(unknown),
        ),
        ("cores", machine.cores.to_string()),
        (
            "memory",
            machine.memory_bytes.map_or_else(unknown, |bytes| {
                format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
            }),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// The section of command, machine and configs.
///
/// # Errors
/// When a config cannot be written as TOML.
pub(super) fn settings(benchmark: &Benchmark) -> anyhow::Result<Markup> {
    let configs: anyhow::Result<Vec<String>> = benchmark
        .detectors
        .iter()
        .zip(&benchmark.configs)
        .map(|(name, config)| toml_of(config).with_context(|| format!("config of {name}")))
        .collect();
    let configs = benchmark.detectors.iter().zip(configs?);
    Ok(html! {
        section aria-labelledby="settings" {
            h2 id="settings" { "How this was made" }
            h3 { "Command" }
            pre.command { code { (printable(&command(&benchmark.command))) } }
            (shell::settings("Data and machine", &environment(benchmark)))
            h3 { "Resolved configurations" }
            @for (name, config) in configs { (shell::folded_code(name, &config)) }
        }
    })
}

/// The command line as a shell reads it; the program by its name, wherever it lay.
pub(super) fn command(arguments: &[String]) -> String {
    let mut words = Vec::with_capacity(arguments.len());
    for (at, argument) in arguments.iter().enumerate() {
        let name = argument.rsplit(['/', '\\']).next().unwrap_or(argument);
        words.push(quoted(if at == 0 { name } else { argument }));
    }
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:=,@%+?".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn toml_of(config: &Value) -> anyhow::Result<String> {
    Ok(toml::to_string(&without_nulls(config))?)
}

/// TOML has no null: what is not set is left out.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(table) => table
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items
            .iter()
            .filter(|item| !item.is_null())
            .map(without_nulls)
            .collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_is_quoted_where_a_shell_needs_it_and_names_no_folder_of_the_program() {
        let words = [
            "/opt/bin/rareclip",
            "bench",
            "--dataset",
            "mvtec:my data",
            "it's",
            "",
        ];
        let words = words.map(str::to_owned);
        assert_eq!(
            command(&words),
            r"rareclip bench --dataset 'mvtec:my data' 'it'\''s' ''"
        );
    }

    #[test]
    fn a_config_with_tables_and_nulls_becomes_toml() {
        let config = json!({"bank": {"type": "prototype", "index": null}, "name": "rareclip", "blocks": [6, 12]});
        let text = toml_of(&config).unwrap();
        let parsed: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(parsed["name"].as_str(), Some("rareclip"));
        assert_eq!(parsed["bank"].as_table().unwrap().len(), 1);
    }
}
