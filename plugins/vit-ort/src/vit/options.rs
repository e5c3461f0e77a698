//! The options of `type = "vit"`.

use std::path::PathBuf;

use rareclip_core::Device;
use rareclip_imaging::Preset;
use rareclip_vit::family::{Activation, Overrides};
use rareclip_vit::positions::PositionResize;
use rareclip_vit::{Tokens, Wishes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A vision transformer (DINOv2, CLIP's image tower) on onnxruntime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VitOptions {
    /// A model name of `rareclip models list`, or the path of a checkpoint (.safetensors, .onnx).
    /// Its family is told by its tensor names; a config.json beside it is read for heads,
    /// activation and epsilon.
    pub model: String,
    /// Side of the square input in pixels, a multiple of the patch size. Source: 448 in
    /// AnomalyDINO, 518 in RareCLIP.
    #[schemars(range(min = 1, max = 16384))]
    pub image_size: usize,
    /// Precision of weights and arithmetic.
    pub precision: Precision,
    /// Tokens as they leave a block ("raw", as in RareCLIP), or after the model's final norm
    /// ("norm", as in AnomalyDINO).
    pub tokens: Tokens,
    /// Sides in patches of square windows that are embedded as if each were an image, for
    /// `clip-text` with `windows` (WinCLIP: 2 and 3). They run in f32 and take several times as
    /// long as the image. Default none.
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
    /// Where it runs: `cpu`, `cuda` for the first CUDA device, `cuda:1` for the second and so on.
    /// CUDA needs an onnxruntime that was built for it, and `precision = "f32"`.
    #[schemars(extend("x-runtime" = true))]
    pub device: Device,
    /// Threads for one image on the processor; 0 for one per core.
    #[schemars(extend("x-runtime" = true), range(min = 0, max = 4096))]
    pub threads: usize,
    /// Whether images that wait are put through the model in one run, which takes memory for the
    /// activations of all of them at once. Default false: on the processor a DINOv2-S at 448 pixels
    /// is slower in batches, and every image would wait for the last one of its run. Small models
    /// gain. On the processor an image has the same bits as alone; on CUDA devices, where batches
    /// were not measured, its numbers are within 1e-3 of the largest.
    #[schemars(extend("x-runtime" = true))]
    pub batch: bool,
    /// Path of the onnxruntime library. Default: RARECLIP_ORT_DYLIB, ORT_DYLIB_PATH, the cache of
    /// `rareclip models`, the system's.
    #[schemars(extend("x-runtime" = true))]
    pub onnxruntime: Option<PathBuf>,
}

/// Precision of weights and arithmetic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floats; half-precision checkpoints are widened.
    #[default]
    F32,
    /// 8-bit weights with a scale per output, activations rounded to 8 bits token by token; the
    /// first block, the attention and the norms stay in 32 bits. About twice as fast where the
    /// processor has VNNI; tokens of a DINOv2-S are off by 2 to 4 percent.
    Int8,
    /// Products in 16-bit brain floats, sums in 32 bits, in linear layers: on x86 processors with
    /// AVX-512 BF16, and under Linux on 64-bit Arm with the bf16 instructions; refused elsewhere.
    /// Half the memory and about 0.6 of the time of f32; tokens are off by 0.1 to 0.5 percent.
    Bf16,
}

impl Precision {
    /// Its name in a config.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
            Self::Bf16 => "bf16",
        }
    }
}

impl Default for VitOptions {
    fn default() -> Self {
        Self {
            model: "dinov2-small".into(),
            image_size: 448,
            precision: Precision::F32,
            tokens: Tokens::Raw,
            windows: Vec::new(),
            activation: None,
            heads: None,
            position_resize: None,
            mean: None,
            std: None,
            preset: Preset::default(),
            device: Device::Cpu,
            threads: 0,
            batch: false,
            onnxruntime: None,
        }
    }
}

impl VitOptions {
    /// What is asked of the transformer, whatever the engine.
    pub(super) fn wishes(&self) -> Wishes<'_> {
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
