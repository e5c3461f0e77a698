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

pub(crate) use encode::{decode, encode};
pub(crate) use handle::Handle;
pub use job::StateExport;
pub(crate) use job::{Change, ImageJob, Job, Ready, Window, Work};
pub(crate) use owner::{Owner, now};
pub(crate) use residency::Residency;
pub(crate) use scoring::replay;
pub(crate) use shared::Shared;
pub(crate) use view::{Figures, View};
