//! The options of `type = "onnx"`.

use std::path::PathBuf;

use rareclip_core::Device;
use rareclip_imaging::{IMAGENET_MEAN, IMAGENET_STD, Preset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Any ONNX file whose outputs are feature maps `[1, channels, rows, columns]` or tokens
/// `[1, tokens, width]`.
///
/// Block n of the other tables is the n-th of `outputs`. All are brought to one patch grid: by
/// averaging where a map is larger, bilinearly (corners not aligned) where it is smaller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OnnxOptions {
    /// Path of the .onnx file.
    pub model: String,
    /// Side of the square input in pixels.
    #[schemars(range(min = 1, max = 16384))]
    pub image_size: usize,
    /// Name of the input; may be left out where there is only one.
    pub input: Option<String>,
    /// The values that give tokens, in order: any value of the graph, not only its declared
    /// outputs.
    #[schemars(length(max = 4096))]
    pub outputs: Vec<OnnxOutput>,
    /// The value that gives the image embedding; default: the mean over the last of `outputs`.
    pub embedding: Option<String>,
    /// Side of the patch grid. Default: the largest of the outputs used.
    #[schemars(range(min = 1, max = 8191))]
    pub grid: Option<usize>,
    /// Subtracted per channel (R G B, of values in 0..1). Default: ImageNet's.
    #[schemars(inner(range(min = -1000.0, max = 1000.0)))]
    pub mean: [f32; 3],
    /// Divisor per channel (R G B). Default: ImageNet's.
    #[schemars(inner(range(min = 0.000_001, max = 1000.0)))]
    pub std: [f32; 3],
    /// Order of colour conversion and resizing.
    pub preset: Preset,
    /// Where it runs: `cpu`, `cuda` for the first CUDA device, `cuda:1` for the second and so on.
    /// CUDA needs an onnxruntime that was built for it.
    #[schemars(extend("x-runtime" = true))]
    pub device: Device,
    /// Threads for one image on the processor; 0 for one per core.
    #[schemars(extend("x-runtime" = true), range(min = 0, max = 4096))]
    pub threads: usize,
    /// Whether images that wait are put through the model in one run, which takes memory for all of
    /// them at once. The input must have a dynamic batch axis. Default false: on the
    /// processor only small models gain, and every image would wait for the last one of its run.
    /// Images of a run are within 1e-3 of the same images alone; this is checked with two images
    /// when the backbone is built.
    #[schemars(extend("x-runtime" = true))]
    pub batch: bool,
    /// Path of the onnxruntime library. Default: RARECLIP_ORT_DYLIB, ORT_DYLIB_PATH, the cache of
    /// `rareclip models`, the system's.
    #[schemars(extend("x-runtime" = true))]
    pub onnxruntime: Option<PathBuf>,
}

/// A value of an ONNX graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnnxOutput {
    /// Its name in the graph.
    pub name: String,
    /// Tokens only: how many come before the patches (class token, registers). Default: what is
    /// left over of a square grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65_536))]
    pub prefix_tokens: Option<usize>,
}

impl Default for OnnxOptions {
    fn default() -> Self {
        Self {
            model: String::new(),
            image_size: 448,
            input: None,
            outputs: Vec::new(),
            embedding: None,
            grid: None,
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
            preset: Preset::default(),
            device: Device::Cpu,
            threads: 0,
            batch: false,
            onnxruntime: None,
        }
    }
}
