//! Opening an ONNX file, with further values as outputs.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use ort::session::Session;
use prost::Message;
use rareclip_checkpoints::onnx::{Graph, Model, ValueInfo};

use super::OnnxOptions;
use crate::error::{output as output_error, runtime as refused};
use crate::{Error, Result, runtime};

/// A session whose outputs include all values the options name, and the sha256 of the file.
pub(super) fn open(path: &Path, options: &OnnxOptions) -> Result<(Session, String)> {
    let weights = rareclip_checkpoints::sha256_of(path)?;
    let environment = runtime::environment(options.onnxruntime.as_deref())?;
    let mut builder = runtime::builder(&environment, options.device, options.threads)?;
    let bytes = std::fs::read(path).map_err(|source| {
        Error::Checkpoint(rareclip_checkpoints::Error::Io {
            path: path.to_owned(),
            source,
        })
    })?;
    let bytes = Bytes::from(bytes);
    let missing = undeclared(path, &bytes, options)?;
    let session = if missing.is_empty() {
        builder
            .commit_from_file(path)
            .map_err(refused("reading the ONNX file"))?
    } else {
        let folder = path.parent().unwrap_or(Path::new("."));
        runtime::session(builder, &with_outputs(&bytes, missing), folder, None)?
    };
    Ok((session, weights))
}

/// The input that takes the image.
pub(super) fn input(session: &Session, path: &Path, options: &OnnxOptions) -> Result<String> {
    let names: Vec<&str> = session.inputs().iter().map(|input| input.name()).collect();
    match (&options.input, names.as_slice()) {
        (Some(wanted), names) if names.contains(&wanted.as_str()) => Ok(wanted.clone()),
        (None, [only]) => Ok((*only).to_owned()),
        _ => Err(Error::Option {
            key: "input".into(),
            detail: format!(
                "{} has the inputs {}; name one",
                path.display(),
                names.join(", ")
            ),
        }),
    }
}

/// Fails if the input takes a fixed number of images.
pub(super) fn check_batch_axis(session: &Session, path: &Path, name: &str) -> Result<()> {
    let inputs = session.inputs().iter();
    let shape = inputs
        .filter(|input| input.name() == name)
        .find_map(|input| input.dtype().tensor_shape());
    match shape.and_then(|shape| shape.first()) {
        Some(&images) if images >= 0 => Err(Error::Option {
            key: "batch".into(),
            detail: format!(
                "the input `{name}` of {} takes {images} image at a time. Export the model with a dynamic batch axis, or leave out `batch`",
                path.display()
            ),
        }),
        _ => Ok(()),
    }
}

/// The values wanted that are no outputs of the graph yet.
fn undeclared(path: &Path, bytes: &Bytes, options: &OnnxOptions) -> Result<Vec<String>> {
    let damaged = |detail: String| {
        Error::Checkpoint(rareclip_checkpoints::Error::Damaged {
            path: path.to_owned(),
            detail,
        })
    };
    let model = Model::decode(bytes.clone()).map_err(|error| damaged(error.to_string()))?;
    let graph = model
        .graph
        .ok_or_else(|| damaged("it holds no graph".into()))?;
    let declared: BTreeSet<&str> = graph
        .output
        .iter()
        .map(|output| output.name.as_str())
        .collect();
    let computed: BTreeSet<&str> = graph
        .node
        .iter()
        .flat_map(|node| &node.output)
        .map(String::as_str)
        .collect();
    let wanted = options
        .outputs
        .iter()
        .map(|output| &output.name)
        .chain(&options.embedding);
    let mut missing = Vec::new();
    for name in wanted {
        if declared.contains(name.as_str()) || missing.contains(name) {
            continue;
        }
        if !computed.contains(name.as_str()) {
            let nearest = computed
                .iter()
                .max_by(|left, right| {
                    let similarity = |other: &str| strsim::jaro_winkler(name, other);
                    similarity(left).total_cmp(&similarity(right))
                })
                .map_or_else(String::new, |nearest| {
                    format!("; the most similar is `{nearest}`")
                });
            let detail = format!("no such value in the graph{nearest}");
            return Err(output_error(path, name, detail));
        }
        missing.push(name.clone());
    }
    Ok(missing)
}

/// A model with further outputs: in protobuf, a message appended to another is merged into it.
fn with_outputs(bytes: &[u8], names: Vec<String>) -> Vec<u8> {
    let output = names
        .into_iter()
        .map(|name| ValueInfo { name, kind: None })
        .collect();
    let graph = Some(Graph {
        output,
        ..Graph::default()
    });
    let addition = Model {
        graph,
        ..Model::default()
    }
    .encode_to_vec();
    [bytes, &addition].concat()
}
