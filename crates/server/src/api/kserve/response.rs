//! An answer of the protocol, put together.

use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::super::content::content_type;
use super::super::problem::ApiError;
use super::binary::push_element;
use super::request::{Asked, Output};
use crate::Submitted;

const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// A tensor of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct InferTensor {
    /// Its name.
    pub name: String,
    /// `FP32`, `FP64` or `BYTES`.
    pub datatype: String,
    /// Its shape; the first side is the number of images.
    pub shape: Vec<usize>,
    /// `binary_data_size`: bytes of the tensor after the JSON, where it stands there.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    /// The elements, row by row, where they do not stand after the JSON; null is NaN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Value>>)]
    pub data: Option<Vec<Value>>,
}

/// An answer of the protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct InferResponse {
    /// The detector.
    pub model_name: String,
    /// The version of rareclip.
    pub model_version: String,
    /// The `id` of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `sequence_id`: the stream; `result_ids`: the results in its history, comma-separated, 0
    /// where there is none.
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    /// The outputs that were asked for, in that order.
    pub outputs: Vec<InferTensor>,
}

/// JSON, and the binary tensors after it.
#[derive(Debug)]
pub(super) struct Written {
    json: Vec<u8>,
    binary: Option<Vec<u8>>,
}

impl IntoResponse for Written {
    fn into_response(self) -> Response {
        let Some(binary) = self.binary else {
            return (content_type("application/json"), self.json).into_response();
        };
        let length = HeaderValue::from(self.json.len());
        let body = [self.json, binary].concat();
        let kind = content_type("application/octet-stream");
        (kind, [(HEADER_LENGTH, length)], body).into_response()
    }
}

/// Elements of a tensor of any kind.
enum Elements {
    F32(Vec<f32>),
    F64(Vec<f64>),
    Text(Vec<String>),
}

impl Elements {
    fn datatype(&self) -> &'static str {
        match self {
            Self::F32(_) => "FP32",
            Self::F64(_) => "FP64",
            Self::Text(_) => "BYTES",
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::F32(list) => out.extend(list.iter().flat_map(|v| v.to_le_bytes())),
            Self::F64(list) => out.extend(list.iter().flat_map(|v| v.to_le_bytes())),
            Self::Text(list) => list.iter().for_each(|v| push_element(out, v.as_bytes())),
        }
    }
}

impl Serialize for Elements {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            // As doubles, whose text has always stood in answers; NaN is null.
            Self::F32(list) => serializer.collect_seq(list.iter().map(|v| f64::from(*v))),
            Self::F64(list) => serializer.collect_seq(list),
            Self::Text(list) => serializer.collect_seq(list),
        }
    }
}

/// An [`InferTensor`] that is written without a copy of every element.
#[derive(Serialize)]
struct TensorOut {
    name: &'static str,
    datatype: &'static str,
    shape: Vec<usize>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    parameters: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Elements>,
}

/// An [`InferResponse`] of such tensors.
#[derive(Serialize)]
struct ResponseOut<'a> {
    model_name: &'a str,
    model_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    parameters: Map<String, Value>,
    outputs: Vec<TensorOut>,
}

fn elements(output: Output, answers: &[Submitted]) -> Result<(Elements, Vec<usize>), ApiError> {
    let records = answers.iter().map(|answer| &answer.record);
    let elements = match output {
        Output::Score => Elements::F32(records.map(|r| r.result.score).collect()),
        Output::RawScore => Elements::F32(records.map(|r| r.result.raw_score).collect()),
        Output::PValue => Elements::F64(
            records
                .map(|r| r.result.p_value.unwrap_or(f64::NAN))
                .collect(),
        ),
        Output::Verdict => Elements::Text(records.map(|r| r.result.verdict.to_string()).collect()),
        Output::AnomalyMap => return maps(answers),
    };
    Ok((elements, vec![answers.len()]))
}

fn maps(answers: &[Submitted]) -> Result<(Elements, Vec<usize>), ApiError> {
    let missing = || ApiError::internal("a map that was asked for is not there");
    let first = answers.first().and_then(|answer| answer.shown.as_ref());
    let (height, width) = first.ok_or_else(missing)?.map.dim();
    let mut all = Vec::with_capacity(answers.len() * height * width);
    for answer in answers {
        let shown = answer.shown.as_ref().ok_or_else(missing)?;
        if shown.map.dim() != (height, width) {
            return Err(ApiError::internal(
                "maps of different sizes; send the images one at a time",
            ));
        }
        all.extend(shown.map.iter().copied());
    }
    Ok((Elements::F32(all), vec![answers.len(), height, width]))
}

/// Puts the answer together.
pub(super) fn write(
    model: &str,
    asked: &Asked,
    answers: &[Submitted],
) -> Result<Written, ApiError> {
    let mut outputs = Vec::with_capacity(asked.outputs.0.len());
    let mut binary = None;
    for (output, name, in_binary) in &asked.outputs.0 {
        let (elements, shape) = elements(*output, answers)?;
        let mut parameters = Map::new();
        let datatype = elements.datatype();
        let data = if *in_binary {
            let out: &mut Vec<u8> = binary.get_or_insert_default();
            let before = out.len();
            elements.write(out);
            parameters.insert("binary_data_size".into(), (out.len() - before).into());
            None
        } else {
            Some(elements)
        };
        outputs.push(TensorOut {
            name,
            datatype,
            shape,
            parameters,
            data,
        });
    }
    let ids: Vec<String> = answers.iter().map(|a| a.record.id.to_string()).collect();
    let mut parameters = Map::new();
    parameters.insert("sequence_id".into(), asked.stream.clone().into());
    parameters.insert("result_ids".into(), ids.join(",").into());
    let response = ResponseOut {
        model_name: model,
        model_version: env!("CARGO_PKG_VERSION"),
        id: asked.id.as_deref(),
        parameters,
        outputs,
    };
    let json = serde_json::to_vec(&response).map_err(|e| ApiError::internal(e.to_string()))?;
    Ok(Written { json, binary })
}
