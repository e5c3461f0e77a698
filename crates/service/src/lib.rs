//! Streams that outlive the process, without HTTP: `rareclip-server` puts the API, keys and the
//! page in front of it.
//!
//! ```text
//! Service -> decode pool -> encoder (one for each backbone, batches across streams)
//!    |                         |
//!    '-> owner of the stream <-'   one for each stream, images in the order they arrived
//!           |-> assess -> store (result and journal, one transaction) -> absorb -> answer
//!           '-> state files, now and then; memory given back when others need it
//! ```

pub mod budget;
mod building;
pub mod clean;
mod custom;
pub mod detectors;
mod entry;
mod error;
pub mod metrics;
pub mod model;
pub mod pictures;
mod service;
mod settings;
mod store;
mod streams;
mod submission;
pub mod text;

pub use detectors::{Detectors, NamedConfig};
pub use error::{ServiceError, StoreError};
pub use rareclip_core::Trust;
pub use service::{Event, EventKind, Service};
pub use settings::{KeepPictures, Settings, make_data_folder};
pub use streams::StateExport;
pub use submission::{Submission, SubmitOptions, Submitted};
