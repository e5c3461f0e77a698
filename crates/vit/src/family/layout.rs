//! Where each published key layout keeps the tensors of a vision transformer.

use rareclip_checkpoints::Checkpoint;

use super::kind::Family;
use crate::{Error, Result};

/// The key layouts that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Dinov2Model of Hugging Face: `embeddings.cls_token`, `encoder.layer.0.…`.
    HfDinoV2,
    /// Meta's original DINOv2: `cls_token`, `blocks.0.attn.qkv.…`.
    MetaDinoV2,
    /// CLIPModel of Hugging Face: `vision_model.…`.
    HfClip,
    /// OpenCLIP: `visual.…`.
    OpenClip,
}

/// A part of a stack of equally tall pieces along the first axis, e.g. the query part of a joint
/// q-k-v weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// Which piece, from 0.
    pub part: usize,
    /// Number of pieces.
    pub of: usize,
}

/// A linear layer, weight `[out, in]`, bias `[out]`.
#[derive(Debug, Clone)]
pub struct Linear {
    /// Key of the weight.
    pub weight: String,
    /// Key of the bias.
    pub bias: String,
    /// Which part of both, if they hold several layers.
    pub rows: Option<Rows>,
}

/// A layer norm, `[width]` each.
#[derive(Debug, Clone)]
pub struct Affine {
    /// Key of the gain.
    pub weight: String,
    /// Key of the offset.
    pub bias: String,
}

/// CLIP's projection of the class token.
#[derive(Debug, Clone)]
pub struct Projection {
    /// Its key.
    pub key: String,
    /// Whether it is stored as `[embedding, width]`; otherwise `[width, embedding]`.
    pub out_first: bool,
}

/// The tensors of one block.
#[derive(Debug, Clone)]
pub struct BlockKeys {
    /// Norm before the attention.
    pub norm1: Affine,
    /// Queries.
    pub query: Linear,
    /// Keys.
    pub key: Linear,
    /// Values.
    pub value: Linear,
    /// What follows the attention.
    pub out: Linear,
    /// LayerScale of the attention, `[width]`.
    pub scale1: Option<String>,
    /// Norm before the MLP.
    pub norm2: Affine,
    /// First layer of the MLP.
    pub fc1: Linear,
    /// Second layer of the MLP.
    pub fc2: Linear,
    /// LayerScale of the MLP, `[width]`.
    pub scale2: Option<String>,
}

/// The tensors of a vision transformer.
#[derive(Debug, Clone)]
pub struct VitKeys {
    /// Class token, `width` values.
    pub class: String,
    /// Register tokens `[1, registers, width]`.
    pub registers: Option<String>,
    /// Position table `[(1,) 1 + patches, width]`.
    pub positions: String,
    /// Patch convolution `[width, 3, patch, patch]`.
    pub patch: String,
    /// Its bias.
    pub patch_bias: Option<String>,
    /// Norm before the first block.
    pub pre_norm: Option<Affine>,
    /// The blocks.
    pub blocks: Vec<BlockKeys>,
    /// Norm after the last block.
    pub final_norm: Affine,
    /// Projection of the embedding.
    pub projection: Option<Projection>,
}

impl Layout {
    const ALL: [Self; 4] = [
        Self::HfDinoV2,
        Self::HfClip,
        Self::OpenClip,
        Self::MetaDinoV2,
    ];

