//! The transformer itself.

use rareclip_vit::family::{Activation, Vit};
use rareclip_vit::{FirstTokens, Plan, Tokens};
use tch::{Kind, Tensor};

use crate::weights::{Block, NormLayer, Reader};
use crate::{Precision, Result};

/// A vision transformer on its device.
pub(crate) struct Tower {
    device: tch::Device,
    kind: Kind,
    heads: i64,
    activation: Activation,
    patch: i64,
    /// `[width, 3 * patch * patch]`.
    patch_weight: Tensor,
    patch_bias: Option<Tensor>,
    /// Class token and registers `[1, 1 + registers, width]`.
    prefix: Tensor,
    /// `[1, patches, width]`.
    positions: Tensor,
    pre_norm: Option<NormLayer>,
    blocks: Vec<Block>,
    final_norm: NormLayer,
    /// `[width, embedding width]`.
    projection: Option<Tensor>,
    /// Whether tokens are given after the final norm.
    normed: bool,
    /// Of the windows to embed: side in patches, and the tokens of all of them one after another
    /// `[windows * tokens]`.
    windows: Vec<(usize, Tensor)>,
}

/// What the transformer gives for the images of one run, on its device.
pub(crate) struct Outputs {
    /// By block (1-based), `[images, tokens, width]` with class token and registers.
    pub(crate) tokens: Vec<(usize, Tensor)>,
    /// `[images, embedding width]`, not of unit length.
    pub(crate) embedding: Tensor,
    /// By side in patches, `[images * windows, embedding width]`, not of unit length.
    pub(crate) windows: Vec<(usize, Tensor)>,
}

impl Tower {
    /// Reads the transformer of a plan.
    pub(crate) fn new(
        plan: &Plan,
        device: tch::Device,
        precision: Precision,
        tokens: Tokens,
    ) -> Result<Self> {
        let (vit, keys) = (&plan.vit, &plan.vit.keys);
        let kind = match precision {
            Precision::F32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
            Precision::F16 => Kind::Half,
        };
        let reader = Reader {
            checkpoint: &plan.checkpoint,
            device,
            kind,
        };
        let FirstTokens { prefix, positions } = plan.first_tokens()?;
        let positions: Vec<f32> = positions.into_iter().collect();
        let patches = plan.side() * plan.side();
        let projection = match &keys.projection {
            None => None,
            Some(projection) => {
                let stored = reader.tensor(&projection.key, None)?;
                Some(match projection.out_first {
                    true => stored.f_transpose(0, 1)?.f_contiguous()?,
                    false => stored,
                })
            }
        };
        let blocks = keys.blocks.iter();
        let blocks = blocks.map(|block| reader.block(block, vit.epsilon));
        let bias = keys.patch_bias.as_ref();
        let windows = plan.windows.iter();
        let windows = windows.map(|&side| {
            let members = plan.window_tokens(side);
            Ok((side, Tensor::f_from_slice(&members)?.f_to_device(device)?))
        });
        Ok(Self {
            device,
            kind,
            heads: vit.heads as i64,
            activation: vit.activation,
            patch: vit.patch as i64,
            patch_weight: reader.tensor(&keys.patch, None)?.f_flatten(1, -1)?,
            patch_bias: bias.map(|key| reader.tensor(key, None)).transpose()?,
            prefix: reader.place(&prefix, &[1, plan.prefix(), vit.width])?,
            positions: reader.place(&positions, &[1, patches, vit.width])?,
            pre_norm: pre_norm(&reader, vit)?,
            blocks: blocks.collect::<Result<_>>()?,
            final_norm: reader.norm(&keys.final_norm, vit.epsilon)?,
            projection,
            normed: tokens == Tokens::Norm,
            windows: windows.collect::<Result<_>>()?,
        })
    }

