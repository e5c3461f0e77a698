//! `type = "clip-text"`: CLIP alone.

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
use crate::text::VisualProjection;
use crate::windows;
use crate::{Error, Result, TextOptions};

/// CLIP's own prior, without learned layers: the image's embedding, and its patch tokens put
/// through CLIP's final norm and projection, compared with what "normal" and "abnormal" look like
/// in words.
///
/// CLIP was trained to place the class token only in the joint embedding; its patch tokens land
/// there by accident, so the map of a block is weak; the backbone must give raw tokens for it
/// (`tokens = "raw"`). With `windows` the map comes from windows of the image, each seen by CLIP as
/// an image of its own (WinCLIP, CVPR 2023, section 4.2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClipTextOptions {
    /// The block whose tokens are projected, 1-based; 0 for none: every patch gets the probability
    /// of its image. Default 24, the last block of a ViT-L.
    #[schemars(range(min = 0, max = 4096))]
    pub block: usize,
    /// Sides of square windows in patches, instead of `block`: the probabilities of all windows
    /// that hold a patch are averaged harmonically, then those of all sides and of the whole image.
    /// WinCLIP: 2 and 3. The backbone must give the same windows. Default none.
    #[schemars(length(max = 64), inner(range(min = 1, max = 8191)))]
    pub windows: Vec<usize>,
    /// Factor on the cosines before the softmax. Default 100, what CLIP was trained to.
    #[schemars(range(min = 0.001, max = 1e6))]
    pub temperature: f32,
    /// The text tower and its sentences.
    pub text: TextOptions,
}

impl Default for ClipTextOptions {
    fn default() -> Self {
        Self {
            block: 24,
            windows: Vec::new(),
            temperature: 100.0,
            text: TextOptions::default(),
        }
    }
}

#[typetag::serde(name = "clip-text")]
impl PromptHeadFactory for ClipTextOptions {
    fn blocks(&self) -> Vec<usize> {
        Some(self.block)
            .filter(|block| *block > 0 && self.windows.is_empty())
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
    patches: Source,
    weights: String,
}

/// Where the map comes from.
#[derive(Debug)]
enum Source {
    /// Every patch gets the probability of its image.
    Image,
    /// Projected tokens.
    Patches(Box<Patches>),
    /// Windows of these sides.
    Windows(Vec<usize>),
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
        let checkpoint = open_model(options.text.model.as_deref())?;
        let text = TextSide::new(&checkpoint, &options.text, options.temperature, backbone)?;
        let patches = match (options.windows.as_slice(), options.block) {
            ([], 0) => Source::Image,
            ([], block) => Source::Patches(Box::new(Patches::new(&checkpoint, block, backbone)?)),
            (windows, _) => Source::Windows(windows.to_vec()),
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
            Err(Error::Checkpoint(source)) => {
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
            Source::Image => Array1::from_elem(features.grid.patches(), image),
            Source::Patches(patches) => patches.probabilities(features, &self.text)?.into(),
            Source::Windows(sides) => windows::map(features, sides, image, &self.text)?,
        };
        Ok(Prior { image, patches })
    }
}