    /// The layout of a checkpoint and what stands before every key.
    ///
    /// # Errors
    /// [`Error::UnknownFamily`].
    pub fn detect(checkpoint: &Checkpoint) -> Result<(Self, String)> {
        let found = Self::ALL.into_iter().find_map(|layout| {
            let prefix = checkpoint
                .prefix_of(layout.anchor())
                .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))?;
            Some((layout, prefix.to_owned()))
        });
        found.ok_or_else(|| Error::UnknownFamily {
            path: checkpoint.path().to_owned(),
            looked_for: Self::ALL.map(Self::anchor).join(", "),
        })
    }

    /// A key that only this layout has; more telling layouts are tried first.
    fn anchor(self) -> &'static str {
        match self {
            Self::HfDinoV2 => "embeddings.cls_token",
            Self::MetaDinoV2 => "cls_token",
            Self::HfClip => "vision_model.embeddings.class_embedding",
            Self::OpenClip => "visual.class_embedding",
        }
    }

    /// The family.
    pub fn family(self) -> Family {
        match self {
            Self::HfDinoV2 | Self::MetaDinoV2 => Family::DinoV2,
            Self::HfClip | Self::OpenClip => Family::Clip,
        }
    }

    fn block_stem(self) -> &'static str {
        match self {
            Self::HfDinoV2 => "encoder.layer.",
            Self::MetaDinoV2 => "blocks.",
            Self::HfClip => "vision_model.encoder.layers.",
            Self::OpenClip => "visual.transformer.resblocks.",
        }
    }

    /// The names inside a block: norm1, norm2, attention output, fc1, fc2.
    fn block_names(self) -> [&'static str; 5] {
        match self {
            Self::HfDinoV2 => [
                "norm1",
                "norm2",
                "attention.output.dense",
                "mlp.fc1",
                "mlp.fc2",
            ],
            Self::MetaDinoV2 => ["norm1", "norm2", "attn.proj", "mlp.fc1", "mlp.fc2"],
            Self::HfClip => [
                "layer_norm1",
                "layer_norm2",
                "self_attn.out_proj",
                "mlp.fc1",
                "mlp.fc2",
            ],
            Self::OpenClip => ["ln_1", "ln_2", "attn.out_proj", "mlp.c_fc", "mlp.c_proj"],
        }
    }

    /// Query, key and value of the block whose keys begin with `at`.
    fn attention(self, at: &str) -> [Linear; 3] {
        let whole = |name: &str| Linear::new(&format!("{at}{name}"));
        let parts = |weight: &str, bias: &str| {
            [0, 1, 2].map(|part| Linear {
                weight: format!("{at}{weight}"),
                bias: format!("{at}{bias}"),
                rows: Some(Rows { part, of: 3 }),
            })
        };
        match self {
            Self::HfDinoV2 => {
                ["query", "key", "value"].map(|name| whole(&format!("attention.attention.{name}")))
            }
            Self::HfClip => ["q", "k", "v"].map(|name| whole(&format!("self_attn.{name}_proj"))),
            Self::MetaDinoV2 => parts("attn.qkv.weight", "attn.qkv.bias"),
            Self::OpenClip => parts("attn.in_proj_weight", "attn.in_proj_bias"),
        }
    }

    fn scales(self, at: &str) -> [Option<String>; 2] {
        let [first, second] = match self {
            Self::HfDinoV2 => ["layer_scale1.lambda1", "layer_scale2.lambda1"],
            Self::MetaDinoV2 => ["ls1.gamma", "ls2.gamma"],
            Self::HfClip | Self::OpenClip => return [None, None],
        };
        [Some(format!("{at}{first}")), Some(format!("{at}{second}"))]
    }
}

impl Linear {
    fn new(stem: &str) -> Self {
        Self {
            weight: format!("{stem}.weight"),
            bias: format!("{stem}.bias"),
            rows: None,
        }
    }
}

impl Affine {
    fn new(stem: &str) -> Self {
        Self {
            weight: format!("{stem}.weight"),
            bias: format!("{stem}.bias"),
        }
    }
}

impl BlockKeys {
    fn new(layout: Layout, at: &str) -> Self {
        let [norm1, norm2, out, fc1, fc2] = layout.block_names().map(|name| format!("{at}{name}"));
        let [query, key, value] = layout.attention(at);
        let [scale1, scale2] = layout.scales(at);
        Self {
            norm1: Affine::new(&norm1),
            query,
            key,
            value,
            out: Linear::new(&out),
            scale1,
            norm2: Affine::new(&norm2),
            fc1: Linear::new(&fc1),
            fc2: Linear::new(&fc2),
            scale2,
        }
    }

