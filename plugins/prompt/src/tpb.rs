//! `type = "tpb"`: RareCLIP's text-patch bridge.

use std::sync::Arc;

use ndarray::Array1;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{BoxError, Features, Prior, PromptHead, PromptHeadFactory};
use rareclip_models::Checkpoint;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::heads::{ROWS, TextSide, compare, fingerprint, open_model, tokens_of, width_of};
use crate::{Error, Result, TextOptions, product};

/// What the released weights put before every key.
const PREFIX: &str = "trainable_linearlayer.";

/// RareCLIP's prior: patches brought to the text embedding by one learned linear layer per block, then compared with what
/// "normal" and "abnormal" look like in words.
///
/// The image's probability comes from its embedding alone (ICCV 2025, section 3.1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TpbOptions {
    /// The linear layers: a path (.safetensors, .pth) or a name of `rareclip models list`, with `fc.0.weight` [embedding, width],
    /// `fc.0.bias`, `fc.1.weight` and so on, in the order of `blocks`.
    pub weights: Option<String>,
    /// Blocks whose tokens are read, 1-based (paper: L_text). Default 12, 16, 20, 24 of a ViT-L.
    #[schemars(length(min = 1), inner(range(min = 1)))]
    pub blocks: Vec<usize>,
    /// Factor on the cosines before the softmax (paper: tau). Default 20.
    #[schemars(range(min = 0.001, max = 1e6))]
    pub temperature: f32,
    /// The text tower and its sentences.
    pub text: TextOptions,
}

impl Default for TpbOptions {
    fn default() -> Self {
        Self {
            weights: None,
            blocks: vec![12, 16, 20, 24],
            temperature: 20.0,
            text: TextOptions::default(),
        }
    }
}

impl PromptHeadFactory for TpbOptions {
    fn blocks(&self) -> Vec<usize> {
        self.blocks.clone()
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Arc<dyn PromptHead>, BoxError> {
        Ok(Arc::new(Tpb::new(self, backbone)?))
    }
}

/// The head.
#[derive(Debug)]
struct Tpb {
    text: TextSide,
    layers: Vec<Layer>,
    weights: String,
}

/// The linear layer of a block.
#[derive(Debug)]
struct Layer {
    block: usize,
    width: usize,
    /// `[embedding width, width]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Tpb {
    fn new(options: &TpbOptions, backbone: &BackboneSpec) -> Result<Self> {
        let layers = layers(options, backbone)?;
        let checkpoint = open_model(options.text.model.as_deref())?;
        let text = TextSide::new(&checkpoint, &options.text, options.temperature, backbone)?;
        compare(&checkpoint, backbone);
        let learned = layers
            .iter()
            .flat_map(|layer| [layer.weight.as_slice(), layer.bias.as_slice()]);
        let weights = fingerprint(text.directions().into_iter().chain(learned));
        Ok(Self {
            text,
            layers,
            weights,
        })
    }
}

fn layers(options: &TpbOptions, backbone: &BackboneSpec) -> Result<Vec<Layer>> {
    if options.blocks.is_empty() {
        return Err(Error::option("blocks", "is empty; list at least one block"));
    }
    let weights = options
        .weights
        .as_deref()
        .filter(|weights| !weights.is_empty());
    let weights = weights.ok_or_else(|| {
        Error::option("weights", "is not set: name the file of the linear layers")
    })?;
    let file = Checkpoint::open(rareclip_models::resolve_model(weights)?)?;
    let prefix = if file.names().any(|name| name.starts_with(PREFIX)) {
        PREFIX
    } else {
        ""
    };
    let key = |layer: usize, part: &str| format!("{prefix}fc.{layer}.{part}");
    let count = (0..)
        .take_while(|&layer| file.contains(&key(layer, "weight")))
        .count();
    if count != options.blocks.len() && count > 0 {
        return Err(Error::Layers {
            path: file.path().to_owned(),
            layers: count,
            blocks: options.blocks.len(),
        });
    }
    let embedding = backbone.embedding_width;
    let layer = |(index, &block): (usize, &usize)| {
        let width = width_of(backbone, block)?;
        let weight = file
            .f32_shaped(&key(index, "weight"), &[embedding, width])?
            .into_owned();
        let bias = file
            .f32_shaped(&key(index, "bias"), &[embedding])?
            .into_owned();
        if !weight.iter().chain(&bias).all(|value| value.is_finite()) {
            return Err(Error::NonFinite {
                what: format!("{}: fc.{index}", file.path().display()),
                advice: "the file is damaged or the training failed",
            });
        }
        Ok(Layer {
            block,
            width,
            weight,
            bias,
        })
    };
    options.blocks.iter().enumerate().map(layer).collect()
}

impl Layer {
    /// Adds the probability of every patch to `sum`.
    fn add_to(&self, sum: &mut [f32], features: &Features, text: &TextSide) -> Result<()> {
        let tokens = tokens_of(features, self.block, self.width)?.as_standard_layout();
        let Some(tokens) = tokens.as_slice() else {
            return Ok(());
        };
        sum.par_chunks_mut(ROWS)
            .zip(tokens.par_chunks(ROWS * self.width))
            .try_for_each(|(sum, tokens)| {
                let bridged = product::linear(tokens, self.width, &self.weight, Some(&self.bias));
                let rows = bridged.chunks_exact(text.width());
                for (sum, row) in sum.iter_mut().zip(rows) {
                    *sum += text.probability(row, "a bridged patch")?;
                }
                Ok(())
            })
    }
}

impl PromptHead for Tpb {
    fn weights(&self) -> &str {
        &self.weights
    }

    fn prior(&self, features: &Features) -> Result<Prior, BoxError> {
        let mut patches = vec![0.0; features.grid.patches()];
        for layer in &self.layers {
            layer.add_to(&mut patches, features, &self.text)?;
        }
        let mean = |sum: f32| (sum / self.layers.len() as f32).clamp(0.0, 1.0);
        Ok(Prior {
            image: self.text.image(features)?,
            patches: Array1::from_iter(patches.into_iter().map(mean)),
        })
    }
}
