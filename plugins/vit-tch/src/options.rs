//! The options of `type = "vit-tch"`.

use rareclip_core::Device;
use rareclip_imaging::Preset;
use rareclip_vit::family::{Activation, Overrides};
use rareclip_vit::positions::PositionResize;
use rareclip_vit::{Tokens, Wishes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A vision transformer (DINOv2, CLIP's image tower) on libtorch, on the CPU or a CUDA device.
///
/// In f32 its tokens equal those of `vit` on onnxruntime within 1e-4. Threads on the CPU are
/// libtorch's own: the environment variable `OMP_NUM_THREADS` bounds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VitTchOptions {
    /// A model name of `rareclip models list`, or the path of a checkpoint (.safetensors, .onnx).
    /// Its family is told by its tensor names; a config.json beside it is read for heads,
    /// activation and epsilon.
    pub model: String,
    /// Side of the square input in pixels, a multiple of the patch size. Source: 448 in
    /// AnomalyDINO, 518 in RareCLIP.
    #[schemars(range(min = 1, max = 16384))]
    pub image_size: usize,
    /// Where it runs: `cpu`, `cuda` for the first CUDA device, `cuda:1` for the second and so on.
    #[schemars(extend("x-runtime" = true))]
    pub device: Device,
    /// Whether images that wait are put through the model in one run, which takes memory for the
    /// activations of all of them at once. Default false: on the processor a DINOv2-S at 448 pixels
    /// is slower in batches, and every image would wait for the last one of its run. Small models
    /// gain. Numbers are not those of an image alone: they are within 1e-4 of the largest in f32 on
    /// the processor, 1e-3 in f32 on CUDA, 0.1 in bf16 and 0.02 in f16. Batches on CUDA devices
    /// were not measured.
    #[schemars(extend("x-runtime" = true))]
    pub batch: bool,
    /// Precision of weights and arithmetic.
    pub precision: Precision,
    /// Tokens as they leave a block ("raw", as in RareCLIP), or after the model's final norm
    /// ("norm", as in AnomalyDINO).
    pub tokens: Tokens,
    /// Sides in patches of square windows that are embedded as if each were an image, for
    /// `clip-text` with `windows` (WinCLIP: 2 and 3). Default none.
    #[schemars(length(max = 64), inner(range(min = 1, max = 8191)))]
    pub windows: Vec<usize>,
    /// Activation in the MLPs. Default: as the config beside the checkpoint says, else "gelu".
    /// RareCLIP at 518 pixels uses "gelu" with weights that were trained with "quick-gelu".
    pub activation: Option<Activation>,
    /// Attention heads. Default: as the config beside the checkpoint says, else one per 64 of the
    /// width, or 16 where the width is that of CLIP's ViT-H/14, ViT-g/14 or ViT-bigG/14.
    #[schemars(range(min = 1, max = 4096))]
    pub heads: Option<usize>,
    /// How the position table is brought to another image size. Default: the family's own rule.
    pub position_resize: Option<PositionResize>,
    /// Subtracted per channel (R G B, of values in 0..1). Default: the family's own.
    #[schemars(inner(range(min = -1000.0, max = 1000.0)))]
    pub mean: Option<[f32; 3]>,
    /// Divisor per channel (R G B). Default: the family's own.
    #[schemars(inner(range(min = 0.000_001, max = 1000.0)))]
    pub std: Option<[f32; 3]>,
    /// Order of colour conversion and resizing.
    pub preset: Preset,
}

/// Precision of weights and arithmetic. Tokens and embeddings are given as 32-bit floats always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floats; half-precision checkpoints are widened.
    #[default]
    F32,
    /// 16-bit brain floats: half the memory; the residual stream too is rounded to 8 bits of
    /// mantissa.
    Bf16,
    /// 16-bit floats, on CUDA devices only: half the memory, 11 bits of mantissa.
    F16,
}

impl Default for VitTchOptions {
    fn default() -> Self {
        Self {
            model: "dinov2-small".into(),
            image_size: 448,
            device: Device::Cpu,
            batch: false,
            precision: Precision::F32,
            tokens: Tokens::Raw,
            windows: Vec::new(),
            activation: None,
            heads: None,
            position_resize: None,
            mean: None,
            std: None,
            preset: Preset::default(),
        }
    }
}

impl VitTchOptions {
    /// What is asked of the transformer, whatever the engine.
    pub(crate) fn wishes(&self) -> Wishes<'_> {
        Wishes {
            model: &self.model,
            image_size: self.image_size,
            windows: &self.windows,
            overrides: Overrides {
                heads: self.heads,
                activation: self.activation,
            },
            position_resize: self.position_resize,
            mean: self.mean,
            std: self.std,
            preset: self.preset,
        }
    }
}
