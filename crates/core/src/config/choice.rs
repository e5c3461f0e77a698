//! A table of a config that names a component and carries its options.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::check::ConfigError;
use crate::registry::{self, Component, Factory, Parse, Registry, Slot};

/// A slot whose components are an open set: its factory trait, told apart by `type`.
pub trait OpenSlot {
    /// The slot.
    const SLOT: Slot;

    /// The factory of a component of this slot; `None` for one of another slot.
    fn parse(factory: Factory) -> Option<Parse<Self>>;
}

macro_rules! open_slots {
    ($($factory:ident, $slot:ident;)*) => {$(
        impl OpenSlot for dyn crate::$factory {
            const SLOT: Slot = Slot::$slot;

            fn parse(factory: Factory) -> Option<Parse<Self>> {
                match factory {
                    Factory::$slot(parse) => Some(parse),
                    _ => None,
                }
            }
        }
    )*};
}

open_slots! {
    BackboneFactory, Backbone;
    PromptHeadFactory, Prompt;
    MemoryBankFactory, Bank;
    ScorerFactory, Scorer;
    VectorIndexFactory, Index;
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

impl<T: ?Sized + OpenSlot> Choice<T> {
    /// The options of the component, with defaults filled in.
    ///
    /// # Errors
    /// [`ConfigError`] when the program has no such component or an option is wrong.
    pub fn resolve(&self) -> Result<Box<T>, ConfigError> {
        self.resolve_in(&Registry::of_program())
    }

    /// [`resolve`](Self::resolve) among the components of `registry` alone. What the options themselves choose, e.g. an index,
    /// is one of this program's.
    ///
    /// # Errors
    /// As for [`resolve`](Self::resolve).
    pub fn resolve_in(&self, registry: &Registry) -> Result<Box<T>, ConfigError> {
        let component = self.component(registry)?;
        let parse = T::parse(component.factory)
            .ok_or_else(|| wrong::<T>(format!("`{}` fits another slot", component.name)))?;
        parse(self.options()).map_err(wrong::<T>)
    }

    /// The same choice with every default of the component written out, and of those that it chooses itself.
    ///
    /// # Errors
    /// As for [`resolve`](Self::resolve).
    pub fn completed(&self) -> Result<Self, ConfigError> {
        let component = self.component(&Registry::of_program())?;
        let table = completed(component, self.options()).map_err(wrong::<T>)?;
        Ok(Self::from_table(table))
    }

    /// The component named, after a check of the whole table.
    fn component(&self, registry: &Registry) -> Result<&'static Component, ConfigError> {
        let value = Value::Object(self.table.clone());
        let schema = schema_among(T::SLOT, &registry.components_of(T::SLOT));
        super::check::check(&schema, &value, T::SLOT.name(), &|_| None)?;
        registry
            .find(T::SLOT, self.name())
            .ok_or_else(|| wrong::<T>(format!("no component `{}`", self.name())))
    }

    /// The table without `type`.
    fn options(&self) -> Value {
        let mut options = self.table.clone();
        options.remove("type");
        Value::Object(options)
    }
}

fn wrong<T: ?Sized + OpenSlot>(problem: impl fmt::Display) -> ConfigError {
    ConfigError::single(T::SLOT.name(), None, problem.to_string())
}

/// The table of a component, `type` included, with every default written out.
fn completed(component: &Component, options: Value) -> Result<Map<String, Value>, String> {
    let filled = (component.complete)(options).map_err(|error| error.to_string())?;
    let Value::Object(mut table) = filled else {
        return Err(format!("options serialise to {filled}, not to a table"));
    };
    drop_nulls(&mut table);
    let schema = (component.schema)();
    for (name, value) in &mut table {
        let slot = schema["properties"][name]["x-slot"].as_str();
        let slot = Slot::ALL.into_iter().find(|one| Some(one.name()) == slot);
        if let (Some(slot), Value::Object(inner)) = (slot, &mut *value) {
            let chosen = inner.remove("type").unwrap_or_default();
            let chosen = registry::find(slot, chosen.as_str().unwrap_or_default())
                .ok_or_else(|| format!("{name}: no {slot} component {chosen}"))?;
            *value = Value::Object(completed(chosen, Value::Object(std::mem::take(inner)))?);
        }
    }
    table.insert("type".into(), component.name.into());
    Ok(table)
}

/// An option that is not set is an absent key: TOML has no null.
fn drop_nulls(table: &mut Map<String, Value>) {
    table.retain(|_, value| !value.is_null());
    for value in table.values_mut() {
        if let Value::Object(table) = value {
            drop_nulls(table);
        }
    }
}

/// The schema of a table that chooses a component of `slot`: one alternative for each that this program has.
pub(super) fn slot_schema(slot: Slot) -> Value {
    schema_among(slot, &registry::components_of(slot))
}

fn schema_among(slot: Slot, components: &[&Component]) -> Value {
    let alternatives: Vec<Value> = components
        .iter()
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
