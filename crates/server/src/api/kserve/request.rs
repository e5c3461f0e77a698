//! A request of the protocol, taken apart.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::super::counted::{self, too_many};
use super::super::intake::{decode_base64, submission};
use super::super::problem::ApiError;
use super::binary::elements;
use crate::Submission;
use rareclip_service::text;

/// A tensor of the request.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InferInput {
    /// `image`.
    pub name: String,
    /// `[n]` or `[n, 1]`: the number of images.
    #[serde(deserialize_with = "counted::few")]
    pub shape: Vec<u64>,
    /// `BYTES`.
    pub datatype: String,
    /// `binary_data_size`: bytes of the tensor after the JSON, where it stands there.
    #[serde(default, deserialize_with = "counted::parameters")]
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    /// Images in base64, where they do not stand after the JSON.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "counted::images"
    )]
    pub data: Option<Vec<String>>,
}

/// An output that is wanted.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InferOutput {
    /// `score`, `raw_score`, `p_value`, `verdict` or `anomaly_map`.
    pub name: String,
    /// `binary_data`: whether it is to stand after the JSON.
    #[serde(default, deserialize_with = "counted::parameters")]
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
}

/// A request of the protocol.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InferRequest {
    /// Comes back in the answer; the name of the image, up to 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `sequence_id` (the stream), `update`, `timeout` in microseconds, `binary_data_output`.
    #[serde(default, deserialize_with = "counted::parameters")]
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    /// One input, `image`.
    #[serde(deserialize_with = "counted::few")]
    pub inputs: Vec<InferInput>,
    /// The outputs wanted; missing: all but `anomaly_map`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "counted::maybe_few"
    )]
    pub outputs: Option<Vec<InferOutput>>,
}

/// A tensor that a detector gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Score,
    RawScore,
    PValue,
    Verdict,
    AnomalyMap,
}

impl Output {
    pub(super) const ALL: [(Self, &'static str); 5] = [
        (Self::Score, "score"),
        (Self::RawScore, "raw_score"),
        (Self::PValue, "p_value"),
        (Self::Verdict, "verdict"),
        (Self::AnomalyMap, "anomaly_map"),
    ];
}

/// The outputs wanted, each with whether it is wanted in binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outputs(pub(super) Vec<(Output, &'static str, bool)>);

impl Outputs {
    /// Bytes that the answer takes for each image of a map of `side` x `side`, while it is put
    /// together.
    pub(super) fn bytes_per_image(&self, side: usize) -> usize {
        let map = self
            .0
            .iter()
            .find(|(output, _, _)| *output == Output::AnomalyMap);
        match map {
            None => 0,
            // The map, its copy in the tensor, and the answer, whose memory grows by doubling.
            Some((_, _, true)) => side * side * 4 * 5,
            // A value has up to 25 characters.
            Some((_, _, false)) => side * side * (4 * 2 + 2 * 25),
        }
    }

    pub(super) fn wants_map(&self) -> bool {
        self.0
            .iter()
            .any(|(output, _, _)| *output == Output::AnomalyMap)
    }
}

/// What a request asks for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: Option<String>,
    pub(super) stream: String,
    pub(super) update: bool,
    pub(super) timeout_ms: Option<u64>,
    pub(super) images: Vec<Submission>,
    pub(super) outputs: Outputs,
}

/// Takes a body apart; `header_bytes` of it are JSON, binary tensors follow. Without, all of it is
/// JSON.
pub(super) fn read(
    body: &Bytes,
    header_bytes: Option<usize>,
    max_images: usize,
) -> Result<Asked, ApiError> {
    let length = header_bytes.unwrap_or(body.len());
    if length > body.len() {
        let problem = format!("found {length}, and the body has {} bytes", body.len());
        return Err(ApiError::invalid(
            "Inference-Header-Content-Length",
            problem,
        ));
    }
    let request: InferRequest = counted::parse(&body[..length], max_images)?;
    let parameters = &request.parameters;
    let stream = stream(parameters)?;
    let update = flag(parameters, "update")?.unwrap_or(true);
    let timeout_ms = timeout(parameters)?;
    let all_binary = flag(parameters, "binary_data_output")?.unwrap_or(false);
    let outputs = outputs(request.outputs, all_binary)?;
    let files = input(&request.inputs, &body.slice(length..), max_images)?;
    let single = files.len() == 1;
    let id = request.id.filter(|id| !id.is_empty());
    text::IMAGE.maybe("id", id.as_ref())?;
    let images = files
        .into_iter()
        .enumerate()
        .map(|(position, bytes)| {
            let name = id.as_ref().map(|id| match single {
                true => id.clone(),
                false => format!("{id}/{position}"),
            });
            submission(name, bytes, None, &format!("inputs[0].data[{position}]"))
        })
        .collect::<Result<_, _>>()?;
    Ok(Asked {
        id,
        stream,
        update,
        timeout_ms,
        images,
        outputs,
    })
}