    pub(super) fn linears(&self) -> [&Linear; 6] {
        [
            &self.query,
            &self.key,
            &self.value,
            &self.out,
            &self.fc1,
            &self.fc2,
        ]
    }
}

impl VitKeys {
    /// The keys of a checkpoint in a layout, each beginning with `prefix`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for gated MLPs.
    pub(super) fn new(checkpoint: &Checkpoint, layout: Layout, prefix: &str) -> Result<Self> {
        let stem = format!("{prefix}{}", layout.block_stem());
        let number = |name: &str| -> Option<usize> {
            name.strip_prefix(&stem)?.split('.').next()?.parse().ok()
        };
        let blocks = checkpoint
            .names()
            .filter_map(number)
            .max()
            .map_or(1, |last| last + 1);
        let gated = |name: &str| {
            name.starts_with(&stem)
                && (name.contains(".mlp.w12.") || name.contains("mlp.weights_in"))
        };
        if checkpoint.names().any(gated) {
            let path = checkpoint.path().to_owned();
            return Err(Error::Unsupported {
                path,
                what: "a gated MLP (SwiGLU, DINOv2-giant)".into(),
            });
        }
        let [class, positions, patch, patch_bias, registers] = layout.embedding_names();
        let [pre_norm, final_norm] = layout.norm_names();
        let key = |name: &str| format!("{prefix}{name}");
        let present = |name: &str| Some(key(name)).filter(|key| checkpoint.contains(key));
        let projection = match layout {
            Layout::HfClip => Some(("visual_projection.weight", true)),
            Layout::OpenClip => Some(("visual.proj", false)),
            Layout::HfDinoV2 | Layout::MetaDinoV2 => None,
        };
        Ok(Self {
            class: key(class),
            registers: present(registers),
            positions: key(positions),
            patch: key(patch),
            patch_bias: match layout.family() {
                Family::DinoV2 => Some(key(patch_bias)),
                Family::Clip => present(patch_bias),
            },
            pre_norm: Some(pre_norm)
                .filter(|name| !name.is_empty())
                .map(|name| Affine::new(&key(name))),
            blocks: (0..blocks)
                .map(|block| BlockKeys::new(layout, &format!("{stem}{block}.")))
                .collect(),
            final_norm: Affine::new(&key(final_norm)),
            projection: projection.map(|(name, out_first)| Projection {
                key: key(name),
                out_first,
            }),
        })
    }
}

impl Layout {
    /// Class token, positions, patch weight, patch bias, registers.
    fn embedding_names(self) -> [&'static str; 5] {
        match self {
            Self::HfDinoV2 => [
                "embeddings.cls_token",
                "embeddings.position_embeddings",
                "embeddings.patch_embeddings.projection.weight",
                "embeddings.patch_embeddings.projection.bias",
                "embeddings.register_tokens",
            ],
            Self::MetaDinoV2 => [
                "cls_token",
                "pos_embed",
                "patch_embed.proj.weight",
                "patch_embed.proj.bias",
                "register_tokens",
            ],
            Self::HfClip => [
                "vision_model.embeddings.class_embedding",
                "vision_model.embeddings.position_embedding.weight",
                "vision_model.embeddings.patch_embedding.weight",
                "vision_model.embeddings.patch_embedding.bias",
                "vision_model.embeddings.register_tokens",
            ],
            Self::OpenClip => [
                "visual.class_embedding",
                "visual.positional_embedding",
                "visual.conv1.weight",
                "visual.conv1.bias",
                "visual.register_tokens",
            ],
        }
    }

    /// Norm before the blocks ("" for none) and after them.
    fn norm_names(self) -> [&'static str; 2] {
        match self {
            Self::HfDinoV2 => ["", "layernorm"],
            Self::MetaDinoV2 => ["", "norm"],
            Self::HfClip => ["vision_model.pre_layrnorm", "vision_model.post_layernorm"],
            Self::OpenClip => ["visual.ln_pre", "visual.ln_post"],
        }
    }
}
