//! The second room: a prior from the text side, from the first image on.

use std::fmt::Debug;
use std::sync::Arc;

use crate::backbone::BackboneSpec;
use crate::{BoxError, Features, Prior};

/// Turns features into a prior. Shared by all streams, immutable.
pub trait PromptHead: Send + Sync {
    /// What identifies its weights and texts, e.g. a sha256: state made with others is refused.
    /// Default: it has none.
    fn weights(&self) -> &str {
        "none"
    }

    /// The prior of one image, every value in [0, 1].
    ///
    /// # Errors
    /// When the features lack a block it reads.
    fn prior(&self, features: &Features) -> Result<Prior, BoxError>;
}

/// Builds a [`PromptHead`] from its options; implemented by the options struct of a plugin.
#[typetag::serde(tag = "type")]
pub trait PromptHeadFactory: Debug + Send + Sync {
    /// The blocks (1-based) it reads.
    fn blocks(&self) -> Vec<usize>;

    /// Builds the head for the backbone described.
    ///
    /// # Errors
    /// When weights are missing or do not fit the backbone.
    fn build(&self, backbone: &BackboneSpec) -> Result<Arc<dyn PromptHead>, BoxError>;
}
