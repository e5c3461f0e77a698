//! The graph of a vision transformer at one image size.

use std::collections::BTreeSet;

use ndarray::{ArrayView2, s};
use rareclip_models::Checkpoint;
use rareclip_models::onnx::{Attribute, ValueInfo, element};

use super::builder::{Builder, Built, CONTRIB};
use super::{EMBEDDING, INPUT, output_of};
use crate::family::{Activation, Affine, BlockKeys, Vit};
use crate::positions::{self, PositionResize};
use crate::{Error, Result};

/// What the graph should compute.
pub(crate) struct Request<'r> {
    /// Side of the square image in pixels.
    pub(crate) side: usize,
    /// Blocks (1-based) whose tokens come out.
    pub(crate) blocks: &'r BTreeSet<usize>,
    /// Whether the final norm is applied to those tokens.
    pub(crate) normed: bool,
    /// How positions are resized.
    pub(crate) positions: PositionResize,
}

/// Writes the graph.
pub(crate) fn build(checkpoint: &Checkpoint, vit: &Vit, request: &Request<'_>) -> Result<Built> {
    let grid = vit.grid_at(request.side)?;
    let mut tower = Tower {
        builder: Builder::new(checkpoint)?,
        vit,
    };
    let mut x = tower.embed(checkpoint, grid, request.positions)?;
    if let Some(norm) = &vit.keys.pre_norm {
        x = tower.norm(&x, norm)?;
    }
    let mut outputs = Vec::new();
    let tokens = (1 + vit.registers + grid * grid) as i64;
    let mut normed = match vit.keys.blocks.first() {
        Some(first) => tower.norm(&x, &first.norm1)?,
        None => x.clone(),
    };
    for (index, block) in vit.keys.blocks.iter().enumerate() {
        let next = vit
            .keys
            .blocks
            .get(index + 1)
            .map_or(&vit.keys.final_norm, |next| &next.norm1);
        (x, normed) = tower.block(&x, &normed, block, next)?;
        if request.blocks.contains(&(index + 1)) {
            let value = match request.normed {
                true if index + 1 == vit.blocks() => normed.clone(),
                true => tower.norm(&x, &vit.keys.final_norm)?,
                false => x.clone(),
            };
            let name = output_of(index + 1);
            tower
                .builder
                .push("", "Identity", &[&value], &[&name], Vec::new());
            let shape = [1, tokens, vit.width as i64];
            outputs.push(ValueInfo::tensor(&name, element::F32, &shape));
        }
    }
    tower.embedding(&normed)?;
    let shape = [1, vit.embedding_width as i64];
    outputs.push(ValueInfo::tensor(EMBEDDING, element::F32, &shape));
    let side = request.side as i64;
    let input = ValueInfo::tensor(INPUT, element::F32, &[1, 3, side, side]);
    Ok(tower.builder.finish(vec![input], outputs))
}

struct Tower<'v> {
    builder: Builder<'v>,
    vit: &'v Vit,
}

