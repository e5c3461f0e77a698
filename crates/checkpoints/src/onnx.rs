//! The messages of the ONNX format that are needed to read weights, to give a file further outputs,
//! and to write a graph.
//!
//! Field numbers are those of ONNX's protobuf definition; fields that are not named here are lost
//! when a message is written again.

use bytes::Bytes;

/// Element types of [`Tensor::data_type`].
pub mod element {
    /// 32-bit float.
    pub const F32: i32 = 1;
    /// 64-bit signed integer.
    pub const I64: i32 = 7;
    /// 16-bit float.
    pub const F16: i32 = 10;
    /// 16-bit brain float.
    pub const BF16: i32 = 16;
}

/// Kinds of [`Attribute::kind`].
pub mod attribute_kind {
    /// One float.
    pub const FLOAT: i32 = 1;
    /// One integer.
    pub const INT: i32 = 2;
    /// A string.
    pub const STRING: i32 = 3;
    /// A tensor.
    pub const TENSOR: i32 = 4;
    /// Floats.
    pub const FLOATS: i32 = 6;
    /// Integers.
    pub const INTS: i32 = 7;
}

/// [`Tensor::data_location`] of a tensor whose bytes lie in another file.
pub const EXTERNAL: i32 = 1;

/// A model: a graph and the operator sets it is written in.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Model {
    /// Version of the format.
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    /// The graph.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    /// The operator sets.
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSet>,
}

/// An operator set.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OperatorSet {
    /// Its domain; empty for the standard operators.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// Its version.
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// Nodes, weights, inputs and outputs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Graph {
    /// The nodes in an order in which they can be run.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    /// Name of the graph.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The weights.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<Tensor>,
    /// The inputs.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfo>,
    /// The outputs.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfo>,
}

/// One operation.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    /// Names of the values it reads; "" where an optional one is left out.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Names of the values it makes; "" where an optional one is left out.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// Its own name.
    #[prost(string, tag = "3")]
    pub name: String,
    /// The operator.
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// Its settings.
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<Attribute>,
    /// Domain of the operator; empty for the standard ones.
    #[prost(string, tag = "7")]
    pub domain: String,
}

/// A setting of a node.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Attribute {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The float of kind [`attribute_kind::FLOAT`].
    #[prost(float, tag = "2")]
    pub f: f32,
    /// The integer of kind [`attribute_kind::INT`].
    #[prost(int64, tag = "3")]
    pub i: i64,
    /// The string of kind [`attribute_kind::STRING`].
    #[prost(bytes = "bytes", tag = "4")]
    pub s: Bytes,
    /// The tensor of kind [`attribute_kind::TENSOR`].
    #[prost(message, optional, tag = "5")]
    pub t: Option<Tensor>,
    /// The floats of kind [`attribute_kind::FLOATS`].
    #[prost(float, repeated, packed = "false", tag = "7")]
    pub floats: Vec<f32>,
    /// The integers of kind [`attribute_kind::INTS`].
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    /// Which of the fields above counts, see [`attribute_kind`].
    #[prost(int32, tag = "20")]
    pub kind: i32,
}

/// A constant array.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Tensor {
    /// Its shape.
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    /// Its element type, see [`element`].
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    /// The elements, if they are written as floats.
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    /// Its name.
    #[prost(string, tag = "8")]
    pub name: String,
    /// The elements, if they are written as little-endian bytes.
    #[prost(bytes = "bytes", tag = "9")]
    pub raw_data: Bytes,
    /// Where the bytes lie, for [`EXTERNAL`] tensors: keys `location`, `offset`, `length`.
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<Entry>,
    /// 0 for bytes in this message, [`EXTERNAL`] for another file.
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

/// A key and its value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Name and type of an input or output.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ValueInfo {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its type; may be left out for outputs.
    #[prost(message, optional, tag = "2")]
    pub kind: Option<Type>,
}

/// The type of a value; tensors only.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Type {
    /// The tensor type.
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorType>,
}

/// Element type and shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorType {
    /// The element type, see [`element`].
    #[prost(int32, tag = "1")]
    pub element: i32,
    /// The shape, if known.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

/// A shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Shape {
    /// Its axes.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

/// One axis of a shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Dimension {
    /// Its length, if fixed.
    #[prost(int64, optional, tag = "1")]
    pub value: Option<i64>,
    /// Its name, if not fixed.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
}

impl Attribute {
    /// A float.
    pub fn float(name: &str, value: f32) -> Self {
        Self {
            name: name.into(),
            f: value,
            kind: attribute_kind::FLOAT,
            ..Self::default()
        }
    }

    /// An integer.
    pub fn int(name: &str, value: i64) -> Self {
        Self {
            name: name.into(),
            i: value,
            kind: attribute_kind::INT,
            ..Self::default()
        }
    }

    /// Integers.
    pub fn ints(name: &str, values: &[i64]) -> Self {
        let ints = values.to_vec();
        Self {
            name: name.into(),
            ints,
            kind: attribute_kind::INTS,
            ..Self::default()
        }
    }
}

impl ValueInfo {
    /// A tensor of `element` type (see [`element`]) and shape; an axis of -1 may have any length.
    pub fn tensor(name: &str, element: i32, shape: &[i64]) -> Self {
        let dim = shape
            .iter()
            .map(|&value| Dimension {
                value: (value >= 0).then_some(value),
                name: None,
            })
            .collect();
        let tensor = Some(TensorType {
            element,
            shape: Some(Shape { dim }),
        });
        Self {
            name: name.into(),
            kind: Some(Type { tensor }),
        }
    }
}
