//! The rareclip prompt head `{{name}}`: what is much brighter or darker than most of its image is suspect.

use std::sync::Arc;

use ndarray::Array1;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{BoxError, Features, Grid, Prior, PromptHead, PromptHeadFactory, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

rareclip_core::register!(prompt {{Name}}Options);

/// A prior from brightness: what is much brighter or darker than most of its image is suspect.
///
/// It is for backbones whose tokens begin with the mean of R, G and B, such as `thumbnail`. The prior of a patch is
/// d / (d + `tolerance`), where d is how far its brightness is from the median patch's; that of the image is the largest.
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
        let width = backbone.width_of(self.block);
        let width = width.ok_or_else(|| format!("the backbone has no block {}", self.block))?;
        if width < COLOURS {
            return Err(format!("tokens of width {width} do not begin with R, G and B").into());
        }
        Ok(Arc::new(Brightness {
            block: self.block,
            tolerance: self.tolerance,
            grid: backbone.grid,
            width,
        }))
    }
}

struct Brightness {
    block: usize,
    tolerance: f32,
    grid: Grid,
    width: usize,
}

impl PromptHead for Brightness {
    fn weights(&self) -> &str {
        "none"
    }

    fn prior(&self, features: &Features) -> Result<Prior, BoxError> {
        let tokens = features.block(self.block)?;
        let shape = (self.grid.patches(), self.width);
        if features.grid != self.grid || tokens.dim() != shape {
            return Err(format!("tokens are {:?}, expected {shape:?}", tokens.dim()).into());
        }
        let tokens = tokens.rows().into_iter();
        let brightness = tokens.map(|token| token.iter().take(COLOURS).sum::<f32>() / 3.0);
        let brightness: Vec<f32> = brightness.collect();
        let mut sorted = brightness.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        let distances = brightness.iter().map(|value| (value - median).abs());
        let patches: Array1<f32> = distances.map(|d| d / (d + self.tolerance)).collect();
        if !patches.iter().all(|value| value.is_finite()) {
            return Err("a token is not finite".into());
        }
        let image = patches.iter().copied().fold(0.0, f32::max);
        Ok(Prior { patches, image })
    }
}
