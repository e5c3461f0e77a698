//! The components of a config: factories that are read from tables and written as tables.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value};

use super::check::{self, ConfigError};
use crate::registry;
use crate::slot::Slot;
use crate::{
    BackboneFactory, MemoryBankFactory, PromptHeadFactory, ScorerFactory, VectorIndexFactory,
};

macro_rules! factories {
    ($($factory:ident, $slot:ident;)*) => {$(
        impl dyn $factory {
            /// The name of the component: its `type` in a config.
            pub fn name(&self) -> &'static str {
                self.typetag_name()
            }

            /// The table of a config that gives these options: `type` and every option, defaults
            /// included. An option that is not set is absent.
            ///
            /// # Errors
            /// [`ConfigError`] if the options cannot be written as a table.
            pub fn table(&self) -> Result<Map<String, Value>, ConfigError> {
                table_of(Slot::$slot, self)
            }

            /// The component that `table` chooses, checked against the components of this program.
            ///
            /// # Errors
            /// [`ConfigError`] if the program does not have the component, or an option is wrong.
            pub fn from_table(table: Map<String, Value>) -> Result<Arc<Self>, ConfigError> {
                let table = Value::Object(table);
                let slot = Slot::$slot.name();
                check::check(slot_schema(Slot::$slot), &table, slot, &|_| None)?;
                serde_json::from_value(table)
                    .map_err(|error| ConfigError::single(slot, None, error.to_string()))
            }
        }

        /// Equal components have equal names and options.
        impl PartialEq for dyn $factory {
            fn eq(&self, other: &Self) -> bool {
                matches!((self.table(), other.table()), (Ok(one), Ok(other)) if one == other)
            }
        }

        impl JsonSchema for dyn $factory {
            fn schema_name() -> Cow<'static, str> {
                concat!(stringify!($factory), "Table").into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                match slot_schema(Slot::$slot) {
                    Value::Object(schema) => schema.clone().into(),
                    _ => Schema::default(),
                }
            }

            fn inline_schema() -> bool {
                true
            }
        }
    )*};
}

factories! {
    BackboneFactory, Backbone;
    PromptHeadFactory, Prompt;
    MemoryBankFactory, Bank;
    ScorerFactory, Scorer;
    VectorIndexFactory, Index;
}

fn table_of<T: Serialize + ?Sized>(
    slot: Slot,
    component: &T,
) -> Result<Map<String, Value>, ConfigError> {
    let fail = |problem: String| ConfigError::single(slot.name(), None, problem);
    match serde_json::to_value(component).map_err(|error| fail(error.to_string()))? {
        Value::Object(mut table) => {
            remove_nulls(&mut table);
            Ok(table)
        }
        other => Err(fail(format!(
            "the options are written as {other}, expected a table"
        ))),
    }
}

/// An option that is not set is an absent key: TOML has no null.
fn remove_nulls(table: &mut Map<String, Value>) {
    table.retain(|_, value| !value.is_null());
    for value in table.values_mut() {
        if let Value::Object(table) = value {
            remove_nulls(table);
        }
    }
}

/// The schema of a table that chooses a component of `slot`: one alternative per component of this
/// program, which are fixed when it starts.
fn slot_schema(slot: Slot) -> &'static Value {
    static SCHEMAS: [OnceLock<Value>; Slot::ALL.len()] = [const { OnceLock::new() }; _];
    SCHEMAS[slot as usize].get_or_init(|| alternatives(slot))
}

fn alternatives(slot: Slot) -> Value {
    let alternatives: Vec<Value> = registry::components_of(slot)
        .map(|component| {
            let mut schema = component.schema().clone();
            schema["title"] = component.name.into();
            schema["properties"]["type"] = serde_json::json!({
                "const": component.name,
                "description": format!("The component, from {} {}.", component.package, component.version),
            });
            schema["required"] = serde_json::json!(["type"]);
            schema
        })
        .collect();
    serde_json::json!({ "oneOf": alternatives, "x-slot": slot.name() })
}
