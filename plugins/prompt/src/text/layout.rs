//! Where the published key layouts keep the tensors of CLIP's text tower.

use rareclip_checkpoints::Checkpoint;

use crate::{Error, Result};

/// The key layouts that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// CLIPModel of Hugging Face: `text_model.…`.
    HuggingFace,
    /// OpenCLIP and OpenAI: `transformer.resblocks.…`.
    OpenClip,
}

/// The keys of one block.
pub(super) struct BlockKeys {
    /// Norm before the attention, without `.weight` and `.bias`; so are all others but `joint`.
    pub(super) norm1: String,
    /// Queries, keys and values, where they are layers of their own.
    pub(super) parts: [String; 3],
    /// The joint weight and bias of the three, where they are one layer.
    pub(super) joint: Option<[String; 2]>,
    pub(super) out: String,
    pub(super) norm2: String,
    pub(super) fc1: String,
    pub(super) fc2: String,
}

impl Layout {
    /// More telling layouts first: the anchor of OpenCLIP is the end of that of Hugging Face.
    const ALL: [Self; 2] = [Self::HuggingFace, Self::OpenClip];

    /// The layout of a checkpoint and what stands before every key.
    pub(crate) fn detect(checkpoint: &Checkpoint) -> Result<(Self, String)> {
        let found = Self::ALL.into_iter().find_map(|layout| {
            let prefix = checkpoint
                .prefix_of(layout.tokens())
                .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))?;
            Some((layout, prefix.to_owned()))
        });
        found.ok_or_else(|| Error::NoTextTower {
            path: checkpoint.path().to_owned(),
            looked_for: Self::ALL.map(Self::tokens).join(", "),
        })
    }

    /// The token table `[vocabulary, width]`.
    pub(super) fn tokens(self) -> &'static str {
        match self {
            Self::HuggingFace => "text_model.embeddings.token_embedding.weight",
            Self::OpenClip => "token_embedding.weight",
        }
    }

    /// The position table `[context, width]`.
    pub(super) fn positions(self) -> &'static str {
        match self {
            Self::HuggingFace => "text_model.embeddings.position_embedding.weight",
            Self::OpenClip => "positional_embedding",
        }
    }

    pub(super) fn final_norm(self) -> &'static str {
        match self {
            Self::HuggingFace => "text_model.final_layer_norm",
            Self::OpenClip => "ln_final",
        }
    }

    /// The projection of texts, and whether it is stored as `[embedding, width]`; otherwise
    /// `[width, embedding]`.
    pub(super) fn projection(self) -> (&'static str, bool) {
        match self {
            Self::HuggingFace => ("text_projection.weight", true),
            Self::OpenClip => ("text_projection", false),
        }
    }

    /// The norm after the last block of the image tower, and the projection of image tokens as for
    /// [`projection`](Self::projection).
    pub(crate) fn visual(self) -> (&'static str, &'static str, bool) {
        match self {
            Self::HuggingFace => (
                "vision_model.post_layernorm",
                "visual_projection.weight",
                true,
            ),
            Self::OpenClip => ("visual.ln_post", "visual.proj", false),
        }
    }

    fn stem(self) -> &'static str {
        match self {
            Self::HuggingFace => "text_model.encoder.layers.",
            Self::OpenClip => "transformer.resblocks.",
        }
    }

    /// Number of blocks.
    pub(super) fn blocks(self, checkpoint: &Checkpoint, prefix: &str) -> usize {
        let stem = format!("{prefix}{}", self.stem());
        let number = |name: &str| -> Option<usize> {
            name.strip_prefix(&stem)?.split('.').next()?.parse().ok()
        };
        checkpoint
            .names()
            .filter_map(number)
            .max()
            .map_or(0, |last| last + 1)
    }

    /// The keys of a block, counted from 0.
    pub(super) fn block(self, prefix: &str, block: usize) -> BlockKeys {
        let key = |name: &str| format!("{prefix}{}{block}.{name}", self.stem());
        let [norm1, norm2, out, fc1, fc2] = match self {
            Self::HuggingFace => [
                "layer_norm1",
                "layer_norm2",
                "self_attn.out_proj",
                "mlp.fc1",
                "mlp.fc2",
            ],
            Self::OpenClip => ["ln_1", "ln_2", "attn.out_proj", "mlp.c_fc", "mlp.c_proj"],
        }
        .map(key);
        let joint = match self {
            Self::HuggingFace => None,
            Self::OpenClip => Some(["attn.in_proj_weight", "attn.in_proj_bias"].map(key)),
        };
        BlockKeys {
            norm1,
            parts: ["q", "k", "v"].map(|part| key(&format!("self_attn.{part}_proj"))),
            joint,
            out,
            norm2,
            fc1,
            fc2,
        }
    }
}
