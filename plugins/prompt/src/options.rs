//! The options that all heads share: which text tower, and which sentences.

use ndarray::Array2;
use rareclip_checkpoints::Checkpoint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::features::{TextSource, text_features};
use crate::model::open_model;
use crate::{Activation, PromptSet, Result, TextOverrides};

/// The text side of a prompt head: the tower, and the sentences that it encodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextOptions {
    /// The checkpoint of the backbone, which holds the text tower as well: a model name of
    /// `rareclip models list`, or a path.
    pub model: Option<String>,
    /// Activation in the text tower. Default: as the config beside the checkpoint says, else
    /// "gelu". RareCLIP at 518 pixels uses "gelu" with weights that were trained with "quick-gelu".
    pub activation: Option<Activation>,
    /// Attention heads of the text tower. Default: as the config beside the checkpoint says, else
    /// one per 64 of the width.
    #[schemars(range(min = 1, max = 4096))]
    pub heads: Option<usize>,
    /// Normal states; `{}` stands for the product. Default: RareCLIP's seven.
    #[schemars(length(min = 1, max = 10_000))]
    pub normal_states: Vec<String>,
    /// Abnormal states; `{}` stands for the product. Default: RareCLIP's five.
    #[schemars(length(min = 1, max = 10_000))]
    pub abnormal_states: Vec<String>,
    /// Sentences; `{}` stands for a state. Default: RareCLIP's 35.
    #[schemars(length(min = 1, max = 10_000))]
    pub templates: Vec<String>,
    /// What the pictures show, e.g. "circuit board". Default "object" and "texture", which serve
    /// every product.
    #[schemars(length(min = 1, max = 10_000))]
    pub products: Vec<String>,
}

impl Default for TextOptions {
    fn default() -> Self {
        let prompts = PromptSet::default();
        Self {
            model: None,
            activation: None,
            heads: None,
            normal_states: prompts.normal_states,
            abnormal_states: prompts.abnormal_states,
            templates: prompts.templates,
            products: prompts.products,
        }
    }
}

impl TextOptions {
    /// The directions that these options stand for, `[embedding width, 2]`: unit columns, normal
    /// and abnormal, from the checkpoint that `model` names or from what is kept of it.
    ///
    /// # Errors
    /// When `model` is not set or not there, holds no text tower, or a sentence does not fit it.
    pub fn directions(&self) -> Result<Array2<f32>> {
        self.features_of(&open_model(self.model.as_deref())?)
    }

    pub(crate) fn features_of(&self, checkpoint: &Checkpoint) -> Result<Array2<f32>> {
        text_features(TextSource {
            checkpoint,
            overrides: self.overrides(),
            prompts: &self.prompts(),
        })
    }

    pub(crate) fn prompts(&self) -> PromptSet {
        PromptSet {
            normal_states: self.normal_states.clone(),
            abnormal_states: self.abnormal_states.clone(),
            templates: self.templates.clone(),
            products: self.products.clone(),
        }
    }

    pub(crate) fn overrides(&self) -> TextOverrides {
        TextOverrides {
            heads: self.heads,
            activation: self.activation,
        }
    }
}
