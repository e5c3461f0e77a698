use std::sync::Arc;

use ndarray::Array1;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{BoxError, Features, Grid, Prior, PromptHead, PromptHeadFactory, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The mean of a token through a sigmoid; no words and no weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PromptOptions {
    /// The block read, 1-based. Default 3.
    #[schemars(range(min = 1, max = 64))]
    block: usize,
    /// Factor on the mean. Default 2.
    #[schemars(range(min = 0.0, max = 100.0))]
    steepness: f32,
}

impl Default for PromptOptions {
    fn default() -> Self {
        Self {
            block: 3,
            steepness: 2.0,
        }
    }
}

#[typetag::serde(name = "testkit")]
impl PromptHeadFactory for PromptOptions {
    fn blocks(&self) -> Vec<usize> {
        vec![self.block]
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Arc<dyn PromptHead>, BoxError> {
        let width = backbone.width_of(self.block);
        Ok(Arc::new(StandIn {
            options: self.clone(),
            grid: backbone.grid,
            width: width.ok_or_else(|| format!("the backbone has no block {}", self.block))?,
        }))
    }
}

struct StandIn {
    options: PromptOptions,
    grid: Grid,
    width: usize,
}

impl PromptHead for StandIn {
    fn weights(&self) -> &str {
        "testkit"
    }

    fn prior(&self, features: &Features) -> Result<Prior, BoxError> {
        let tokens = features.block(self.options.block)?;
        if features.grid != self.grid || tokens.dim() != (self.grid.patches(), self.width) {
            return Err(format!("tokens of shape {:?} do not fit", tokens.shape()).into());
        }
        let probability = |token: ndarray::ArrayView1<'_, f32>| {
            let mean = token.iter().map(|&value| f64::from(value)).sum::<f64>() / self.width as f64;
            (1.0 / (1.0 + (-f64::from(self.options.steepness) * mean).exp())) as f32
        };
        let patches: Array1<f32> = tokens.rows().into_iter().map(probability).collect();
        if !patches.iter().all(|value| value.is_finite()) {
            return Err("a token is not a finite number".into());
        }
        Ok(Prior {
            image: patches.iter().copied().fold(0.0, f32::max),
            patches,
        })
    }
}
