//! `type = "tpb"`: RareCLIP's text-patch bridge.

use std::sync::Arc;

use ndarray::Array1;
use rareclip_checkpoints::Checkpoint;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{BoxError, Features, Prior, PromptHead, PromptHeadFactory, typetag};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::heads::{ROWS, TextSide, compare, fingerprint, tokens_of, width_of};
use crate::model::open_model;
use crate::{Error, Result, TextOptions, product};

/// What the released weights put before every key.
const PREFIX: &str = "trainable_linearlayer.";

/// The tensor of learned directions.
const DIRECTIONS: &str = "directions";

/// RareCLIP's prior: patches brought to the text embedding by one learned linear layer per block,
/// then compared with what "normal" and "abnormal" look like in words, or with two directions that
/// were learned along with the layers.
///
/// The image's probability comes from its embedding alone (ICCV 2025, section 3.1) unless `image`
/// says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TpbOptions {
    /// The linear layers: a path (.safetensors, .pth) or a name of `rareclip models list`, with
    /// `fc.0.weight` [embedding, width], `fc.0.bias`, `fc.1.weight` and so on, in the order of
    /// `blocks`.
    pub weights: Option<String>,
    /// Blocks whose tokens are read, 1-based (paper: L_text). Default 12, 16, 20, 24 of a ViT-L.
    #[schemars(length(min = 1, max = 64), inner(range(min = 1, max = 4096)))]
    pub blocks: Vec<usize>,
    /// Factor on the cosines before the softmax (paper: tau). Default 20.
    #[schemars(range(min = 0.001, max = 1e6))]
    pub temperature: f32,
    /// What patches and image are compared with. Default "text"; "learned" needs no text tower, and
    /// weights of `rareclip train tpb` with learned directions.
    pub directions: DirectionSource,
    /// Where the image's probability comes from. Default "embedding"; with learned directions that
    /// is a number nobody trained.
    pub image: ImageProbability,
    /// The text tower and its sentences; not read where directions are learned.
    pub text: TextOptions,
}

impl Default for TpbOptions {
    fn default() -> Self {
        Self {
            weights: None,
            blocks: vec![12, 16, 20, 24],
            temperature: 20.0,
            directions: DirectionSource::default(),
            image: ImageProbability::default(),
            text: TextOptions::default(),
        }
    }
}

/// What bridged patches are compared with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DirectionSource {
    /// The text embeddings of "normal" and "abnormal".
    #[default]
    Text,
    /// The tensor `directions` [embedding, 2] in the file of the weights: for backbones without a
    /// text tower.
    Learned,
}

/// Where the probability of a whole image comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImageProbability {
    /// Its embedding, compared with the directions.
    #[default]
    Embedding,
    /// The largest probability of a patch.
    LargestPatch,
    /// The mean probability of the patches.
    MeanPatch,
}

#[typetag::serde(name = "tpb")]
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
    image: ImageProbability,
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
        let file = weights(options)?;
        let layers = layers(&file, options, backbone)?;
        let text = match options.directions {
            DirectionSource::Text => {
                let checkpoint = open_model(options.text.model.as_deref())?;
                compare(&checkpoint, backbone);
                TextSide::new(&checkpoint, &options.text, options.temperature, backbone)?
            }
            DirectionSource::Learned => learned(&file, options, backbone)?,
        };
        let learned = layers
            .iter()
            .flat_map(|layer| [layer.weight.as_slice(), layer.bias.as_slice()]);
        let weights = fingerprint(text.directions().into_iter().chain(learned));
        Ok(Self {
            text,
            layers,
            image: options.image,
            weights,
        })
    }
}

fn weights(options: &TpbOptions) -> Result<Checkpoint> {
    let weights = options
        .weights
        .as_deref()
        .filter(|weights| !weights.is_empty());
    let weights = weights.ok_or_else(|| {
        Error::option("weights", "is not set: name the file of the linear layers")
    })?;
    Ok(Checkpoint::open(rareclip_artifacts::resolve_model(
        weights,
    )?)?)
}

/// The directions that were learned along with the layers.
fn learned(file: &Checkpoint, options: &TpbOptions, backbone: &BackboneSpec) -> Result<TextSide> {
    if !file.contains(DIRECTIONS) {
        return Err(Error::NoDirections {
            path: file.path().to_owned(),
        });
    }
    let embedding = backbone.embedding_width;
    let values = file.f32_shaped(DIRECTIONS, &[embedding, 2])?;
    if !values.iter().all(|value| value.is_finite()) {
        return Err(Error::NonFinite {
            what: format!("{}: {DIRECTIONS}", file.path().display()),
            advice: "the file is damaged or the training failed",
        });
    }
    let column = |at: usize| {
        let mut column: Vec<f32> = values.iter().skip(at).step_by(2).copied().collect();
        product::normalise(&mut column);
        column
    };
    TextSide::from_directions(options.temperature, column(0), column(1))
}

fn layers(file: &Checkpoint, options: &TpbOptions, backbone: &BackboneSpec) -> Result<Vec<Layer>> {
    if options.blocks.is_empty() {
        return Err(Error::option("blocks", "is empty; list at least one block"));
    }
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
        let patches = Array1::from_iter(patches.into_iter().map(mean));
        Ok(Prior {
            image: match self.image {
                ImageProbability::Embedding => self.text.image(features)?,
                ImageProbability::LargestPatch => patches.iter().copied().fold(0.0, f32::max),
                ImageProbability::MeanPatch => patches.mean().unwrap_or(0.0),
            },
            patches,
        })
    }
}
