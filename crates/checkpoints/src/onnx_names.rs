//! Names for the weights of an ONNX file.
//!
//! Exporters keep the names of biases and norms but fold the transposition of a linear weight into
//! a nameless constant. The graph tells where each belongs: `MatMul(x, constant)` followed by
//! `Add(…, layer.bias)` is `layer.weight`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bytes::Bytes;
use prost::Message;

use crate::error::{Error, Result};
use crate::onnx::{self, element};
use crate::tensor::{Dtype, Stored};

/// Every initialiser of the file under its own name, and recovered weights under theirs.
pub(crate) fn tensors(path: &Path, bytes: &Bytes) -> Result<BTreeMap<String, Stored>> {
    let model = onnx::Model::decode(bytes.clone()).map_err(|error| Error::damaged(path, error))?;
    let graph = model
        .graph
        .ok_or_else(|| Error::damaged(path, "it holds no graph"))?;
    let mut tensors = BTreeMap::new();
    for tensor in &graph.initializer {
        tensors.insert(tensor.name.clone(), stored(path, tensor)?);
    }
    for (name, source) in linear_weights(&graph) {
        if let Some(mut weight) = tensors.remove(&source) {
            weight.shape.reverse();
            weight.transposed = true;
            tensors.insert(name, weight);
        }
    }
    if let Some((name, first, rest)) = split_positions(&graph, &tensors) {
        let joined = tensors.remove(&first).zip(tensors.remove(&rest));
        if let Some((mut first, rest)) = joined {
            first.shape[1] += rest.shape[1];
            first.parts.extend(rest.parts);
            tensors.insert(name, first);
        }
    }
    Ok(tensors)
}

fn stored(path: &Path, tensor: &onnx::Tensor) -> Result<Stored> {
    let name = &tensor.name;
    let shape = tensor
        .dims
        .iter()
        .map(|&axis| usize::try_from(axis))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| Error::damaged(path, format!("`{name}` has a negative axis")))?;
    if tensor.data_location == onnx::EXTERNAL {
        let detail = format!("`{name}` lies in a second file; merge the weights into one .onnx");
        return Err(Error::damaged(path, detail));
    }
    let dtype = match tensor.data_type {
        element::F32 => Dtype::F32,
        element::F16 => Dtype::F16,
        element::BF16 => Dtype::Bf16,
        other => Dtype::Other(format!("ONNX element type {other}")),
    };
    let data = if dtype == Dtype::F32 && tensor.raw_data.is_empty() {
        tensor
            .float_data
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    } else {
        tensor.raw_data.clone()
    };
    let expected = shape
        .iter()
        .try_fold(dtype.size(), |product, &axis| product.checked_mul(axis))
        .ok_or_else(|| Error::damaged(path, format!("`{name}` is too large")))?;
    if dtype.size() > 0 && data.len() != expected {
        let length = data.len();
        let detail = format!("`{name}` should have {expected} bytes, it has {length}");
        return Err(Error::damaged(path, detail));
    }
    Ok(Stored {
        dtype,
        shape,
        parts: vec![data],
        transposed: false,
    })
}

/// Pairs of (`layer.weight`, name of the constant that holds it).
fn linear_weights(graph: &onnx::Graph) -> Vec<(String, String)> {
    let weights: HashMap<&str, &onnx::Tensor> = graph
        .initializer
        .iter()
        .map(|tensor| (tensor.name.as_str(), tensor))
        .collect();
    let adds: HashMap<&str, &onnx::Node> = graph
        .node
        .iter()
        .filter(|node| node.op_type == "Add")
        .flat_map(|node| node.input.iter().map(move |input| (input.as_str(), node)))
        .collect();
    let name_of = |node: &onnx::Node| {
        let (constant, output) = (node.input.get(1)?, node.output.first()?);
        let weight = weights.get(constant.as_str())?;
        let add = adds.get(output.as_str())?;
        let layer = add
            .input
            .iter()
            .find_map(|input| input.strip_suffix(".bias"))?;
        let name = format!("{layer}.weight");
        (weight.dims.len() == 2 && !weights.contains_key(name.as_str()))
            .then(|| (name, constant.clone()))
    };
    graph
        .node
        .iter()
        .filter(|node| node.op_type == "MatMul")
        .filter_map(name_of)
        .collect()
}

/// Finds a position table `[1, 1 + n, width]` that was split into the row of the class token and
/// the rest, which goes through a resize before both are concatenated again. Gives its name and
/// those of the two constants.
fn split_positions(
    graph: &onnx::Graph,
    tensors: &BTreeMap<String, Stored>,
) -> Option<(String, String, String)> {
    let prefix = tensors
        .keys()
        .find_map(|name| name.strip_suffix("cls_token"))?;
    let name = format!("{prefix}position_embeddings");
    if tensors.contains_key(&name) {
        return None;
    }
    let makers: HashMap<&str, &onnx::Node> = graph
        .node
        .iter()
        .flat_map(|node| {
            node.output
                .iter()
                .map(move |output| (output.as_str(), node))
        })
        .collect();
    let origin = |value: &str| {
        let mut value = value;
        for _ in 0..16 {
            if tensors.contains_key(value) {
                return Some(value.to_owned());
            }
            let maker = makers.get(value)?;
            match maker.op_type.as_str() {
                "Reshape" | "Transpose" | "Resize" | "Cast" => value = maker.input.first()?,
                _ => return None,
            }
        }
        None
    };
    graph
        .node
        .iter()
        .filter(|node| node.op_type == "Concat")
        .find_map(|node| {
            let [first, rest] = node.input.as_slice() else {
                return None;
            };
            let (head, rest) = (tensors.get(first)?, origin(rest)?);
            match (head.shape.as_slice(), tensors.get(&rest)?.shape.as_slice()) {
                (&[1, 1, width], &[1, _, other]) if width == other => {
                    Some((name.clone(), first.clone(), rest))
                }
                _ => None,
            }
        })
}
