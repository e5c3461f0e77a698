//! The first room: images to features.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use ndarray::{ArrayView3, ArrayView4, Axis};
use rareclip_imaging::InputRecipe;

use crate::{BoxError, ComponentError, Features, Grid};

/// What a backbone declares before any image comes.
#[derive(Debug, Clone)]
pub struct BackboneSpec {
    /// How an image becomes the input tensor.
    pub input: InputRecipe,
    /// The patch grid at that input size.
    pub grid: Grid,
    /// The blocks (1-based) whose tokens it gives, with their widths.
    pub blocks: Vec<(usize, usize)>,
    /// Width of the image embedding.
    pub embedding_width: usize,
    /// What identifies the weights, e.g. their sha256: state made with other weights is refused.
    pub weights: String,
}

impl BackboneSpec {
    /// Width of the tokens of `block`, if the backbone gives that block.
    pub fn width_of(&self, block: usize) -> Option<usize> {
        self.blocks
            .iter()
            .find(|(candidate, _)| *candidate == block)
            .map(|(_, width)| *width)
    }

    /// Width of the tokens of `block`, for a component that cannot do without that block.
    ///
    /// # Errors
    /// [`ComponentError::Block`].
    pub fn width(&self, block: usize) -> Result<usize, ComponentError> {
        self.width_of(block).ok_or_else(|| ComponentError::Block {
            block,
            available: self.blocks.iter().map(|(block, _)| *block).collect(),
        })
    }

    /// Checks that `images` is `[batch, 3, side, side]`.
    ///
    /// # Errors
    /// [`ComponentError::Shape`].
    pub fn check_images(&self, images: &ArrayView4<'_, f32>) -> Result<(), ComponentError> {
        let side = self.input.side;
        match images.shape()[1..] == [3, side, side] {
            true => Ok(()),
            false => Err(ComponentError::Shape {
                what: "the images".into(),
                found: images.shape().to_vec(),
                expected: format!("[batch, 3, {side}, {side}]"),
            }),
        }
    }

    /// What the tokens and the embedding of one image take as f32, in bytes.
    pub fn feature_bytes(&self) -> u64 {
        let widths: usize = self.blocks.iter().map(|(_, width)| width).sum();
        let numbers = self.grid.patches() * widths + self.embedding_width;
        size_of::<f32>() as u64 * numbers as u64
    }
}

/// How a backbone encodes several images that it gets in one call.
///
/// A queue gives a backbone that declares `None` one image at a time, and one that declares `Exact`
/// or `Approximate` the images that wait, up to its limit. A backbone that is not faster in a batch
/// on its device declares `None`: a batch delays the answer of its first image.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub enum Batching {
    /// One image after another, each with the bits that it has alone.
    #[default]
    None,
    /// All images in one run of the engine, each with the bits that it has alone.
    Exact,
    /// All images in one run of the engine, each near to what it gives alone.
    ///
    /// Results then depend on which images arrive together: scores of a repeated run can differ.
    Approximate {
        /// Upper bound of [`Features::deviation`] between an image in a batch and the same image
        /// alone, whatever the size of the batch and its place there. Above 0, below 1.
        tolerance: f32,
    },
}

/// Turns images into [`Features`]. Shared by all streams, immutable.
///
/// The same call gives the same bits on the same machine. What an image gives in a batch, compared
/// with the same image alone, is declared by [`Backbone::batching`].
pub trait Backbone: Send + Sync {
    /// What this backbone takes and gives.
    fn spec(&self) -> &BackboneSpec;

    /// How it encodes several images in one call. The default suits a loop over the images.
    fn batching(&self) -> Batching {
        Batching::None
    }

    /// Encodes `images` `[batch, 3, side, side]`, normalised as [`BackboneSpec::input`] says.
    ///
    /// # Errors
    /// When the shape is not the declared one, or the engine fails.
    fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>, BoxError>;
}

/// The checked features of one image `[3, side, side]`.
///
/// # Errors
/// As for [`Backbone::encode`]; when it does not give the features of one image, or they are not
/// what they should be.
pub fn encode_one(
    backbone: &dyn Backbone,
    image: ArrayView3<'_, f32>,
) -> Result<Features, BoxError> {
    let mut all = backbone.encode(image.insert_axis(Axis(0)))?;
    let found = all.len();
    match all.pop() {
        Some(features) if found == 1 => {
            features.check()?;
            Ok(features)
        }
        _ => Err(ComponentError::Shape {
            what: "features of one image".into(),
            found: vec![found],
            expected: "[1]".into(),
        }
        .into()),
    }
}

/// Builds a [`Backbone`] from its options; implemented by the options struct of a plugin.
#[typetag::serde(tag = "type")]
pub trait BackboneFactory: Debug + Send + Sync {
    /// Builds the backbone so that it gives the tokens of `blocks` (1-based, ascending).
    ///
    /// # Errors
    /// When weights are missing or do not fit, or a block does not exist.
    fn build(&self, blocks: &BTreeSet<usize>) -> Result<Arc<dyn Backbone>, BoxError>;
}
