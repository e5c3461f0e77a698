//! What the service promises over HTTP.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code"
)]

#[path = "../service/common.rs"]
#[allow(dead_code, reason = "shared with the tests of the service itself")]
mod common;

mod access;
mod answers;
mod client;
mod components;
mod docs_page;
mod document;
mod errors;
mod events;
mod hostile;
mod images;
mod intake;
mod kserve;
mod matrix;
mod paths;
mod served;
mod streams;
mod text;
mod trust;
