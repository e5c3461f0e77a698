//! Weights, libraries and data sets for rareclip: what can be fetched and from where, checksums,
//! and the cache folder.
//!
//! * [`catalogue`](fn@catalogue) lists the artefacts and their sources, [`fetch`](fn@fetch)
//!   installs one into the [`cache`] as the environment says, [`pull`] from a given source with
//!   given [`Settings`], [`locate`] finds it, [`verify`] hashes it again, [`resolve_model`] turns a
//!   name or a path into a file.

mod archive;
pub mod cache;
pub mod catalogue;
mod download;
mod error;
pub mod fetch;
mod hub;
mod install;
mod installed;
mod local;
mod mirror;
mod pins;
mod pip;
mod progress;
mod settings;
mod web;
mod wheel;

pub use cache::{cache_dir, locate, provenance, resolve_model, verified_sha256, verify};
pub use catalogue::{Artefact, Kind, Source, catalogue};
pub use error::{Error, Result};
pub use fetch::{Choice, fetch, pull};
pub use pins::Provenance;
pub use progress::{Proof, Step};
pub use settings::{HUB, Proxy, Settings};
pub use web::tls;
