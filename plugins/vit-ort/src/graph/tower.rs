//! The graph of a vision transformer at one image size.

use rareclip_checkpoints::onnx::{Attribute, ValueInfo, element};
use rareclip_vit::family::{Affine, BlockKeys, Vit};
use rareclip_vit::{FirstTokens, Plan, Tokens};

use super::builder::{Builder, Built, CONTRIB};
use super::linear::{Arithmetic, Input, Product};
use super::{EMBEDDING, INPUT, output_of, windows_of};
use crate::{Precision, Result, runtime};

/// Writes the graph: for one image, or for any number of images in one run if `batch`.
pub(crate) fn build(plan: &Plan, kind: Tokens, precision: Precision, batch: bool) -> Result<Built> {
    let (vit, grid) = (&plan.vit, plan.side());
    let images = if batch { ANY } else { 1 };
    let normed = kind == Tokens::Norm;
    let mut tower = Tower {
        builder: Builder::new(&plan.checkpoint)?,
        vit,
        images,
    };
    let mut x = tower.embed(plan)?;
    if let Some(norm) = &vit.keys.pre_norm {
        x = tower.norm(&x, norm)?;
    }
    let mut outputs = Vec::new();
    for &side in &plan.windows {
        let count = tower.windows(&x, side, plan)?;
        let shape = [count, vit.embedding_width as i64];
        outputs.push(ValueInfo::tensor(&windows_of(side), element::F32, &shape));
    }
    // The last block's tokens after the final norm, where they are asked for: the embedding is made
    // of them too.
    let mut last = None;
    let tokens = (1 + vit.registers + grid * grid) as i64;
    for (index, block) in vit.keys.blocks.iter().enumerate() {
        x = tower.block(&x, block, precision.of_block(index))?;
        if plan.blocks.contains(&(index + 1)) {
            let value = match normed {
                true => tower.norm(&x, &vit.keys.final_norm)?,
                false => x.clone(),
            };
            if normed && index + 1 == vit.blocks() {
                last = Some(value.clone());
            }
            let name = output_of(index + 1);
            tower
                .builder
                .push("", "Identity", &[&value], &[&name], Vec::new());
            let shape = [images, tokens, vit.width as i64];
            outputs.push(ValueInfo::tensor(&name, element::F32, &shape));
        }
    }
    let last = match last {
        Some(last) => last,
        None => tower.norm(&x, &vit.keys.final_norm)?,
    };
    tower.embedding(&last, images, EMBEDDING)?;
    let shape = [images, vit.embedding_width as i64];
    outputs.push(ValueInfo::tensor(EMBEDDING, element::F32, &shape));
    let side = plan.spec.input.side as i64;
    let input = ValueInfo::tensor(INPUT, element::F32, &[images, 3, side, side]);
    Ok(tower.builder.finish(vec![input], outputs))
}

/// The length of an axis that is not known before a run.
const ANY: i64 = -1;

struct Tower<'v> {
    builder: Builder<'v>,
    vit: &'v Vit,
    /// Images of one run: 1 or [`ANY`].
    images: i64,
}

