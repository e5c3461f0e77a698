//! `type = "clip-text"`: CLIP alone.

use std::sync::Arc;

use ndarray::Array1;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{BoxError, Features, Prior, PromptHead, PromptHeadFactory};
use rareclip_models::Checkpoint;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::heads::{ROWS, TextSide, compare, fingerprint, open_model, tokens_of, width_of};
use crate::text::VisualProjection;
use crate::{Activation, Error, PromptSet, Result, TextOverrides};

/// CLIP's own prior, without learned layers: the image's embedding, and its patch tokens put through CLIP's final norm and
/// projection, compared with what "normal" and "abnormal" look like in words.
///
/// CLIP was trained to place the class token only in the joint embedding; its patch tokens land there by accident, so the map is
/// weak. The backbone must give raw tokens (`tokens = "raw"`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClipTextOptions {
    /// The block whose tokens are projected, 1-based; 0 for none: every patch gets the probability of its image. Default 24, the
    /// last block of a ViT-L.
    pub block: usize,
    /// Factor on the cosines before the softmax. Default 100, what CLIP was trained to.
    #[schemars(range(min = 0.001, max = 1e6))]
    pub temperature: f32,
    /// The checkpoint of the backbone, which holds the text tower as well: a model name of `rareclip models list`, or a path.
    pub model: Option<String>,
    /// Activation in the text tower. Default: as the config beside the checkpoint says, else "gelu".
    pub activation: Option<Activation>,
    /// Attention heads of the text tower. Default: as the config beside the checkpoint says, else one per 64 of the width.
    pub text_heads: Option<usize>,
    /// Normal states; `{}` stands for the product. Default: RareCLIP's seven.
    #[schemars(length(min = 1))]
    pub normal_states: Vec<String>,
    /// Abnormal states; `{}` stands for the product. Default: RareCLIP's five.
    #[schemars(length(min = 1))]
    pub abnormal_states: Vec<String>,
    /// Sentences; `{}` stands for a state. Default: RareCLIP's 35.
    #[schemars(length(min = 1))]
    pub templates: Vec<String>,
    /// What the pictures show, e.g. "circuit board". Default "object" and "texture".
    #[schemars(length(min = 1))]
    pub products: Vec<String>,
}

impl Default for ClipTextOptions {
    fn default() -> Self {
        let prompts = PromptSet::default();
        Self {
            block: 24,
            temperature: 100.0,
            model: None,
            activation: None,
            text_heads: None,
            normal_states: prompts.normal_states,
            abnormal_states: prompts.abnormal_states,
            templates: prompts.templates,
            products: prompts.products,
        }
    }
}

impl ClipTextOptions {
    fn prompts(&self) -> PromptSet {
        PromptSet {
            normal_states: self.normal_states.clone(),
            abnormal_states: self.abnormal_states.clone(),
            templates: self.templates.clone(),
            products: self.products.clone(),
        }
    }
}

impl PromptHeadFactory for ClipTextOptions {
    fn blocks(&self) -> Vec<usize> {
        Some(self.block)
            .filter(|block| *block > 0)
            .into_iter()
            .collect()
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Arc<dyn PromptHead>, BoxError> {
        Ok(Arc::new(ClipText::new(self, backbone)?))
    }
}

/// The head.
#[derive(Debug)]
struct ClipText {
    text: TextSide,
    patches: Option<Patches>,
    weights: String,
}

/// How patches get into the joint embedding.
#[derive(Debug)]
struct Patches {
    block: usize,
    width: usize,
    projection: VisualProjection,
}

impl ClipText {
    fn new(options: &ClipTextOptions, backbone: &BackboneSpec) -> Result<Self> {
        let checkpoint = open_model(options.model.as_deref())?;
        let overrides = TextOverrides {
            heads: options.text_heads,
            activation: options.activation,
        };
        let text = TextSide::new(
            &checkpoint,
            overrides,
            &options.prompts(),
            options.temperature,
            backbone,
        )?;
        let patches = match options.block {
            0 => None,
            block => Some(Patches::new(&checkpoint, block, backbone)?),
        };
        compare(&checkpoint, backbone);
        // The checkpoint stands for the projection, the directions for the sentences.
        let weights = format!("{} {}", checkpoint.sha256(), fingerprint(text.directions()));
        Ok(Self {
            text,
            patches,
            weights,
        })
    }
}

impl Patches {
    fn new(checkpoint: &Checkpoint, block: usize, backbone: &BackboneSpec) -> Result<Self> {
        let width = width_of(backbone, block)?;
        let projection = match VisualProjection::new(checkpoint, width) {
            Err(Error::Model(source)) => {
                return Err(Error::NoProjection {
                    path: checkpoint.path().to_owned(),
                    source,
                });
            }
            other => other?,
        };
        if projection.embedding_width() != backbone.embedding_width {
            return Err(Error::Width {
                backbone: backbone.embedding_width,
                text: projection.embedding_width(),
                model: checkpoint.path().display().to_string(),
            });
        }
        Ok(Self {
            block,
            width,
            projection,
        })
    }

    /// The probability of every patch.
    fn probabilities(&self, features: &Features, text: &TextSide) -> Result<Vec<f32>> {
        let tokens = tokens_of(features, self.block, self.width)?;
        let tokens = tokens
            .as_standard_layout()
            .into_owned()
            .into_raw_vec_and_offset()
            .0;
        let parts: Vec<Vec<f32>> = tokens
            .par_chunks(ROWS * self.width)
            .map(|tokens| {
                let projected = self.projection.project(tokens);
                let rows = projected.chunks_exact(text.width());
                rows.map(|row| text.probability(row, "a projected patch"))
                    .collect()
            })
            .collect::<Result<_>>()?;
        Ok(parts.concat())
    }
}

impl PromptHead for ClipText {
    fn weights(&self) -> &str {
        &self.weights
    }

    fn prior(&self, features: &Features) -> Result<Prior, BoxError> {
        let image = self.text.image(features)?;
        let patches = match &self.patches {
            Some(patches) => patches.probabilities(features, &self.text)?.into(),
            None => Array1::from_elem(features.grid.patches(), image),
        };
        Ok(Prior { image, patches })
    }
}
