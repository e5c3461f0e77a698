//! A detector written down: layers of files, environment and command line, checked against what is
//! linked in.

mod check;
mod component;
mod detector;
mod difference;
mod layers;
mod text;

pub use check::{ConfigError, Problem, nearest};
pub use detector::DetectorConfig;
pub use difference::{Difference, differences};
pub use layers::ConfigBuilder;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::Value;

/// The JSON Schema of `T`, with every part in place (no `$ref`).
pub fn schema_of<T: JsonSchema>() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .into_generator();
    generator.root_schema_for::<T>().to_value()
}

/// Checks `value`, which stands at `key`, against a JSON Schema with every part in place (no
/// `$ref`), as a config is checked.
///
/// # Errors
/// [`ConfigError`] with every problem.
pub fn check_value(schema: &Value, value: &Value, key: &str) -> Result<(), ConfigError> {
    check::check(schema, value, key, &|_| None)
}

/// The default options of a component.
pub fn defaults_of<T: Default + Serialize>() -> Value {
    serde_json::to_value(T::default()).unwrap_or(Value::Null)
}
