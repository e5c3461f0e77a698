//! The one road from the bytes of an image to its result. `scan`, `bench`, `train`, `calibrate` and
//! the service take it, and nothing else decodes, prepares or encodes an image.
//!
//! ```text
//! Source -> Input -> encode | Queue -> Features -> (stream) -> ResultRecord
//!                    (inline)  (service)    |
//!                                      FeatureStore
//! ```
//!
//! * [`Source`] is a file or bytes; [`Source::prepare`] decodes and resizes it to an [`Input`];
//!   [`read_ahead`] does so on a thread of its own.
//! * [`DetectorSet`] builds detectors, and each backbone that several of them use once.
//! * [`encode`] runs the backbone on one image where it is called; [`Queue`] runs it on a thread of
//!   its own, several images at once where the backbone can.
//! * [`FeatureStore`] keeps features on disk; [`StoredImages`] reads them by position, for methods
//!   that compare images.
//! * [`StageTimes`] says where the time went, [`ResultRecord`] what came out.

mod detectors;
mod encode;
mod error;
mod features;
mod input;
pub mod memory;
mod original;
mod progress;
mod queue;
mod record;
mod row;
mod stages;
mod watchdog;

pub use detectors::{DetectorSet, Member, SharedBackbone};
pub use encode::{Encoded, encode, encode_with};
pub use error::{Error, QueueError, Result};
pub use features::{FeatureStore, StoredImages};
pub use input::{Input, Source, read_ahead};
pub use original::Original;
pub use progress::Progress;
pub use queue::Queue;
pub use record::ResultRecord;
pub use row::ResultRow;
pub use stages::{EncodeTime, Stage, StageTimes};
pub use watchdog::{Stuck, Watchdog};
