//! What the tests of this crate share.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::path::PathBuf;

use ndarray::{ArrayD, IxDyn};
use rareclip_checkpoints::Checkpoint;

/// The folder of golden data, or a loud line and `None`.
pub fn fixtures(test: &str) -> Option<PathBuf> {
    Some(rareclip_testkit::shared(test)?.join("fixtures"))
}

/// A tensor of a safetensors file.
pub fn array(checkpoint: &Checkpoint, key: &str) -> ArrayD<f32> {
    let shape = checkpoint.info(key).unwrap().shape;
    ArrayD::from_shape_vec(IxDyn(&shape), checkpoint.f32(key).unwrap().into_owned()).unwrap()
}
