//! Nodes and weights, one by one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;
use rareclip_checkpoints::onnx::{
    Attribute, EXTERNAL, Entry, Graph, Model, Node, OperatorSet, Tensor, ValueInfo, element,
};
use rareclip_checkpoints::{Checkpoint, Dtype, Span};

use crate::operators::brain::Source;
use crate::{Error, Result, operators};
use rareclip_vit::family::{Linear, Rows};

/// Domain of onnxruntime's own operators.
pub(super) const CONTRIB: &str = "com.microsoft";
/// Version of the standard operators: the first with LayerNormalization.
const OPSET: i64 = 17;
/// Version of the ONNX format that goes with it.
const IR_VERSION: i64 = 8;

/// A written model and the folder its weights lie in.
pub(crate) struct Built {
    /// The encoded model.
    pub(crate) model: Vec<u8>,
    /// Folder of the checkpoint that the model refers to by file name.
    pub(crate) folder: PathBuf,
    /// The weights that operators on brain floats refer to, by their place here.
    pub(crate) brain: Vec<Source>,
}

/// Collects nodes and weights.
pub(super) struct Builder<'c> {
    checkpoint: &'c Checkpoint,
    /// Without links: onnxruntime refuses weights that a link leads out of the model's folder.
    file: PathBuf,
    nodes: Vec<Node>,
    weights: Vec<Tensor>,
    brain: Vec<Source>,
    seen: HashMap<String, (String, bool)>,
    count: usize,
}

impl<'c> Builder<'c> {
    pub(super) fn new(checkpoint: &'c Checkpoint) -> Result<Self> {
        let path = checkpoint.path();
        let file = path.canonicalize().map_err(|source| {
            Error::Checkpoint(rareclip_checkpoints::Error::Io {
                path: path.to_owned(),
                source,
            })
        })?;
        Ok(Self {
            checkpoint,
            file,
            nodes: Vec::new(),
            weights: Vec::new(),
            brain: Vec::new(),
            seen: HashMap::new(),
            count: 0,
        })
    }

    /// A value name that no other has.
    pub(super) fn fresh(&mut self, stem: &str) -> String {
        self.count += 1;
        format!("{stem}_{}", self.count)
    }

