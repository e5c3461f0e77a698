//! What the service promises, asked without HTTP.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod blocking;
mod common;
mod decoding;
mod durability;
mod order;
mod postgres;
mod states;
mod streams;
mod stuck;
