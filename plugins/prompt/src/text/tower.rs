//! CLIP's text tower, read from a checkpoint.

use std::borrow::Cow;

use rareclip_checkpoints::{Activation, Beside, Checkpoint, Tower};

use super::layout::{BlockKeys, Layout};
use crate::{Error, Result};

/// What the user may set over what was found in and beside the checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TextOverrides {
    /// Number of attention heads.
    pub heads: Option<usize>,
    /// Activation in the MLPs.
    pub activation: Option<Activation>,
}

/// The text tower of a CLIP checkpoint; its weights are borrowed from the file where they are
/// 32-bit floats.
#[derive(Debug)]
pub struct TextTower<'c> {
    pub(super) width: usize,
    pub(super) heads: usize,
    pub(super) activation: Activation,
    pub(super) epsilon: f32,
    /// Token table `[vocabulary, width]`.
    pub(super) tokens: Cow<'c, [f32]>,
    /// Position table `[context, width]`.
    pub(super) positions: Cow<'c, [f32]>,
    pub(super) blocks: Vec<Block<'c>>,
    pub(super) final_norm: Affine<'c>,
    /// Projection `[embedding, width]`.
    pub(super) projection: Linear<'c>,
}

/// A layer norm, `[width]` each.
#[derive(Debug)]
pub(super) struct Affine<'c> {
    pub(super) gain: Cow<'c, [f32]>,
    pub(super) offset: Cow<'c, [f32]>,
}

/// A linear layer, weight `[outer, inner]`.
#[derive(Debug)]
pub(super) struct Linear<'c> {
    pub(super) inner: usize,
    pub(super) weight: Cow<'c, [f32]>,
    pub(super) bias: Option<Cow<'c, [f32]>>,
}

#[derive(Debug)]
pub(super) struct Block<'c> {
    pub(super) norm1: Affine<'c>,
    /// Queries, keys and values in one, `[3 width, width]`.
    pub(super) joint: Linear<'c>,
    pub(super) out: Linear<'c>,
    pub(super) norm2: Affine<'c>,
    pub(super) fc1: Linear<'c>,
    pub(super) fc2: Linear<'c>,
}

impl<'c> TextTower<'c> {
    /// Reads the text tower of a checkpoint in OpenCLIP's or Hugging Face's names.
    ///
    /// Heads are those of `overrides`, else of the config beside the checkpoint, else one per 64 of
    /// the width; the activation likewise, else GELU.
    ///
    /// # Errors
    /// [`Error::NoTextTower`], [`Error::Heads`], or a tensor that is missing or of the wrong shape.
    pub fn new(checkpoint: &'c Checkpoint, overrides: TextOverrides) -> Result<Self> {
        let (layout, prefix) = Layout::detect(checkpoint)?;
        let beside = Beside::read(checkpoint.path(), Tower::Text)?;
        let reader = Reader(checkpoint);
        let key = |name: &str| format!("{prefix}{name}");
        let (_, width) = reader.matrix_shape(&key(layout.tokens()))?;
        let positions = key(layout.positions());
        let (context, _) = reader.matrix_shape(&positions)?;
        let heads = overrides
            .heads
            .or(beside.heads)
            .unwrap_or(width / 64)
            .max(1);
        if width == 0 || !width.is_multiple_of(heads) {
            return Err(Error::Heads { width, heads });
        }
        let (name, out_first) = layout.projection();
        let blocks = (0..layout.blocks(checkpoint, &prefix).max(1))
            .map(|block| reader.block(&layout.block(&prefix, block), width))
            .collect::<Result<_>>()?;
        Ok(Self {
            width,
            heads,
            activation: overrides
                .activation
                .or(beside.activation)
                .unwrap_or(Activation::Gelu),
            epsilon: beside.epsilon.unwrap_or(1e-5),
            tokens: checkpoint.f32(&key(layout.tokens()))?,
            positions: checkpoint.f32_shaped(&positions, &[context, width])?,
            blocks,
            final_norm: reader.affine(&key(layout.final_norm()), width)?,
            projection: reader.projection(&key(name), out_first, width)?,
        })
    }

    /// Width of the embedding.
    pub fn embedding_width(&self) -> usize {
        self.projection.weight.len() / self.width
    }

    /// Texts longer than this do not fit, in tokens.
    pub fn context(&self) -> usize {
        self.positions.len() / self.width
    }

    /// Number of token ids.
    pub fn vocabulary(&self) -> usize {
        self.tokens.len() / self.width
    }

    /// Everything beside the weights that decides the numbers, for keys of what is kept.
    pub(crate) fn identity(&self) -> String {
        format!(
            "{:?} {} heads, epsilon {:e}",
            self.activation, self.heads, self.epsilon
        )
    }
}

/// Reads layers of a checkpoint.
pub(crate) struct Reader<'c>(pub(crate) &'c Checkpoint);

