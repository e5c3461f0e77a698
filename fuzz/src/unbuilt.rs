//! Components whose options can be read and checked, and whose construction stops the process.

use std::collections::BTreeSet;
use std::sync::Arc;

use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{
    Backbone, BackboneFactory, BoxError, ErasedBank, ErasedScorer, MemoryBankFactory, PromptHead,
    PromptHeadFactory, ScorerFactory, typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of each kind that a config can have.
macro_rules! options {
    ($($name:ident)*) => {$(
        /// A component that must not be built.
        #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            /// Whole numbers in a range.
            #[schemars(range(min = 1, max = 1000))]
            pub blocks: Vec<usize>,
            /// A share.
            #[schemars(range(min = 0.0, max = 1.0))]
            pub share: f32,
            /// Text.
            pub text: String,
        }
    )*};
}

options! { UnbuiltBackbone UnbuiltPrompt UnbuiltBank UnbuiltScorer }

#[typetag::serde(name = "unbuilt")]
impl BackboneFactory for UnbuiltBackbone {
    fn build(&self, _: &BTreeSet<usize>) -> Result<Arc<dyn Backbone>, BoxError> {
        panic!("a backbone was built")
    }
}

#[typetag::serde(name = "unbuilt")]
impl PromptHeadFactory for UnbuiltPrompt {
    fn blocks(&self) -> Vec<usize> {
        self.blocks.clone()
    }

    fn build(&self, _: &BackboneSpec) -> Result<Arc<dyn PromptHead>, BoxError> {
        panic!("a prompt head was built")
    }
}

#[typetag::serde(name = "unbuilt")]
impl MemoryBankFactory for UnbuiltBank {
    fn blocks(&self) -> Vec<usize> {
        self.blocks.clone()
    }

    fn build(&self, _: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        panic!("a bank was built")
    }
}

#[typetag::serde(name = "unbuilt")]
impl ScorerFactory for UnbuiltScorer {
    fn build(&self, _: &BackboneSpec, _: &[usize]) -> Result<Box<dyn ErasedScorer>, BoxError> {
        panic!("a scorer was built")
    }
}
