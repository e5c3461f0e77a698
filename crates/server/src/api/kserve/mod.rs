//! The Open Inference Protocol (KServe v2): for clients that speak it already. A model is a
//! detector, a sequence is a stream.

mod binary;
mod request;
mod response;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answers::{self, Reserved};
use super::body::{Allowance, media_type, parsed, read, unsupported};
use super::health::check_detector;
use super::images::deadline;
use super::intake::{idempotency_key, spread_key};
use super::problem::ApiError;
use super::state::{Api, Nothing, Path, Strict};
use crate::model::{DetectorChoice, NewStream};
use crate::pictures::LONGEST_SIDE;
use crate::{ServiceError, SubmitOptions};
use request::Asked;
pub(crate) use request::InferRequest;
pub(crate) use response::InferResponse;

/// A tensor that a model takes or gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct TensorMetadata {
    /// Its name.
    pub name: String,
    /// `BYTES`, `FP32` or `FP64`.
    pub datatype: String,
    /// Its shape; -1 stands for the number of images.
    pub shape: Vec<i64>,
}

/// A model as the protocol describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ModelMetadata {
    /// The detector's name.
    pub name: String,
    /// Versions: the version of rareclip.
    pub versions: Vec<String>,
    /// Always `rareclip`.
    pub platform: String,
    /// What it takes.
    pub inputs: Vec<TensorMetadata>,
    /// What it gives.
    pub outputs: Vec<TensorMetadata>,
}

/// The server as the protocol describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ServerMetadata {
    /// Always `rareclip`.
    pub name: String,
    /// The version of rareclip.
    pub version: String,
    /// `binary_tensor_data` and `sequence`.
    pub extensions: Vec<String>,
}

/// Server metadata (Open Inference Protocol)
#[utoipa::path(
    get,
    path = "/v2",
    tag = "open inference protocol",
    responses((status = 200, description = "The server.", body = ServerMetadata)),
)]
pub(crate) async fn server(Strict(Nothing {}): Strict<Nothing>) -> axum::Json<ServerMetadata> {
    axum::Json(ServerMetadata {
        name: "rareclip".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        extensions: vec!["binary_tensor_data".into(), "sequence".into()],
    })
}

/// Liveness (Open Inference Protocol)
#[utoipa::path(
    get,
    path = "/v2/health/live",
    tag = "open inference protocol",
    responses((status = 200, description = "Alive.")),
)]
pub(crate) async fn live() {}

/// Readiness (Open Inference Protocol)
#[utoipa::path(
    get,
    path = "/v2/health/ready",
    tag = "open inference protocol",
    responses(
        (status = 200, description = "Images can be scored."),
        (status = 503, description = "They cannot."),
    ),
)]
pub(crate) async fn ready(State(api): State<Arc<Api>>) -> Result<(), ApiError> {
    let info = api.service.info();
    if info.ready {
        return Ok(());
    }
    let status = axum::http::StatusCode::SERVICE_UNAVAILABLE;
    Err(ApiError::new(status, "not-ready", info.problems.join("; ")))
}

/// Model metadata (Open Inference Protocol)
///
/// A detector as a model: it takes images as `BYTES` and gives `score`, `raw_score`, `p_value`,
/// `verdict` and, where it is asked for, `anomaly_map`.
#[utoipa::path(
    get,
    path = "/v2/models/{model}",
    tag = "open inference protocol",
    params(("model" = String, Path, description = "The detector.", example = "rareclip")),
    responses((status = 200, description = "The model.", body = ModelMetadata)),
)]
pub(crate) async fn model(
    State(api): State<Arc<Api>>,
    Path(model): Path<String>,
    Strict(Nothing {}): Strict<Nothing>,
) -> Result<axum::Json<ModelMetadata>, ApiError> {
    check_detector(&api, &model, "model")?;
    let detector = api.service.detector(&model)?;
    let side = i64::try_from(detector.image_side).unwrap_or(-1);
    let tensor = |name: &str, datatype: &str, shape: &[i64]| TensorMetadata {
        name: name.into(),
        datatype: datatype.into(),
        shape: shape.into(),
    };
    Ok(axum::Json(ModelMetadata {
        name: detector.name,
        versions: vec![env!("CARGO_PKG_VERSION").into()],
        platform: "rareclip".into(),
        inputs: vec![tensor("image", "BYTES", &[-1])],
        outputs: vec![
            tensor("score", "FP32", &[-1]),
            tensor("raw_score", "FP32", &[-1]),
            tensor("p_value", "FP64", &[-1]),
            tensor("verdict", "BYTES", &[-1]),
            tensor("anomaly_map", "FP32", &[-1, side, side]),
        ],
    }))
}

