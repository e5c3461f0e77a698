//! CLIP's text tower: token ids to embeddings.

mod layout;
mod run;
mod tower;

pub(crate) use tower::VisualProjection;
pub use tower::{TextOverrides, TextTower};
