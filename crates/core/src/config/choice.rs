//! A table of a config that names a component and carries its options.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::check::ConfigError;
use crate::registry::{self, Slot};

/// A slot whose components are an open set: its options trait, told apart by `type`.
pub trait OpenSlot {
    /// The slot.
    const SLOT: Slot;
}

impl OpenSlot for dyn crate::backbone::BackboneConfig {
    const SLOT: Slot = Slot::Backbone;
}
impl OpenSlot for dyn crate::prompt::PromptHeadConfig {
    const SLOT: Slot = Slot::Prompt;
}
impl OpenSlot for dyn crate::bank::MemoryBankConfig {
    const SLOT: Slot = Slot::Bank;
}
impl OpenSlot for dyn crate::scorer::ScorerConfig {
    const SLOT: Slot = Slot::Scorer;
}
impl OpenSlot for dyn crate::index::VectorIndexConfig {
    const SLOT: Slot = Slot::Index;
}

/// The choice of a component by `type`, with its options: plain data until [`resolve`](Self::resolve)d.
///
/// A plugin's own options may hold one (a bank its index) without knowing the components there are.
pub struct Choice<T: ?Sized> {
    table: Map<String, Value>,
    slot: PhantomData<fn() -> Box<T>>,
}

impl<T: ?Sized> Choice<T> {
    /// The component `name` with its default options.
    pub fn named(name: &str) -> Self {
        Self::from_table(Map::from_iter([("type".to_owned(), Value::from(name))]))
    }

    /// A table as it stands in a config, with `type`.
    pub fn from_table(table: Map<String, Value>) -> Self {
        Self {
            table,
            slot: PhantomData,
        }
    }

    /// The name of the component.
    pub fn name(&self) -> &str {
        self.table
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The table, `type` included.
    pub fn table(&self) -> &Map<String, Value> {
        &self.table
    }
}

impl<T: ?Sized + OpenSlot> Choice<T>
where
    Box<T>: DeserializeOwned,
{
    /// The options of the component, with defaults filled in.
    ///
    /// # Errors
    /// [`ConfigError`] when no such component is linked in or an option is wrong.
    pub fn resolve(&self) -> Result<Box<T>, ConfigError> {
        let slot = T::SLOT;
        let value = Value::Object(self.table.clone());
        super::check::check(&slot_schema(slot), &value, slot.name(), &|_| None)?;
        serde_json::from_value(value)
            .map_err(|error| ConfigError::single(slot.name(), None, error.to_string()))
    }
}

/// The schema of a table that chooses a component of `slot`: one alternative for each that is linked in.
pub(super) fn slot_schema(slot: Slot) -> Value {
    let alternatives: Vec<Value> = registry::components_of(slot)
        .into_iter()
        .map(|component| {
            let mut schema = (component.schema)();
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

impl<T: ?Sized> Clone for Choice<T> {
    fn clone(&self) -> Self {
        Self::from_table(self.table.clone())
    }
}

impl<T: ?Sized> fmt::Debug for Choice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Value::Object(self.table.clone()))
    }
}

impl<T: ?Sized> PartialEq for Choice<T> {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table
    }
}

impl<T: ?Sized> Serialize for Choice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.table.serialize(serializer)
    }
}

impl<'de, T: ?Sized> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(Self::from_table)
    }
}

impl<T: ?Sized + OpenSlot> JsonSchema for Choice<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}-choice", T::SLOT).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        match slot_schema(T::SLOT) {
            Value::Object(schema) => schema.into(),
            _ => Schema::default(),
        }
    }

    fn inline_schema() -> bool {
        true
    }
}