fn stream(parameters: &Map<String, Value>) -> Result<String, ApiError> {
    let wrong = |problem: &str| Err(ApiError::invalid("parameters.sequence_id", problem));
    match parameters.get("sequence_id") {
        Some(Value::String(name)) if !name.is_empty() => Ok(name.clone()),
        // Clients send 0 and "" for "no sequence".
        Some(Value::Number(number)) if number.as_u64().is_some_and(|n| n > 0) => {
            Ok(number.to_string())
        }
        None | Some(Value::Null) => wrong(
            "missing; it names the stream (the camera and product) that the image belongs to, which a detector learns from",
        ),
        Some(_) => wrong("wanted the name of a stream, or a whole number above 0"),
    }
}

fn flag(parameters: &Map<String, Value>, name: &str) -> Result<Option<bool>, ApiError> {
    match parameters.get(name) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(_) => Err(ApiError::invalid(
            format!("parameters.{name}"),
            "wanted true or false",
        )),
    }
}

fn timeout(parameters: &Map<String, Value>) -> Result<Option<u64>, ApiError> {
    match parameters.get("timeout") {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            // Clients send 0 for "none".
            Some(0) => Ok(None),
            Some(us) => Ok(Some(us.div_ceil(1000))),
            None => Err(ApiError::invalid(
                "parameters.timeout",
                "wanted microseconds",
            )),
        },
    }
}

fn outputs(wanted: Option<Vec<InferOutput>>, all_binary: bool) -> Result<Outputs, ApiError> {
    let Some(wanted) = wanted.filter(|list| !list.is_empty()) else {
        let all = Output::ALL
            .iter()
            .filter(|(output, _)| *output != Output::AnomalyMap);
        return Ok(Outputs(
            all.map(|(output, name)| (*output, *name, all_binary))
                .collect(),
        ));
    };
    let mut found: Vec<(Output, &'static str, bool)> = Vec::new();
    for (position, output) in wanted.iter().enumerate() {
        let place = format!("outputs[{position}].name");
        let known = Output::ALL.iter().find(|(_, name)| *name == output.name);
        let Some((which, name)) = known else {
            let names = Output::ALL.map(|(_, name)| name).join(", ");
            return Err(ApiError::invalid(
                place,
                format!(
                    "found `{}`, there are {names}",
                    text::repeated(&output.name)
                ),
            ));
        };
        if found.iter().any(|(other, _, _)| other == which) {
            return Err(ApiError::invalid(place, format!("`{name}` twice")));
        }
        let binary = flag(&output.parameters, "binary_data").map_err(|_| {
            ApiError::invalid(
                format!("outputs[{position}].parameters.binary_data"),
                "wanted true or false",
            )
        })?;
        found.push((*which, name, binary.unwrap_or(all_binary)));
    }
    Ok(Outputs(found))
}

/// The files of the one input.
fn input(inputs: &[InferInput], binary: &Bytes, max: usize) -> Result<Vec<Bytes>, ApiError> {
    let [input] = inputs else {
        return Err(ApiError::invalid(
            "inputs",
            format!("found {}, wanted one, `image`", inputs.len()),
        ));
    };
    if input.name != "image" {
        return Err(ApiError::invalid(
            "inputs[0].name",
            format!("found `{}`, wanted `image`", text::repeated(&input.name)),
        ));
    }
    if input.datatype != "BYTES" {
        let problem = format!(
            "found `{}`, wanted `BYTES`: each element an image file",
            text::repeated(&input.datatype)
        );
        return Err(ApiError::invalid("inputs[0].datatype", problem));
    }
    let size = input.parameters.get("binary_data_size");
    let files = match (size, &input.data) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid(
                "inputs[0]",
                "either `data` or `binary_data_size`, not both",
            ));
        }
        (None, None) => {
            return Err(ApiError::invalid(
                "inputs[0].data",
                "missing: a list of image files in base64",
            ));
        }
        (Some(size), None) => {
            if size.as_u64() != Some(binary.len() as u64) {
                let problem = format!("found {size}, and {} bytes follow the JSON", binary.len());
                return Err(ApiError::invalid(
                    "inputs[0].parameters.binary_data_size",
                    problem,
                ));
            }
            elements(binary, max)?
        }
        (None, Some(data)) => {
            if !binary.is_empty() {
                let problem = format!(
                    "{} bytes follow the JSON that no `binary_data_size` speaks of",
                    binary.len()
                );
                return Err(ApiError::invalid("body", problem));
            }
            if data.len() > max {
                return Err(too_many(max));
            }
            let decode = |(position, text): (usize, &String)| {
                decode_base64(text).map_err(|e| {
                    ApiError::invalid(
                        format!("inputs[0].data[{position}]"),
                        format!("not base64: {e}"),
                    )
                })
            };
            data.iter()
                .enumerate()
                .map(decode)
                .collect::<Result<_, _>>()?
        }
    };
    let counted = input
        .shape
        .iter()
        .try_fold(1u64, |all, side| all.checked_mul(*side));
    if input.shape.is_empty() || counted != Some(files.len() as u64) {
        let problem = format!(
            "found {:?}, and there are {} elements",
            input.shape,
            files.len()
        );
        return Err(ApiError::invalid("inputs[0].shape", problem));
    }
    if files.is_empty() {
        return Err(ApiError::invalid("inputs[0]", "no image in it"));
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