    /// Runs `images` `[images, 3, side, side]` and gives the tokens of `wanted` blocks (1-based).
    pub(crate) fn run(&self, images: &Tensor, wanted: impl Fn(usize) -> bool) -> Result<Outputs> {
        let images = images.f_to_device(self.device)?.f_to_kind(self.kind)?;
        let mut x = self.embed(&images)?;
        if let Some(norm) = &self.pre_norm {
            x = norm.forward(&x)?;
        }
        let windows = self.windows.iter();
        let windows =
            windows.map(|(side, members)| Ok((*side, self.embed_windows(&x, *side, members)?)));
        let windows = windows.collect::<Result<_>>()?;
        let mut tokens = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            x = self.block(&x, block)?;
            if wanted(index + 1) {
                let given = match self.normed {
                    true => self.final_norm.forward(&x)?,
                    false => x.shallow_clone(),
                };
                tokens.push((index + 1, given));
            }
        }
        Ok(Outputs {
            tokens,
            embedding: self.embedding(&x)?,
            windows,
        })
    }

    /// Pixels to the first tokens `[images, 1 + registers + patches, width]`.
    ///
    /// The convolution of patches that do not overlap is a product. As one it keeps all of f32 on
    /// CUDA, where cuDNN rounds the factors of convolutions to 10 bits of mantissa unless it is
    /// told not to.
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        let (count, patch) = (images.size()[0], self.patch);
        let side = images.size()[3] / patch;
        let pixels = images.f_view([count, 3, side, patch, side, patch])?;
        let pixels = pixels.f_permute([0, 2, 4, 1, 3, 5])?;
        let pixels = pixels.f_reshape([count, side * side, 3 * patch * patch])?;
        let patches = pixels.f_linear(&self.patch_weight, self.patch_bias.as_ref())?;
        let patches = patches.f_add(&self.positions)?;
        let prefix = self.prefix.f_expand([count, -1, -1], false)?;
        Ok(Tensor::f_cat(&[&prefix, &patches], 1)?)
    }

    /// One block: its residual stream `[batch, tokens, width]` to that after it.
    fn block(&self, x: &Tensor, block: &Block) -> Result<Tensor> {
        let scaled = |branch: Tensor, scale: &Option<Tensor>| match scale {
            Some(scale) => branch.f_mul(scale),
            None => Ok(branch),
        };
        let attended = self.attention(&block.norm1.forward(x)?, block)?;
        let x = x.f_add(&scaled(attended, &block.scale1)?)?;
        let hidden = block.fc1.forward(&block.norm2.forward(&x)?)?;
        let hidden = match self.activation {
            Activation::Gelu => hidden.f_gelu("none")?,
            Activation::QuickGelu => hidden.f_mul(&hidden.f_mul_scalar(1.702)?.f_sigmoid()?)?,
        };
        let output = block.fc2.forward(&hidden)?;
        Ok(x.f_add(&scaled(output, &block.scale2)?)?)
    }

    /// Multi-head self-attention and its output layer.
    fn attention(&self, x: &Tensor, block: &Block) -> Result<Tensor> {
        let [batch, tokens, width] = x.size3().map(|(a, b, c)| [a, b, c])?;
        let parts = block.qkv.forward(x)?;
        let parts = parts.f_view([batch, tokens, 3, self.heads, width / self.heads])?;
        // [3, batch, heads, tokens, width of a head]
        let parts = parts.f_permute([2, 0, 3, 1, 4])?;
        let part = |at| parts.f_select(0, at);
        let mixed = Tensor::f_scaled_dot_product_attention(
            &part(0)?,
            &part(1)?,
            &part(2)?,
            None::<Tensor>,
            0.0,
            false,
            None::<f64>,
            false,
        )?;
        let mixed = mixed.f_transpose(1, 2)?.f_reshape([batch, tokens, width])?;
        block.out.forward(&mixed)
    }

    /// The image embedding `[batch, embedding width]` from the residual stream after the last
    /// block.
    fn embedding(&self, x: &Tensor) -> Result<Tensor> {
        let class = self.final_norm.forward(&x.f_select(1, 0)?)?;
        Ok(match &self.projection {
            Some(projection) => class.f_matmul(projection)?,
            None => class,
        })
    }

    /// Embeds every square window as if it were an image: its tokens, with the class token, go
    /// through the blocks on their own (WinCLIP, CVPR 2023, section 4.2).
    fn embed_windows(&self, x: &Tensor, side: usize, members: &Tensor) -> Result<Tensor> {
        let tokens = (self.prefix.size()[1] as usize + side * side) as i64;
        let width = x.size()[2];
        let mut x = x.f_index_select(1, members)?.f_view([-1, tokens, width])?;
        for block in &self.blocks {
            x = self.block(&x, block)?;
        }
        self.embedding(&x)
    }
}

fn pre_norm(reader: &Reader<'_>, vit: &Vit) -> Result<Option<NormLayer>> {
    let keys = vit.keys.pre_norm.as_ref();
    keys.map(|keys| reader.norm(keys, vit.epsilon)).transpose()
}
