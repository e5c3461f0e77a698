//! Between `ndarray` and libtorch.

use ndarray::{Array2, Array3};
use rareclip_vit::torch::{floats, to_tensor};
use tch::Tensor;

use crate::{Error, Result, Weights};

/// Lengths below this are taken for it, so that a zero vector divides to zeros.
const SHORTEST: f64 = 1e-12;

/// The same vectors along `axis` at length 1.
pub(crate) fn unit(vectors: &Tensor, axis: i64) -> Result<Tensor> {
    let length = vectors.f_norm_scalaropt_dim(2.0, [axis].as_slice(), true)?;
    Ok(vectors.f_div(&length.f_clamp_min(SHORTEST)?)?)
}

pub(crate) fn tensors(weights: &Weights, device: tch::Device) -> Result<Vec<Tensor>> {
    let mut tensors = Vec::new();
    for layer in &weights.layers {
        tensors.push(to_tensor(layer.weight.view(), device)?);
        tensors.push(to_tensor(layer.bias.view(), device)?);
    }
    if let Some(directions) = &weights.directions {
        tensors.push(to_tensor(directions.view(), device)?);
    }
    Ok(tensors)
}

pub(crate) fn to_array2(tensor: &Tensor) -> Result<Array2<f32>> {
    let size: Vec<usize> = tensor.size().iter().map(|side| *side as usize).collect();
    match size[..] {
        [rows, columns] => Array2::from_shape_vec((rows, columns), floats(tensor)?)
            .map_err(|_| shape("a tensor", &size, "contiguous")),
        _ => Err(shape("a tensor", &size, "two axes")),
    }
}

pub(crate) fn to_array3(tensor: &Tensor) -> Result<Array3<f32>> {
    let size: Vec<usize> = tensor.size().iter().map(|side| *side as usize).collect();
    match size[..] {
        [batch, rows, columns] => Array3::from_shape_vec((batch, rows, columns), floats(tensor)?)
            .map_err(|_| shape("a tensor", &size, "contiguous")),
        _ => Err(shape("a tensor", &size, "three axes")),
    }
}

pub(crate) fn shape(what: &str, found: &[usize], expected: &str) -> Error {
    Error::Shape {
        what: what.to_owned(),
        found: found.to_vec(),
        expected: expected.to_owned(),
    }
}
