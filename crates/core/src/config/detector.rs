//! The whole of a detector's config.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use schemars::JsonSchema;
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::ConfigError;
use super::check::check;
use crate::calibration::CalibrationConfig;
use crate::{BackboneFactory, MemoryBankFactory, PromptHeadFactory, ScorerFactory, Slot};

/// A detector: the component in each slot. A table that is missing leaves its slot empty.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectorConfig {
    /// What the detector is called in tables and reports.
    #[serde(default = "unnamed")]
    pub name: String,
    /// One sentence on what it is, with its paper.
    #[serde(default)]
    pub description: String,
    /// Images to features.
    pub backbone: Arc<dyn BackboneFactory>,
    /// Features to a prior from the text side; missing: no prior.
    #[serde(default)]
    pub prompt: Option<Arc<dyn PromptHeadFactory>>,
    /// What a stream remembers; missing: no memory.
    #[serde(default)]
    pub bank: Option<Arc<dyn MemoryBankFactory>>,
    /// Everything to a map and a score.
    pub scorer: Arc<dyn ScorerFactory>,
    /// Scores to p-values and verdicts.
    #[serde(default)]
    pub calibration: CalibrationConfig,
}

fn unnamed() -> String {
    "unnamed".into()
}

impl DetectorConfig {
    /// The JSON Schema of a config, with every component of this program.
    pub fn schema() -> &'static Value {
        static SCHEMA: OnceLock<Value> = OnceLock::new();
        SCHEMA.get_or_init(super::schema_of::<Self>)
    }

    /// The config that `value` describes. `source` names the layer that a key came from, where
    /// known.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem: the key path, what was found, what is allowed and the
    /// nearest name.
    pub fn from_value(
        value: Value,
        source: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        // The check comes first: it finds every problem, and serde loses the key path in a table
        // whose `type` is not its first key.
        check(Self::schema(), &value, "", source)?;
        serde_path_to_error::deserialize(value).map_err(|error| {
            let key = match error.path().to_string() {
                root if root == "." => String::new(),
                key => key,
            };
            let source = source(&key);
            ConfigError::single(&key, source, error.into_inner().to_string())
        })
    }

    /// The blocks (1-based) that the components read.
    pub fn blocks(&self) -> BTreeSet<usize> {
        let prompt = self.prompt.iter().flat_map(|prompt| prompt.blocks());
        let bank = self.bank.iter().flat_map(|bank| bank.blocks());
        let mut blocks: BTreeSet<usize> = self.scorer.blocks().into_iter().collect();
        blocks.extend(prompt.chain(bank));
        blocks
    }

    /// The tables of the components, by slot.
    fn tables(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut tables = Map::new();
        let mut put = |slot: Slot, table: Map<String, Value>| {
            tables.insert(slot.name().to_owned(), Value::Object(table));
        };
        put(Slot::Backbone, self.backbone.table()?);
        if let Some(prompt) = &self.prompt {
            put(Slot::Prompt, prompt.table()?);
        }
        if let Some(bank) = &self.bank {
            put(Slot::Bank, bank.table()?);
        }
        put(Slot::Scorer, self.scorer.table()?);
        Ok(tables)
    }

    /// What decides the scores: the tables of the components with every default, without options
    /// marked `x-runtime` (threads and the like). State made under one identity continues only
    /// under the same.
    ///
    /// # Errors
    /// [`ConfigError`] if the options of a component cannot be written as a table.
    pub fn identity(&self) -> Result<Value, ConfigError> {
        let mut value = Value::Object(self.tables()?);
        strip_runtime(Self::schema(), &mut value);
        Ok(value)
    }
}

/// Written by hand, because the derived one moves out of `Arc<dyn …>`.
impl PartialEq for DetectorConfig {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.description == other.description
            && *self.backbone == *other.backbone
            && self.prompt.as_deref() == other.prompt.as_deref()
            && self.bank.as_deref() == other.bank.as_deref()
            && *self.scorer == *other.scorer
            && self.calibration == other.calibration
    }
}

/// Writes every default of every component. An option that is not set is absent.
impl Serialize for DetectorConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tables = self.tables().map_err(S::Error::custom)?;
        let mut map = serializer.serialize_map(Some(3 + tables.len()))?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("description", &self.description)?;
        for (slot, table) in &tables {
            map.serialize_entry(slot, table)?;
        }
        map.serialize_entry("calibration", &self.calibration)?;
        map.end()
    }
}

/// Removes from `value` what its schema marks as without influence on results.
fn strip_runtime(schema: &Value, value: &mut Value) {
    let Value::Object(map) = value else { return };
    let schema = match schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        Some(alternatives) => {
            let chosen = alternatives.iter().find(|alternative| {
                let name = &alternative["properties"]["type"]["const"];
                name.is_null() && alternative["type"] == "object"
                    || Some(name) == map.get("type")
                    || alternative["oneOf"].is_array()
            });
            match chosen {
                Some(chosen) if chosen["oneOf"].is_array() => {
                    return strip_runtime(chosen, value);
                }
                Some(chosen) => chosen,
                None => return,
            }
        }
        None => schema,
    };
    map.retain(|key, entry| {
        let property = &schema["properties"][key];
        strip_runtime(property, entry);
        property["x-runtime"] != true
    });
}