impl<'c> Reader<'c> {
    fn matrix_shape(&self, key: &str) -> Result<(usize, usize)> {
        match self.0.info(key)?.shape[..] {
            [rows, columns] => Ok((rows, columns)),
            ref other => Err(Error::Shape {
                what: format!("`{key}`"),
                found: other.to_vec(),
                expected: "a matrix".into(),
            }),
        }
    }

    fn affine(&self, stem: &str, width: usize) -> Result<Affine<'c>> {
        let values = |name| self.0.f32_shaped(&format!("{stem}.{name}"), &[width]);
        Ok(Affine {
            gain: values("weight")?,
            offset: values("bias")?,
        })
    }

    fn linear(&self, stem: &str, outer: usize, inner: usize) -> Result<Linear<'c>> {
        self.linear_at(
            &format!("{stem}.weight"),
            &format!("{stem}.bias"),
            outer,
            inner,
        )
    }

    fn linear_at(
        &self,
        weight: &str,
        bias: &str,
        outer: usize,
        inner: usize,
    ) -> Result<Linear<'c>> {
        Ok(Linear {
            inner,
            weight: self.0.f32_shaped(weight, &[outer, inner])?,
            bias: Some(self.0.f32_shaped(bias, &[outer])?),
        })
    }

    fn block(&self, keys: &BlockKeys, width: usize) -> Result<Block<'c>> {
        let joint = match &keys.joint {
            Some([weight, bias]) => self.linear_at(weight, bias, 3 * width, width)?,
            None => {
                let (mut weights, mut biases) = (Vec::new(), Vec::new());
                for stem in &keys.parts {
                    let part = self.linear(stem, width, width)?;
                    weights.extend_from_slice(&part.weight);
                    biases.extend_from_slice(part.bias.as_deref().unwrap_or_default());
                }
                Linear {
                    inner: width,
                    weight: weights.into(),
                    bias: Some(biases.into()),
                }
            }
        };
        let (mlp, _) = self.matrix_shape(&format!("{}.weight", keys.fc1))?;
        Ok(Block {
            norm1: self.affine(&keys.norm1, width)?,
            joint,
            out: self.linear(&keys.out, width, width)?,
            norm2: self.affine(&keys.norm2, width)?,
            fc1: self.linear(&keys.fc1, mlp, width)?,
            fc2: self.linear(&keys.fc2, width, mlp)?,
        })
    }

    /// A projection as `[embedding, width]`, however it is stored.
    fn projection(&self, key: &str, out_first: bool, width: usize) -> Result<Linear<'c>> {
        let (rows, columns) = self.matrix_shape(key)?;
        let stored = if out_first {
            self.0.f32_shaped(key, &[rows, width])?
        } else {
            let stored = self.0.f32_shaped(key, &[width, columns])?;
            let mut turned = Vec::with_capacity(stored.len());
            for column in 0..columns {
                turned.extend(stored.iter().skip(column).step_by(columns));
            }
            turned.into()
        };
        Ok(Linear {
            inner: width,
            weight: stored,
            bias: None,
        })
    }
}

/// The norm and the projection that CLIP puts an image's class token through; here for patch
/// tokens.
#[derive(Debug)]
pub(crate) struct VisualProjection {
    gain: Vec<f32>,
    offset: Vec<f32>,
    weight: Vec<f32>,
    epsilon: f32,
}

impl VisualProjection {
    /// Reads both for tokens of a width.
    pub(crate) fn new(checkpoint: &Checkpoint, width: usize) -> Result<Self> {
        let (layout, prefix) = Layout::detect(checkpoint)?;
        // OpenCLIP's later models keep the text tower, and only it, under `text.`.
        let prefix = prefix.strip_suffix("text.").unwrap_or(&prefix);
        let (norm, projection, out_first) = layout.visual();
        let reader = Reader(checkpoint);
        let norm = reader.affine(&format!("{prefix}{norm}"), width)?;
        let projection = reader.projection(&format!("{prefix}{projection}"), out_first, width)?;
        Ok(Self {
            gain: norm.gain.into_owned(),
            offset: norm.offset.into_owned(),
            weight: projection.weight.into_owned(),
            epsilon: Beside::read(checkpoint.path(), Tower::Text)?
                .epsilon
                .unwrap_or(1e-5),
        })
    }

    /// Width of the embedding.
    pub(crate) fn embedding_width(&self) -> usize {
        self.weight.len() / self.gain.len()
    }

    /// Tokens `[rows, width]` to `[rows, embedding width]`.
    pub(crate) fn project(&self, tokens: &[f32]) -> Vec<f32> {
        let normed = crate::product::layer_norm(tokens, &self.gain, &self.offset, self.epsilon);
        crate::product::linear(&normed, self.gain.len(), &self.weight, None)
    }
}
