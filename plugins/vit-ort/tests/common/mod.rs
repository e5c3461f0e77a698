//! What the tests of this crate share.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ndarray::{Array4, ArrayD, ArrayView4, IxDyn, s};
use prost::Message;
use rareclip_checkpoints::Checkpoint;
use rareclip_checkpoints::onnx::{Attribute, Graph, Model, Node, OperatorSet, ValueInfo, element};

/// A tensor of a safetensors file.
pub fn array(checkpoint: &Checkpoint, key: &str) -> ArrayD<f32> {
    let shape = checkpoint.info(key).unwrap().shape;
    ArrayD::from_shape_vec(IxDyn(&shape), checkpoint.f32(key).unwrap().into_owned()).unwrap()
}

/// One image of a batch.
pub fn one(images: ArrayView4<'_, f32>, index: usize) -> Array4<f32> {
    images.slice(s![index..=index, .., .., ..]).to_owned()
}

/// Blocks to ask for.
pub fn blocks(list: &[usize]) -> BTreeSet<usize> {
    list.iter().copied().collect()
}

/// Images of smooth colours with some noise, `[count, 3, side, side]`, about as large as normalised
/// pictures.
pub fn pictures(count: usize, side: usize) -> Array4<f32> {
    Array4::from_shape_fn((count, 3, side, side), |(image, channel, y, x)| {
        let (image, channel) = (image as f32, channel as f32);
        let (y, x) = (y as f32 / side as f32, x as f32 / side as f32);
        let noise = ((y * 12_989.8 + x * 78_233.3 + image * 37.7).sin() * 43_758.547).fract();
        1.5 * (6.0 * x + image + channel).sin() * (9.0 * y - channel).cos() + 0.2 * noise
    })
}

/// Writes a checkpoint again, in half precision.
pub fn write_halves(checkpoint: &Checkpoint, to: &Path) {
    let halves = |values: &[f32]| -> Vec<u8> {
        values
            .iter()
            .flat_map(|&value| half::f16::from_f32(value).to_le_bytes())
            .collect()
    };
    write(checkpoint, to, safetensors::Dtype::F16, halves, "");
}

/// Writes a checkpoint again, without one tensor.
pub fn write_without(checkpoint: &Checkpoint, to: &Path, lost: &str) {
    let floats = |values: &[f32]| -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    };
    write(checkpoint, to, safetensors::Dtype::F32, floats, lost);
}

fn write(
    checkpoint: &Checkpoint,
    to: &Path,
    dtype: safetensors::Dtype,
    encode: impl Fn(&[f32]) -> Vec<u8>,
    lost: &str,
) {
    let tensors: Vec<_> = checkpoint
        .names()
        .filter(|name| *name != lost)
        .map(|name| {
            let shape = checkpoint.info(name).unwrap().shape;
            (name, shape, encode(&checkpoint.f32(name).unwrap()))
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap();
        (*name, view)
    });
    safetensors::serialize_to_file(views, None, to).unwrap();
}

/// Writes a DINOv2 checkpoint under Meta's original names, queries, keys and values joined.
pub fn write_meta_names(checkpoint: &Checkpoint, to: &Path) {
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let bytes = |key: &str| -> Vec<u8> {
        checkpoint
            .f32(key)
            .unwrap()
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    };
    for name in checkpoint
        .names()
        .filter(|name| !name.contains("attention.attention"))
    {
        let meta = name
            .replace("embeddings.cls_token", "cls_token")
            .replace("embeddings.position_embeddings", "pos_embed")
            .replace("embeddings.patch_embeddings.projection", "patch_embed.proj")
            .replace("encoder.layer.", "blocks.")
            .replace("attention.output.dense", "attn.proj")
            .replace("layer_scale1.lambda1", "ls1.gamma")
            .replace("layer_scale2.lambda1", "ls2.gamma")
            .replace("layernorm.", "norm.");
        tensors.push((meta, checkpoint.info(name).unwrap().shape, bytes(name)));
    }
    for query in checkpoint
        .names()
        .filter(|name| name.contains("attention.attention.query"))
    {
        let parts = ["query", "key", "value"].map(|part| query.replace("query", part));
        let mut shape = checkpoint.info(query).unwrap().shape;
        shape[0] *= 3;
        let joined = parts.iter().flat_map(|part| bytes(part)).collect();
        let meta = query
            .replace("encoder.layer.", "blocks.")
            .replace("attention.attention.query", "attn.qkv");
        tensors.push((meta, shape, joined));
    }
    let dtype = safetensors::Dtype::F32;
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize_to_file(views, None, to).unwrap();
}

/// Averages over squares of 4 and, from there, of 2: grids of 6 and 3 at 24 pixels. Only the second
/// is a declared output. It takes `images` images at a time, -1 for any number.
pub fn pools(folder: &Path, images: i64) -> PathBuf {
    let pool = |input: &str, output: &str, side: i64| Node {
        input: vec![input.into()],
        output: vec![output.into()],
        op_type: "AveragePool".into(),
        attribute: vec![
            Attribute::ints("kernel_shape", &[side, side]),
            Attribute::ints("strides", &[side, side]),
        ],
        ..Node::default()
    };
    let graph = Graph {
        node: vec![pool("image", "fine", 4), pool("fine", "coarse", 2)],
        name: "pools".into(),
        input: vec![ValueInfo::tensor(
            "image",
            element::F32,
            &[images, 3, 24, 24],
        )],
        output: vec![ValueInfo::tensor(
            "coarse",
            element::F32,
            &[images, 3, 3, 3],
        )],
        ..Graph::default()
    };
    write_graph(graph, &folder.join("pools.onnx"))
}

/// Takes from every image the mean of all images of its run.
pub fn without_mean(folder: &Path) -> PathBuf {
    let node = |operator: &str, inputs: &[&str], output: &str, attribute| Node {
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        op_type: operator.into(),
        attribute,
        ..Node::default()
    };
    let mean = vec![Attribute::ints("axes", &[0]), Attribute::int("keepdims", 1)];
    let shape = [-1, 3, 24, 24];
    let graph = Graph {
        node: vec![
            node("ReduceMean", &["image"], "mean", mean),
            node("Sub", &["image", "mean"], "rest", Vec::new()),
        ],
        name: "without mean".into(),
        input: vec![ValueInfo::tensor("image", element::F32, &shape)],
        output: vec![ValueInfo::tensor("rest", element::F32, &shape)],
        ..Graph::default()
    };
    write_graph(graph, &folder.join("without-mean.onnx"))
}

fn write_graph(graph: Graph, path: &Path) -> PathBuf {
    let opset_import = vec![OperatorSet {
        domain: String::new(),
        version: 17,
    }];
    let model = Model {
        ir_version: 8,
        graph: Some(graph),
        opset_import,
    };
    std::fs::write(path, model.encode_to_vec()).unwrap();
    path.to_owned()
}
