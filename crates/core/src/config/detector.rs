//! The whole of a detector's config.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Choice, ConfigError};
use crate::calibration::CalibrationConfig;
use crate::{BackboneFactory, MemoryBankFactory, PromptHeadFactory, ScorerFactory};

/// A detector: the component in each slot. A table that is missing leaves its slot empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectorConfig {
    /// What the detector is called in tables and reports.
    #[serde(default = "unnamed")]
    pub name: String,
    /// One sentence on what it is, with its paper.
    #[serde(default)]
    pub description: String,
    /// Images to features.
    pub backbone: Choice<dyn BackboneFactory>,
    /// Features to a prior from the text side; missing: no prior.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Choice<dyn PromptHeadFactory>>,
    /// What a stream remembers; missing: no memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank: Option<Choice<dyn MemoryBankFactory>>,
    /// Everything to a map and a score.
    pub scorer: Choice<dyn ScorerFactory>,
    /// Scores to p-values and verdicts.
    #[serde(default)]
    pub calibration: CalibrationConfig,
}

fn unnamed() -> String {
    "unnamed".into()
}

impl DetectorConfig {
    /// The same config with every default of every component written out.
    ///
    /// # Errors
    /// [`ConfigError`] when a component is unknown or an option is wrong.
    pub fn resolved(&self) -> Result<Self, ConfigError> {
        let prompt = self.prompt.as_ref().map(Choice::completed);
        let bank = self.bank.as_ref().map(Choice::completed);
        Ok(Self {
            backbone: self.backbone.completed()?,
            prompt: prompt.transpose()?,
            bank: bank.transpose()?,
            scorer: self.scorer.completed()?,
            ..self.clone()
        })
    }

    /// The blocks (1-based) that the components read.
    ///
    /// # Errors
    /// As for [`resolved`](Self::resolved).
    pub fn blocks(&self) -> Result<BTreeSet<usize>, ConfigError> {
        let mut blocks: BTreeSet<usize> = self.scorer.resolve()?.blocks().into_iter().collect();
        if let Some(prompt) = &self.prompt {
            blocks.extend(prompt.resolve()?.blocks());
        }
        if let Some(bank) = &self.bank {
            blocks.extend(bank.resolve()?.blocks());
        }
        Ok(blocks)
    }

    /// What decides the scores: the resolved config without names, calibration and options marked
    /// `x-runtime` (threads and the like). State made under one identity continues only under the same.
    ///
    /// # Errors
    /// As for [`resolved`](Self::resolved).
    pub fn identity(&self) -> Result<Value, ConfigError> {
        let resolved = self.resolved()?;
        let mut value = serde_json::to_value(&resolved)
            .map_err(|error| ConfigError::single("", None, error.to_string()))?;
        if let Value::Object(map) = &mut value {
            for key in ["name", "description", "calibration"] {
                map.remove(key);
            }
        }
        let schema = super::schema_of::<Self>();
        strip_runtime(&schema, &mut value);
        Ok(value)
    }
}

/// Removes from `value` what its schema marks as not touching results.
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