/// Model readiness (Open Inference Protocol)
#[utoipa::path(
    get,
    path = "/v2/models/{model}/ready",
    tag = "open inference protocol",
    params(("model" = String, Path, description = "The detector.", example = "rareclip")),
    responses((status = 200, description = "Ready.")),
)]
pub(crate) async fn model_ready(
    State(api): State<Arc<Api>>,
    Path(model): Path<String>,
    Strict(Nothing {}): Strict<Nothing>,
) -> Result<(), ApiError> {
    check_detector(&api, &model, "model")
}

/// Infer (Open Inference Protocol)
///
/// Scores the images of the input `image`: `BYTES` of shape `[n]`, each element an image file. In
/// JSON an element is the file in base64; with the binary tensor extension
/// (`Inference-Header-Content-Length`) it is the file itself after its length (4 bytes,
/// little-endian). `parameters.sequence_id` (text or a whole number) names the stream, which is
/// created with this detector if it is not there, once an image of the request could be decoded; a
/// key of scope `score` suffices for that. `sequence_start` and `sequence_end` change nothing: a
/// stream is reset and deleted under `/v1`. Further parameters: `update` (false: leave no trace),
/// `timeout` (microseconds), `binary_data_output`. Outputs, all of them but `anomaly_map` unless
/// `outputs` says which: `score` FP32 [n], `raw_score` FP32 [n], `p_value` FP64 [n] (null, in
/// binary NaN, where there is none), `verdict` BYTES [n], `anomaly_map` FP32 [n, height, width].
/// The `id` of the request becomes the name of the image, with `/i` where there are several.
#[utoipa::path(
    post,
    path = "/v2/models/{model}/infer",
    tag = "open inference protocol",
    params(
        ("model" = String, Path, description = "The detector.", example = "rareclip"),
        ("Inference-Header-Content-Length" = Option<u64>, Header, description = "Bytes of JSON at the beginning of a body with binary tensors.", example = 212),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 200 visible ASCII characters.", example = "2026-11-24-cell-0042"),
    ),
    request_body(
        description = "The request; with binary tensors `application/octet-stream`.",
        content((InferRequest = "application/json"), (Vec<u8> = "application/octet-stream")),
    ),
    responses((status = 200, description = "The outputs.", content(
        (InferResponse = "application/json"),
        (Vec<u8> = "application/octet-stream"),
    ))),
)]
pub(crate) async fn infer(
    State(api): State<Arc<Api>>,
    Path(model): Path<String>,
    Strict(Nothing {}): Strict<Nothing>,
    request: Request,
) -> Result<Response, ApiError> {
    check_detector(&api, &model, "model")?;
    let (parts, body) = request.into_parts();
    let kind = media_type(&parts.headers);
    if !["application/json", "application/octet-stream", ""].contains(&kind.as_str()) {
        return Err(unsupported(
            &kind,
            "application/json or, with binary tensors, application/octet-stream",
        ));
    }
    let header_bytes = header_length(&parts.headers)?;
    let settings = api.service.settings();
    let allowance = Allowance {
        bytes: settings.max_body_bytes,
        weight: 2,
    };
    let (bytes, _held) = read(&api, &parts.headers, body, allowance).await?;
    let max = settings.max_queue;
    let read = move |bytes: &bytes::Bytes| request::read(bytes, header_bytes, max);
    let mut asked = parsed(bytes, read).await?;
    let key = idempotency_key(&parts.headers)?;
    spread_key(&mut asked.images, key);
    let reserved = match asked.outputs.wants_map() {
        true => Some(reserve_maps(&api, &asked, &model)?),
        false => None,
    };
    ensure_stream(&api, &asked, &model).await?;
    let options = SubmitOptions {
        update: asked.update,
        deadline: deadline(asked.timeout_ms)?,
        keep_shown: asked.outputs.wants_map(),
    };
    let images = std::mem::take(&mut asked.images);
    let outcomes = api.service.submit(&asked.stream, images, options).await?;
    let mut submitted = Vec::with_capacity(outcomes.len());
    for (position, outcome) in outcomes.into_iter().enumerate() {
        // The protocol knows one error for all; the images that were scored keep their results.
        let mut scored = outcome.map_err(|e| about_image(e, position))?;
        if options.keep_shown && scored.shown.is_none() {
            let shown = api.service.shown(&asked.stream, scored.record.id).await;
            scored.shown = Some(shown.map_err(|e| about_image(e, position))?);
        }
        submitted.push(scored);
    }
    let answer = tokio::task::spawn_blocking(move || response::write(&model, &asked, &submitted))
        .await
        .map_err(|e| ApiError::internal(e.to_string()))??;
    let mut response = answer.into_response();
    if let Some(reserved) = reserved {
        response.extensions_mut().insert(reserved);
    }
    Ok(response)
}