impl Tower<'_> {
    /// Pixels to the first tokens `[images, 1 + registers + patches, width]`.
    fn embed(&mut self, plan: &Plan) -> Result<String> {
        let (vit, keys, grid) = (self.vit, &self.vit.keys, plan.side());
        let width = vit.width;
        let FirstTokens { prefix, positions } = plan.first_tokens()?;
        let builder = &mut self.builder;
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
        let shape = [self.images, width as i64, (grid * grid) as i64];
        let shape = builder.integers("shape", &shape);
        let patches = builder.node("", "Reshape", &[&patches, &shape], Vec::new());
        let swap = vec![Attribute::ints("perm", &[0, 2, 1])];
        let patches = builder.node("", "Transpose", &[&patches], swap);
        let positions: Vec<f32> = positions.into_iter().collect();
        if self.images == ANY {
            // The same sums as below: zeros in front of the patches, and one table to add.
            let front = builder.integers("front", &[0, 1 + vit.registers as i64, 0, 0, 0, 0]);
            let padded = builder.node("", "Pad", &[&patches, &front], Vec::new());
            let rows = 1 + vit.registers + grid * grid;
            let table = builder.constant("first", &[1, rows, width], &[prefix, positions].concat());
            return Ok(builder.node("", "Add", &[&padded, &table], Vec::new()));
        }
        let prefix = builder.constant("prefix", &[1, 1 + vit.registers, width], &prefix);
        let rest = builder.constant("positions", &[1, grid * grid, width], &positions);
        let patches = builder.node("", "Add", &[&patches, &rest], Vec::new());
        let along = vec![Attribute::int("axis", 1)];
        Ok(builder.node("", "Concat", &[&prefix, &patches], along))
    }

    fn norm(&mut self, x: &str, norm: &Affine) -> Result<String> {
        self.builder.norm(x, norm, self.vit.epsilon)
    }

    /// One block: its residual stream `x` to that after it.
    fn block(&mut self, x: &str, block: &BlockKeys, arithmetic: Arithmetic) -> Result<String> {
        let epsilon = self.vit.epsilon;
        let readers = [&block.query, &block.key, &block.value];
        let input = self
            .builder
            .normed_input(x, &block.norm1, epsilon, &readers, arithmetic)?;
        let attended = self.attention(&input, block, arithmetic)?;
        let x = self.builder.residual(x, &attended);
        let input =
            self.builder
                .normed_input(&x, &block.norm2, epsilon, &[&block.fc1], arithmetic)?;
        let hidden = self.builder.linear(&input, &block.fc1, None)?;
        let input = self.builder.activated_input(&hidden, self.vit.activation);
        let scale = block.scale2.as_deref();
        let output = self.builder.linear(&input, &block.fc2, scale)?;
        Ok(self.builder.residual(&x, &output))
    }

    /// Multi-head self-attention and its output product.
    fn attention(
        &mut self,
        input: &Input,
        block: &BlockKeys,
        arithmetic: Arithmetic,
    ) -> Result<Product> {
        let parts = [&block.query, &block.key, &block.value];
        let mut bias = Vec::with_capacity(3 * self.vit.width);
        let mut inputs = Vec::with_capacity(4);
        for part in parts {
            let product = self.builder.linear(input, part, None)?;
            inputs.push(self.builder.scaled(&product));
            bias.extend(product.bias);
        }
        inputs.push(self.builder.constant("qkv_bias", &[bias.len()], &bias));
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let heads = vec![Attribute::int("num_heads", self.vit.heads as i64)];
        let mixed = self
            .builder
            .node(CONTRIB, "MultiHeadAttention", &inputs, heads);
        let mixed = self.builder.plain_input(&mixed, self.vit.width, arithmetic);
        self.builder
            .linear(&mixed, &block.out, block.scale1.as_deref())
    }

    /// Embeds every square window of `side` x `side` patches as if it were an image: its tokens,
    /// with the class token, go through the blocks on their own (WinCLIP, CVPR 2023, section 4.2).
    /// Gives the number of windows, those of one image after another.
    fn windows(&mut self, x: &str, side: usize, plan: &Plan) -> Result<i64> {
        let tokens = plan.prefix() + side * side;
        let members = plan.window_tokens(side);
        let count = match self.images {
            ANY => ANY,
            images => images * (members.len() / tokens) as i64,
        };
        let builder = &mut self.builder;
        let members = builder.integers("members", &members);
        let along = vec![Attribute::int("axis", 1)];
        let gathered = builder.node("", "Gather", &[x, &members], along);
        let shape = [count, tokens as i64, self.vit.width as i64];
        let shape = builder.integers("shape", &shape);
        let mut x = builder.node("", "Reshape", &[&gathered, &shape], Vec::new());
        for block in &self.vit.keys.blocks {
            x = self.block(&x, block, Arithmetic::F32)?;
        }
        let normed = self.norm(&x, &self.vit.keys.final_norm)?;
        self.embedding(&normed, count, &windows_of(side))?;
        Ok(count)
    }

    /// The image embedding `[count, embedding width]` from the tokens after the final norm,
    /// `[count, tokens, width]`.
    fn embedding(&mut self, normed: &str, count: i64, name: &str) -> Result<()> {
        let builder = &mut self.builder;
        let first = builder.integers("first", &[0]);
        let along = vec![Attribute::int("axis", 1)];
        let class = builder.node("", "Gather", &[normed, &first], along);
        let shape = builder.integers("shape", &[count, self.vit.width as i64]);
        let mut class = builder.node("", "Reshape", &[&class, &shape], Vec::new());
        if let Some(projection) = &self.vit.keys.projection {
            let (weight, swapped) = builder.tensor(&projection.key, None)?;
            class = builder.product_with(&class, &weight, projection.out_first != swapped);
        }
        builder.push("", "Identity", &[&class], &[name], Vec::new());
        Ok(())
    }
}

impl Precision {
    /// How the linear layers of a block, counted from 0, are computed.
    ///
    /// The first block stays in 32 bits: it alone makes a third to half of the error that rounding
    /// it brings to the tokens of a DINOv2-S, for a twenty-fourth of the time of a ViT-L.
    fn of_block(self, block: usize) -> Arithmetic {
        match self {
            Self::Int8 if block > 0 => Arithmetic::Int8,
            // Elsewhere the engine rounds by itself what it is given as 32-bit floats.
            Self::Bf16 if runtime::BRAIN_OPERATORS => Arithmetic::Bf16,
            Self::Int8 | Self::F32 | Self::Bf16 => Arithmetic::F32,
        }
    }
}
