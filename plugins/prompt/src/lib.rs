//! CLIP's text side as rareclip prompt heads: what "normal" and "abnormal" look like, known before
//! the first image.
//!
//! * `type = "tpb"` ([`TpbOptions`]): RareCLIP's text-patch bridge, one learned linear layer per
//!   block (ICCV 2025, section 3.1).
//! * `type = "clip-text"` ([`ClipTextOptions`]): CLIP alone, nothing learned; with windows,
//!   WinCLIP's map.
//!
//! and the scorer `prior` ([`PriorScorerOptions`]) that rests on what they say.
//!
//! The heads compare features with *text features* `[embedding width, 2]`: sentences about normal
//! and abnormal things ([`PromptSet`]) become token ids ([`tokenizer`]), the text tower of the
//! checkpoint ([`TextTower`]) encodes them, and their mean directions are kept on disk
//! ([`text_features`]), since they depend on nothing that a camera sees.
//!
//! The byte-pair encoding is that of the crate `instant-clip-tokenizer`, which carries CLIP's
//! published merges; the cleaning of texts that comes before it in the original is done here, see
//! [`tokenizer`] for what of it is left out.

mod clip_text;
mod ensemble;
mod error;
mod features;
mod heads;
mod model;
mod options;
mod prior_scorer;
mod product;
mod text;
pub mod tokenizer;
mod tpb;
mod windows;

pub use clip_text::ClipTextOptions;
pub use ensemble::{PromptSet, default_templates};
pub use error::{Error, Result};
pub use features::{TextSource, compute, text_features, text_features_in};
pub use heads::probability;
pub use options::TextOptions;
pub use prior_scorer::{Fusion, PriorScorerOptions};
pub use rareclip_checkpoints::Activation;
pub use text::{TextOverrides, TextTower};
pub use tpb::{DirectionSource, ImageProbability, TpbOptions};

rareclip_core::register! {
    prompt TpbOptions, reaches [files, weights];
    prompt ClipTextOptions, reaches [files, weights];
    scorer PriorScorerOptions;
}
