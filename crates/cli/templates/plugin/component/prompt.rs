//! The rareclip prompt head `{{name}}`: what is brighter or darker than its image is suspect.

use std::sync::Arc;

use ndarray::{Axis, s};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::patches::median;
use rareclip_core::{BoxError, Features, Grid, Prior, PromptHead, PromptHeadFactory, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

rareclip_core::register!(prompt {{Name}}Options);

/// A prior from brightness: what is much brighter or darker than most of its image is suspect.
///
/// It is for backbones whose tokens begin with the mean of R, G and B, such as `thumbnail`. The
/// prior of a patch is d / (d + `tolerance`), where d is how far its brightness is from the median
/// patch's; that of the image is the largest.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct {{Name}}Options {
    /// The block read, 1-based. Default 1.
    #[schemars(range(min = 1, max = 1000))]
    pub block: usize,
    /// The distance in brightness that has a prior of one half. Default 0.2.
    #[schemars(range(min = 0.001, max = 1000.0))]
    pub tolerance: f32,
}

impl Default for {{Name}}Options {
    fn default() -> Self {
        Self {
            block: 1,
            tolerance: 0.2,
        }
    }
}

/// R, G and B, at the beginning of a token.
const COLOURS: usize = 3;

#[typetag::serde(name = "{{name}}")]
impl PromptHeadFactory for {{Name}}Options {
    fn blocks(&self) -> Vec<usize> {
        vec![self.block]
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Arc<dyn PromptHead>, BoxError> {
        let width = backbone.width(self.block)?;
        if width < COLOURS {
            return Err(format!("tokens of width {width} do not begin with R, G and B").into());
        }
        Ok(Arc::new(Brightness {
            options: self.clone(),
            grid: backbone.grid,
            width,
        }))
    }
}

struct Brightness {
    options: {{Name}}Options,
    grid: Grid,
    width: usize,
}

impl PromptHead for Brightness {
    fn prior(&self, features: &Features) -> Result<Prior, BoxError> {
        let tokens = features.tokens_of(self.options.block, self.grid, self.width)?;
        let brightness = tokens.slice(s![.., ..COLOURS]).sum_axis(Axis(1)) / COLOURS as f32;
        let median = median(brightness.iter().copied());
        let distances = brightness.mapv(|value| (value - median).abs());
        let patches = distances.mapv(|distance| distance / (distance + self.options.tolerance));
        Ok(Prior::new(
            patches.iter().copied().fold(0.0, f32::max),
            patches,
        )?)
    }
}
