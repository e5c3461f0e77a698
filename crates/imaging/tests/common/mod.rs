//! Reading the shared golden data.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses a part of it"
)]

use std::path::{Path, PathBuf};

use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};

/// The folder of golden data, or `None` with a loud line where it is absent.
pub fn fixtures(test: &str) -> Option<PathBuf> {
    Some(rareclip_testkit::shared(test)?.join("fixtures"))
}

/// A safetensors file.
pub struct Golden(Vec<u8>);

impl Golden {
    pub fn open(path: &Path) -> Self {
        Self(std::fs::read(path).unwrap())
    }

    pub fn has(&self, name: &str) -> bool {
        SafeTensors::deserialize(&self.0)
            .unwrap()
            .tensor(name)
            .is_ok()
    }

    pub fn f32(&self, name: &str) -> ArrayD<f32> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), Dtype::F32, "{name}");
        let (values, _) = tensor.data().as_chunks::<4>();
        let values = values.iter().map(|&b| f32::from_le_bytes(b)).collect();
        ArrayD::from_shape_vec(IxDyn(tensor.shape()), values).unwrap()
    }

    pub fn u8(&self, name: &str) -> ArrayD<u8> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), Dtype::U8, "{name}");
        ArrayD::from_shape_vec(IxDyn(tensor.shape()), tensor.data().to_vec()).unwrap()
    }
}
