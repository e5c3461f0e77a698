//! What every engine knows of vision transformers, so that each only has to compute.
//!
//! * [`family`]: which transformer a checkpoint holds and where its tensors are, told by their
//!   names and shapes.
//! * [`positions`]: position tables brought to another patch grid.
//! * [`Plan`]: a backbone as asked for, checked against the checkpoint, with its declaration.
//! * `torch`, with the feature `torch`: devices of libtorch, and arrays to tensors and back.

mod error;
pub mod family;
mod plan;
pub mod positions;
#[cfg(feature = "torch")]
pub mod torch;

pub use error::{Error, Result};
pub use plan::{FirstTokens, Plan, Tokens, Wishes, check_images, patch_tokens, unit, window_rows};
