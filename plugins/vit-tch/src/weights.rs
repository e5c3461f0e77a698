//! The tensors of a checkpoint on their device.

use ndarray::{ArrayView, IxDyn};
use rareclip_checkpoints::Checkpoint;
use rareclip_vit::family::{Affine, BlockKeys, Linear, Rows};
use rareclip_vit::torch::to_tensor;
use tch::{Kind, Tensor};

use crate::{Error, Result};

/// Reads tensors and brings them to their device and precision.
pub(crate) struct Reader<'c> {
    pub(crate) checkpoint: &'c Checkpoint,
    pub(crate) device: tch::Device,
    pub(crate) kind: Kind,
}

/// A linear layer: weight `[out, in]`, bias `[out]`.
pub(crate) struct LinearLayer {
    weight: Tensor,
    bias: Tensor,
}

impl LinearLayer {
    /// `[.., in]` to `[.., out]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_linear(&self.weight, Some(&self.bias))?)
    }
}

/// A layer norm over the last axis.
pub(crate) struct NormLayer {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl NormLayer {
    /// The same shape, each row of mean 0 and deviation 1 before gain and offset.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let width = self.weight.size();
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        Ok(x.f_layer_norm(width, weight, bias, self.epsilon, true)?)
    }
}

/// One block.
pub(crate) struct Block {
    pub(crate) norm1: NormLayer,
    /// Queries, keys and values in one product, `[3 width, width]`.
    pub(crate) qkv: LinearLayer,
    pub(crate) out: LinearLayer,
    /// LayerScale of the attention, `[width]`.
    pub(crate) scale1: Option<Tensor>,
    pub(crate) norm2: NormLayer,
    pub(crate) fc1: LinearLayer,
    pub(crate) fc2: LinearLayer,
    /// LayerScale of the MLP, `[width]`.
    pub(crate) scale2: Option<Tensor>,
}

impl Reader<'_> {
    /// Numbers `shape` on the device, in its precision.
    pub(crate) fn place(&self, values: &[f32], shape: &[usize]) -> Result<Tensor> {
        let view = ArrayView::from_shape(IxDyn(shape), values).map_err(|_| Error::Shape {
            path: self.checkpoint.path().to_owned(),
            found: values.len(),
            shape: shape.to_vec(),
        })?;
        Ok(to_tensor(view, self.device)?.f_to_kind(self.kind)?)
    }

    /// A tensor of the checkpoint, or some of its rows.
    pub(crate) fn tensor(&self, key: &str, rows: Option<Rows>) -> Result<Tensor> {
        let values = self.checkpoint.f32(key)?;
        let mut shape = self.checkpoint.info(key)?.shape;
        let Rows { part, of } = rows.unwrap_or(Rows { part: 0, of: 1 });
        if let Some(first) = shape.first_mut() {
            *first /= of;
        }
        let length = values.len() / of;
        self.place(&values[part * length..(part + 1) * length], &shape)
    }

    pub(crate) fn norm(&self, keys: &Affine, epsilon: f32) -> Result<NormLayer> {
        Ok(NormLayer {
            weight: self.tensor(&keys.weight, None)?,
            bias: self.tensor(&keys.bias, None)?,
            epsilon: epsilon.into(),
        })
    }

    fn linear(&self, keys: &Linear) -> Result<LinearLayer> {
        Ok(LinearLayer {
            weight: self.tensor(&keys.weight, keys.rows)?,
            bias: self.tensor(&keys.bias, keys.rows)?,
        })
    }

    /// Several layers of the same input as one.
    fn stacked(&self, layers: [&Linear; 3]) -> Result<LinearLayer> {
        let parts = layers.map(|keys| self.linear(keys));
        let [query, key, value] = parts;
        let (query, key, value) = (query?, key?, value?);
        Ok(LinearLayer {
            weight: Tensor::f_cat(&[query.weight, key.weight, value.weight], 0)?,
            bias: Tensor::f_cat(&[query.bias, key.bias, value.bias], 0)?,
        })
    }

    pub(crate) fn block(&self, keys: &BlockKeys, epsilon: f32) -> Result<Block> {
        let scale = |key: &Option<String>| match key {
            Some(key) => self.tensor(key, None).map(Some),
            None => Ok(None),
        };
        Ok(Block {
            norm1: self.norm(&keys.norm1, epsilon)?,
            qkv: self.stacked([&keys.query, &keys.key, &keys.value])?,
            out: self.linear(&keys.out)?,
            scale1: scale(&keys.scale1)?,
            norm2: self.norm(&keys.norm2, epsilon)?,
            fc1: self.linear(&keys.fc1)?,
            fc2: self.linear(&keys.fc2)?,
            scale2: scale(&keys.scale2)?,
        })
    }
}