/// Room for the maps and pictures of an answer, before anything is scored.
fn reserve_maps(api: &Api, asked: &Asked, model: &str) -> Result<Reserved, ApiError> {
    let side = api.service.detector(model)?.image_side;
    let picture = 3 * LONGEST_SIDE * LONGEST_SIDE;
    let each = picture.saturating_add(asked.outputs.bytes_per_image(side));
    let bytes = each.saturating_mul(asked.images.len());
    answers::reserve(
        api,
        bytes,
        "send fewer images at a time, or ask for `anomaly_map` with `binary_data`",
    )
}

/// Creates the stream with this detector unless it is there, once one of the images could be
/// decoded.
async fn ensure_stream(api: &Api, asked: &Asked, model: &str) -> Result<(), ApiError> {
    let stream = asked.stream.as_str();
    match api.service.stream(stream).await {
        Ok(info) if info.detector == model => return Ok(()),
        // Another detector: creating says so.
        Ok(_) => {}
        Err(_) => {
            api.service.check_new(stream).map_err(sequence)?;
            let decoded = api.service.check_decodes(model, &asked.images).await;
            decoded.map_err(|error| about_image(error, 0))?;
        }
    }
    let new = NewStream {
        name: stream.to_owned(),
        detector: Some(DetectorChoice::Name(model.to_owned())),
        calibration: None,
    };
    api.service.create(new).await.map(drop).map_err(sequence)
}

/// The stream is called by another name in this protocol.
fn sequence(error: ServiceError) -> ApiError {
    match error {
        ServiceError::Invalid { place, problem } => {
            ApiError::invalid(format!("parameters.sequence_id: {place}"), problem)
        }
        other => other.into(),
    }
}

fn about_image(error: ServiceError, position: usize) -> ApiError {
    let from = ApiError::from(error);
    from.prefixed(&format!("image {position}: "))
}

fn header_length(headers: &HeaderMap) -> Result<Option<usize>, ApiError> {
    let Some(value) = headers.get("inference-header-content-length") else {
        return Ok(None);
    };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or_else(|| {
        ApiError::invalid(
            "Inference-Header-Content-Length",
            "wanted the number of bytes of the JSON",
        )
    })
}
