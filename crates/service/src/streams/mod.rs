//! Streams: one owner each, that applies what comes in the order it came.

mod changes;
mod encode;
mod export;
mod handle;
mod job;
mod memory;
mod owner;
mod record;
mod residency;
mod scoring;
mod shared;
mod view;

pub use encode::{decode, encode};
pub use handle::Handle;
pub use job::StateExport;
pub use job::{Change, ImageJob, Job, Ready, Window, Work};
pub use owner::{Owner, now};
pub use residency::Residency;
pub use scoring::replay;
pub use shared::Shared;
pub use view::{Figures, View};
