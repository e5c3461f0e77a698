//! What the fuzz targets share: an allocator that counts, detectors without weights, and components
//! that must not be built.

// Targets of a fuzzer stop the process on what must not happen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod memory;
pub mod pickles;
pub mod states;
mod unbuilt;

#[path = "../../tests/src/backbone.rs"]
mod backbone;

// Links the components that configs and states name.
use rareclip_baselines as _;
use rareclip_distribution as _;
use rareclip_index_exact as _;
use rareclip_musc as _;
use rareclip_neighbours as _;
use rareclip_process as _;
use rareclip_prompt as _;
use rareclip_rarity as _;

rareclip_core::register! {
    backbone backbone::PixelOptions;
    backbone unbuilt::UnbuiltBackbone;
    prompt unbuilt::UnbuiltPrompt;
    bank unbuilt::UnbuiltBank;
    scorer unbuilt::UnbuiltScorer;
}