impl Tower<'_> {
    /// Pixels to the first tokens `[1, 1 + registers + patches, width]`.
    fn embed(
        &mut self,
        checkpoint: &Checkpoint,
        grid: usize,
        rule: PositionResize,
    ) -> Result<String> {
        let (vit, keys) = (self.vit, &self.vit.keys);
        let (width, native) = (vit.width, vit.grid);
        let wrong = |key: &str, expected: &[usize]| -> Result<Error> {
            Ok(Error::Model(rareclip_models::Error::Shape {
                path: checkpoint.path().to_owned(),
                key: key.to_owned(),
                found: checkpoint.info(key)?.shape,
                expected: expected.to_vec(),
            }))
        };
        let rows = 1 + native * native;
        let table = checkpoint.f32(&keys.positions)?;
        let Ok(table) = ArrayView2::from_shape((rows, width), &table) else {
            return Err(wrong(&keys.positions, &[rows, width])?);
        };
        let table = positions::resize(table, 1, (native, native), (grid, grid), rule);
        let mut prefix = checkpoint.f32(&keys.class)?.into_owned();
        if prefix.len() != width {
            return Err(wrong(&keys.class, &[1, 1, width])?);
        }
        prefix
            .iter_mut()
            .zip(table.row(0))
            .for_each(|(token, position)| *token += position);
        if let Some(key) = &keys.registers {
            prefix.extend_from_slice(&checkpoint.f32_shaped(key, &[1, vit.registers, width])?);
        }

        let builder = &mut self.builder;
        let prefix = builder.constant("prefix", &[1, 1 + vit.registers, width], &prefix);
        let rest: Vec<f32> = table.slice(s![1.., ..]).iter().copied().collect();
        let rest = builder.constant("positions", &[1, grid * grid, width], &rest);
        let (weight, _) = builder.tensor(&keys.patch, None)?;
        let mut inputs = vec![INPUT.to_owned(), weight];
        if let Some(bias) = &keys.patch_bias {
            inputs.push(builder.vector(bias, None)?);
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let side = vit.patch as i64;
        let stride = vec![
            Attribute::ints("kernel_shape", &[side, side]),
            Attribute::ints("strides", &[side, side]),
        ];
        let patches = builder.node("", "Conv", &inputs, stride);
        let shape = builder.integers("shape", &[1, width as i64, (grid * grid) as i64]);
        let patches = builder.node("", "Reshape", &[&patches, &shape], Vec::new());
        let swap = vec![Attribute::ints("perm", &[0, 2, 1])];
        let patches = builder.node("", "Transpose", &[&patches], swap);
        let patches = builder.node("", "Add", &[&patches, &rest], Vec::new());
        let along = vec![Attribute::int("axis", 1)];
        Ok(builder.node("", "Concat", &[&prefix, &patches], along))
    }

    fn norm(&mut self, x: &str, norm: &Affine) -> Result<String> {
        let weight = self.builder.vector(&norm.weight, None)?;
        let bias = self.builder.vector(&norm.bias, None)?;
        let epsilon = vec![Attribute::float("epsilon", self.vit.epsilon)];
        Ok(self
            .builder
            .node("", "LayerNormalization", &[x, &weight, &bias], epsilon))
    }

    /// One block: its residual stream `x` and the normed `h` to the same two after it, normed by `next`.
    fn block(
        &mut self,
        x: &str,
        h: &str,
        block: &BlockKeys,
        next: &Affine,
    ) -> Result<(String, String)> {
        let attended = self.attention(h, block)?;
        let scale = block.scale1.as_deref();
        let (x, h) = self.residual(x, &attended, &block.out.bias, scale, &block.norm2)?;
        let hidden = self.builder.product(&h, &block.fc1)?;
        let hidden = self.activate(&hidden, &block.fc1.bias)?;
        let output = self.builder.product(&hidden, &block.fc2)?;
        let scale = block.scale2.as_deref();
        self.residual(&x, &output, &block.fc2.bias, scale, next)
    }

    /// Multi-head self-attention and its output product, without the latter's bias.
    fn attention(&mut self, h: &str, block: &BlockKeys) -> Result<String> {
        let parts = [&block.query, &block.key, &block.value];
        let mut bias = Vec::with_capacity(3 * self.vit.width);
        let mut inputs = Vec::with_capacity(4);
        for part in parts {
            inputs.push(self.builder.product(h, part)?);
            bias.extend(self.builder.vector_values(&part.bias, part.rows)?);
        }
        inputs.push(self.builder.constant("qkv_bias", &[bias.len()], &bias));
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let heads = vec![Attribute::int("num_heads", self.vit.heads as i64)];
        let mixed = self
            .builder
            .node(CONTRIB, "MultiHeadAttention", &inputs, heads);
        self.builder.product(&mixed, &block.out)
    }

    /// `x + scale (branch + bias)` and its norm.
    fn residual(
        &mut self,
        x: &str,
        branch: &str,
        bias: &str,
        scale: Option<&str>,
        norm: &Affine,
    ) -> Result<(String, String)> {
        let builder = &mut self.builder;
        let mut bias = builder.vector_values(bias, None)?;
        let mut branch = branch.to_owned();
        if let Some(key) = scale {
            let scale = builder.vector_values(key, None)?;
            bias.iter_mut()
                .zip(&scale)
                .for_each(|(bias, scale)| *bias *= scale);
            let scale = builder.constant("scale", &[scale.len()], &scale);
            branch = builder.node("", "Mul", &[&branch, &scale], Vec::new());
        }
        let bias = builder.constant("bias", &[bias.len()], &bias);
        let branch = builder.node("", "Add", &[&branch, &bias], Vec::new());
        let sum = builder.node("", "Add", &[x, &branch], Vec::new());
        let normed = self.norm(&sum, norm)?;
        Ok((sum, normed))
    }

    fn activate(&mut self, hidden: &str, bias: &str) -> Result<String> {
        let bias = self.builder.vector(bias, None)?;
        match self.vit.activation {
            Activation::Gelu => {
                Ok(self
                    .builder
                    .node(CONTRIB, "BiasGelu", &[hidden, &bias], Vec::new()))
            }
            Activation::QuickGelu => {
                let sum = self.builder.node("", "Add", &[hidden, &bias], Vec::new());
                let alpha = vec![Attribute::float("alpha", 1.702)];
                Ok(self.builder.node(CONTRIB, "QuickGelu", &[&sum], alpha))
            }
        }
    }

    /// The image embedding from the tokens after the final norm.
    fn embedding(&mut self, normed: &str) -> Result<()> {
        let builder = &mut self.builder;
        let first = builder.integers("first", &[0]);
        let along = vec![Attribute::int("axis", 1)];
        let class = builder.node("", "Gather", &[normed, &first], along);
        let shape = builder.integers("shape", &[1, self.vit.width as i64]);
        let mut class = builder.node("", "Reshape", &[&class, &shape], Vec::new());
        if let Some(projection) = &self.vit.keys.projection {
            let (weight, swapped) = builder.tensor(&projection.key, None)?;
            class = builder.product_with(&class, &weight, projection.out_first != swapped);
        }
        builder.push("", "Identity", &[&class], &[EMBEDDING], Vec::new());
        Ok(())
    }
}