    /// Adds a node with the given outputs.
    pub(super) fn push(
        &mut self,
        domain: &str,
        operator: &str,
        inputs: &[&str],
        outputs: &[&str],
        attribute: Vec<Attribute>,
    ) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let name = self.fresh(operator);
        self.nodes.push(Node {
            input: owned(inputs),
            output: owned(outputs),
            name,
            op_type: operator.to_owned(),
            attribute,
            domain: domain.to_owned(),
        });
    }

    /// Adds a node with one output and gives its name.
    pub(super) fn node(
        &mut self,
        domain: &str,
        operator: &str,
        inputs: &[&str],
        attribute: Vec<Attribute>,
    ) -> String {
        let output = self.fresh("value");
        self.push(domain, operator, inputs, &[&output], attribute);
        output
    }

    /// Writes numbers into the model.
    pub(super) fn constant(&mut self, stem: &str, dims: &[usize], values: &[f32]) -> String {
        let name = self.fresh(stem);
        let raw_data = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect::<Vec<_>>();
        self.weights.push(Tensor {
            dims: dims.iter().map(|&axis| axis as i64).collect(),
            data_type: element::F32,
            name: name.clone(),
            raw_data: Bytes::from(raw_data),
            ..Tensor::default()
        });
        name
    }

    /// Writes bytes into the model, as elements of one byte each.
    pub(super) fn bytes(
        &mut self,
        stem: &str,
        dims: &[usize],
        data_type: i32,
        values: Vec<u8>,
    ) -> String {
        let name = self.fresh(stem);
        self.weights.push(Tensor {
            dims: dims.iter().map(|&axis| axis as i64).collect(),
            data_type,
            name: name.clone(),
            raw_data: Bytes::from(values),
            ..Tensor::default()
        });
        name
    }

    /// Writes whole numbers into the model.
    pub(super) fn integers(&mut self, stem: &str, values: &[i64]) -> String {
        let name = self.fresh(stem);
        let raw_data = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect::<Vec<_>>();
        self.weights.push(Tensor {
            dims: vec![values.len() as i64],
            data_type: element::I64,
            name: name.clone(),
            raw_data: Bytes::from(raw_data),
            ..Tensor::default()
        });
        name
    }

    /// A vector of the checkpoint, or a part of it, copied into the model.
    pub(super) fn vector(&mut self, key: &str, rows: Option<Rows>) -> Result<String> {
        let values = self.vector_values(key, rows)?;
        Ok(self.constant(key, &[values.len()], &values))
    }

    /// The numbers of a vector of the checkpoint, or of a part of it.
    pub(super) fn vector_values(&self, key: &str, rows: Option<Rows>) -> Result<Vec<f32>> {
        let values = self.checkpoint.f32(key)?;
        let Rows { part, of } = rows.unwrap_or(Rows { part: 0, of: 1 });
        let length = values.len() / of;
        Ok(values[part * length..(part + 1) * length].to_vec())
    }

    /// A tensor of the checkpoint, or a part of it: by reference where it can be. The flag says
    /// that its two axes are swapped.
    pub(super) fn tensor(&mut self, key: &str, rows: Option<Rows>) -> Result<(String, bool)> {
        let Rows { part, of } = rows.unwrap_or(Rows { part: 0, of: 1 });
        let seen = format!("{key}[{part}/{of}]");
        if let Some(known) = self.seen.get(&seen) {
            return Ok(known.clone());
        }
        let info = self.checkpoint.info(key)?;
        let mut shape = info.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first /= of;
        }
        let usable = |span: &Span| {
            let size = info.dtype.size();
            size > 0 && span.offset.is_multiple_of(size) && (of == 1 || !info.transposed)
        };
        let result = match info.span.filter(usable) {
            Some(span) => {
                let length = span.length / of;
                let part = Span {
                    offset: span.offset + part * length,
                    length,
                };
                if info.transposed {
                    shape.reverse();
                }
                (
                    self.reference(&seen, &shape, &info.dtype, part),
                    info.transposed,
                )
            }
            None => {
                let values = self.vector_values(key, rows)?;
                (self.constant(&seen, &shape, &values), false)
            }
        };
        self.seen.insert(seen, result.clone());
        Ok(result)
    }

    /// A range of the checkpoint file as a tensor; halves are widened when the session is made.
    fn reference(&mut self, name: &str, shape: &[usize], dtype: &Dtype, span: Span) -> String {
        let file = self
            .file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let entry = |key: &str, value: String| Entry {
            key: key.into(),
            value,
        };
        let data_type = match dtype {
            Dtype::F16 => element::F16,
            Dtype::Bf16 => element::BF16,
            _ => element::F32,
        };
        self.weights.push(Tensor {
            dims: shape.iter().map(|&axis| axis as i64).collect(),
            data_type,
            name: name.to_owned(),
            external_data: vec![
                entry("location", file),
                entry("offset", span.offset.to_string()),
                entry("length", span.length.to_string()),
            ],
            data_location: EXTERNAL,
            ..Tensor::default()
        });
        if data_type == element::F32 {
            return name.to_owned();
        }
        self.node(
            "",
            "Cast",
            &[name],
            vec![Attribute::int("to", element::F32.into())],
        )
    }

    /// `x W^T` without the bias, for `x` `[.., in]`.
    pub(super) fn product(&mut self, x: &str, linear: &Linear) -> Result<String> {
        let (weight, swapped) = self.tensor(&linear.weight, linear.rows)?;
        Ok(self.product_with(x, &weight, !swapped))
    }

    /// `x W` or, if `out_first`, `x W^T`.
    pub(super) fn product_with(&mut self, x: &str, weight: &str, out_first: bool) -> String {
        if out_first {
            self.node(
                CONTRIB,
                "FusedMatMul",
                &[x, weight],
                vec![Attribute::int("transB", 1)],
            )
        } else {
            self.node("", "MatMul", &[x, weight], Vec::new())
        }
    }

    /// The attribute that names a weight of operators on brain floats.
    pub(super) fn brain(&mut self, source: Source) -> Vec<Attribute> {
        self.brain.push(source);
        let place = self.brain.len() as i64 - 1;
        vec![Attribute::int(operators::brain::WEIGHT, place)]
    }

    /// The encoded model.
    pub(super) fn finish(self, inputs: Vec<ValueInfo>, outputs: Vec<ValueInfo>) -> Built {
        let version = |domain: &str, version| OperatorSet {
            domain: domain.into(),
            version,
        };
        let model = Model {
            ir_version: IR_VERSION,
            graph: Some(Graph {
                node: self.nodes,
                name: "vit".into(),
                initializer: self.weights,
                input: inputs,
                output: outputs,
            }),
            opset_import: vec![
                version("", OPSET),
                version(CONTRIB, 1),
                version(operators::DOMAIN, 1),
            ],
        };
        let folder = self.file.parent().unwrap_or(Path::new(".")).to_owned();
        Built {
            model: model.encode_to_vec(),
            folder,
            brain: self.brain,
        }
    }
}
