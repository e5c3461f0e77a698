//! What the service promises, asked without HTTP.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;
mod durability;
mod order;
mod postgres;
mod streams;
