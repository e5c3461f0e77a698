//! Streams: creating, keeping, calibrating them.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rareclip_core::calibration::CalibrationConfig;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answers;
use super::body::Allowance;
use super::body::{Json, media_type, parse, parsed, read, unsupported};
use super::content::content_type;
use super::intake::{EncodedImages, idempotency_key, images, json, spread_key};
use super::problem::ApiError;
use super::state::{Api, Nothing, Path, Strict};
use crate::Submission;
use crate::model::{Calibrate, DetectorChoice, NewStream, StreamInfo, ThresholdPreview};

/// Streams by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct StreamList {
    /// One for each stream.
    pub streams: Vec<StreamInfo>,
}

/// List streams
#[utoipa::path(
    get,
    path = "/v1/streams",
    tag = "streams",
    responses((status = 200, description = "The streams by name.", body = StreamList)),
)]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    Strict(Nothing {}): Strict<Nothing>,
) -> axum::Json<StreamList> {
    let streams = api.service.streams().await;
    axum::Json(StreamList { streams })
}

/// Create a stream
///
/// One stream for each camera and product. Creating one that is there with the same detector
/// changes nothing.
#[utoipa::path(
    post,
    path = "/v1/streams",
    tag = "streams",
    request_body(content = NewStream, description = "Name, detector and calibration."),
    responses(
        (status = 201, description = "Created.", body = StreamInfo),
        (status = 200, description = "It was there with the same detector.", body = StreamInfo),
    ),
)]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    Strict(Nothing {}): Strict<Nothing>,
    Json(new): Json<NewStream>,
) -> Result<Response, ApiError> {
    let own_config = matches!(new.detector, Some(DetectorChoice::Config(_)));
    let created = api.service.create(new).await;
    let (info, created) = match created {
        Err(error) if own_config => return Err(error.of_request("detector").into()),
        other => other?,
    };
    let status = match created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let place = HeaderValue::from_str(&format!("/v1/streams/{}", info.name))
        .map_err(|e| ApiError::internal(e.to_string()))?;
    Ok((status, [(header::LOCATION, place)], axum::Json(info)).into_response())
}

/// Get a stream
#[utoipa::path(
    get,
    path = "/v1/streams/{name}",
    tag = "streams",
    params(("name" = String, Path, description = "The stream.", example = "line-1")),
    responses((status = 200, description = "The stream.", body = StreamInfo)),
)]
pub(crate) async fn get(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(Nothing {}): Strict<Nothing>,
) -> Result<axum::Json<StreamInfo>, ApiError> {
    Ok(axum::Json(api.service.stream(&name).await?))
}

/// Delete a stream
///
/// With its memory, its history, its pictures and its snapshots. There is no way back.
#[utoipa::path(
    delete,
    path = "/v1/streams/{name}",
    tag = "streams",
    params(("name" = String, Path, description = "The stream.", example = "line-1")),
    responses((status = 204, description = "Deleted.")),
)]
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(Nothing {}): Strict<Nothing>,
) -> Result<StatusCode, ApiError> {
    api.service.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reset a stream
///
/// Forgets what the stream learned, as if no image had come. The history stays.
#[utoipa::path(
    post,
    path = "/v1/streams/{name}/reset",
    tag = "streams",
    params(("name" = String, Path, description = "The stream.", example = "line-1")),
    responses((status = 200, description = "The stream, empty.", body = StreamInfo)),
)]
pub(crate) async fn reset(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(Nothing {}): Strict<Nothing>,
) -> Result<axum::Json<StreamInfo>, ApiError> {
    Ok(axum::Json(api.service.reset(&name).await?))
}

/// Freeze a stream
///
/// Images are scored from now on without being remembered.
#[utoipa::path(
    post,
    path = "/v1/streams/{name}/freeze",
    tag = "streams",
    params(("name" = String, Path, description = "The stream.", example = "line-1")),
    responses((status = 200, description = "The stream, frozen.", body = StreamInfo)),
)]
pub(crate) async fn freeze(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(Nothing {}): Strict<Nothing>,
) -> Result<axum::Json<StreamInfo>, ApiError> {
    Ok(axum::Json(api.service.set_frozen(&name, true).await?))
}

/// Unfreeze a stream
///
/// Images are remembered again.
#[utoipa::path(
    post,
    path = "/v1/streams/{name}/unfreeze",
    tag = "streams",
    params(("name" = String, Path, description = "The stream.", example = "line-1")),
    responses((status = 200, description = "The stream, learning.", body = StreamInfo)),
)]
pub(crate) async fn unfreeze(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(Nothing {}): Strict<Nothing>,
) -> Result<axum::Json<StreamInfo>, ApiError> {
    Ok(axum::Json(api.service.set_frozen(&name, false).await?))
}

/// Set the threshold
///
/// Changes how scores become verdicts, without scoring anything again:
/// `{"type":"fixed","threshold":0.4}`, `{"type":"quantile","quantile":0.95}`,
/// `{"type":"false-alarm-rate","rate":0.01}`.
#[utoipa::path(
    put,
    path = "/v1/streams/{name}/threshold",
    tag = "calibration",
    params(("name" = String, Path, description = "The stream.", example = "line-1")),
    request_body(
        content = Object,
        description = "The policy by `type`: `fixed`, `quantile` or `false-alarm-rate`.",
        example = json!({"type": "fixed", "threshold": 0.4}),
    ),
    responses((status = 200, description = "The stream with the new policy.", body = StreamInfo)),
)]
pub(crate) async fn threshold(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(Nothing {}): Strict<Nothing>,
    Json(policy): Json<CalibrationConfig>,
) -> Result<axum::Json<StreamInfo>, ApiError> {
    Ok(axum::Json(api.service.set_policy(&name, policy).await?))
}

/// A threshold to be tried.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PreviewQuery {
    /// The threshold, in units of the score.
    #[param(example = 0.4)]
    threshold: f32,
}

/// Try a threshold
///
/// What a threshold would do to the history; nothing is changed.
#[utoipa::path(
    get,
    path = "/v1/streams/{name}/threshold/preview",
    tag = "calibration",
    params(("name" = String, Path, description = "The stream.", example = "line-1"), PreviewQuery),
    responses((status = 200, description = "What it would do.", body = ThresholdPreview)),
)]
pub(crate) async fn preview(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(query): Strict<PreviewQuery>,
) -> Result<axum::Json<ThresholdPreview>, ApiError> {
    if !query.threshold.is_finite() {
        return Err(ApiError::invalid(
            "query: threshold",
            "wanted a finite number",
        ));
    }
    Ok(axum::Json(
        api.service.preview(&name, query.threshold).await?,
    ))
}

/// The false alarms that images are calibrated for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CalibrateQuery {
    /// With images: share of normal images that may be called anomalous, in (0, 0.5].
    #[param(example = 0.01)]
    rate: Option<f64>,
}

/// How a stream is calibrated, or images of what is normal.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(
    dead_code,
    reason = "describes the body; it is read by its parts, whose errors say more"
)]
pub(crate) enum CalibrateBody {
    /// By the history.
    How(Calibrate),
    /// By images.
    Images(EncodedImages),
}

/// Calibrate by known normals
///
/// Sets the threshold so that at most a given share of normal images is called anomalous. The
/// normals are results that people called normal (`{"by":"feedback","rate":0.01}`), the latest
/// results (`{"by":"history","rate":0.01,"last":500}`), or images in the body as for `images`, with
/// `?rate=`; those are scored without being remembered.
#[utoipa::path(
    post,
    path = "/v1/streams/{name}/calibrate",
    tag = "calibration",
    params(("name" = String, Path, description = "The stream.", example = "line-1"), CalibrateQuery),
    request_body(
        description = "How, or images of what is normal.",
        content(
            (CalibrateBody = "application/json"),
            (String = "multipart/form-data"),
            (Vec<u8> = "image/*"),
        ),
    ),
    responses((status = 200, description = "The stream with its new threshold.", body = StreamInfo)),
)]
pub(crate) async fn calibrate(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(query): Strict<CalibrateQuery>,
    request: Request,
) -> Result<axum::Json<StreamInfo>, ApiError> {
    let settings = api.service.settings();
    let rate = || {
        query.rate.ok_or_else(|| {
            let problem =
                "missing; images are calibrated for a share of false alarms, e.g. `?rate=0.01`";
            ApiError::invalid("query: rate", problem)
        })
    };
    let (intake, _held) = if media_type(request.headers()) == "application/json" {
        let (parts, body) = request.into_parts();
        let allowance = Allowance {
            bytes: settings.max_body_bytes,
            weight: 2,
        };
        let (bytes, held) = read(&api, &parts.headers, body, allowance).await?;
        let max = settings.max_queue;
        let (how, list) = parsed(bytes, move |bytes| normals_of(bytes, max)).await?;
        if let Some(how) = how {
            if query.rate.is_some() {
                let problem = "it stands in the body beside `by`";
                return Err(ApiError::invalid("query: rate", problem));
            }
            return Ok(axum::Json(api.service.calibrate(&name, how).await?));
        }
        rate()?;
        let mut list = list;
        spread_key(&mut list, idempotency_key(&parts.headers)?);
        (list, held)
    } else {
        rate()?;
        let intake = images(&api, request, None).await?;
        (intake.images, intake.held)
    };
    let info = api.service.calibrate_images(&name, rate()?, intake).await?;
    Ok(axum::Json(info))
}

/// How a stream is to be calibrated, or the images of what is normal.
fn normals_of(bytes: &[u8], max: usize) -> Result<(Option<Calibrate>, Vec<Submission>), ApiError> {
    // The word `by` tells the two apart; its value need not be looked at to say what is wrong with
    // the rest.
    #[derive(Deserialize)]
    struct Probe {
        by: Option<serde::de::IgnoredAny>,
    }
    match parse::<Probe>(bytes)?.by {
        Some(_) => Ok((Some(parse(bytes)?), Vec::new())),
        None => Ok((None, json(bytes, max)?)),
    }
}

/// Show known normals
///
/// Images that are known to be normal: the stream learns from them as a method with a training pass
/// wants it (PatchCore), or before the first image comes (few-shot). Bodies as for `images`.
#[utoipa::path(
    post,
    path = "/v1/streams/{name}/normals",
    tag = "calibration",
    params(("name" = String, Path, description = "The stream.", example = "line-1")),
    request_body(
        description = "The images.",
        content(
            (EncodedImages = "application/json"),
            (String = "multipart/form-data"),
            (Vec<u8> = "image/*"),
        ),
    ),
    responses((status = 200, description = "The stream with what it learned.", body = StreamInfo)),
)]
pub(crate) async fn normals(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(Nothing {}): Strict<Nothing>,
    request: Request,
) -> Result<axum::Json<StreamInfo>, ApiError> {
    let intake = images(&api, request, None).await?;
    let info = api.service.normals(&name, intake.images).await?;
    drop(intake.held);
    Ok(axum::Json(info))
}

/// Export the state
///
/// The memory of the stream as a file, the same that `rareclip scan --state` writes. The stream
/// writes it to disk first; it is sent from there, a few at a time (429 with `Retry-After` beyond
/// that).
#[utoipa::path(
    get,
    path = "/v1/streams/{name}/export",
    tag = "snapshots",
    params(("name" = String, Path, description = "The stream.", example = "line-1")),
    responses((status = 200, description = "The state file.", body = Vec<u8>, content_type = "application/octet-stream")),
)]
pub(crate) async fn export(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(Nothing {}): Strict<Nothing>,
) -> Result<Response, ApiError> {
    let slot = answers::export_slot(&api)?;
    let state = api.service.export_file(&name).await?;
    let disposition = format!("attachment; filename=\"{name}.state\"");
    let disposition =
        HeaderValue::from_str(&disposition).map_err(|e| ApiError::internal(e.to_string()))?;
    let disposition = [(header::CONTENT_DISPOSITION, disposition)];
    let kind = content_type("application/octet-stream");
    let length = [(header::CONTENT_LENGTH, HeaderValue::from(state.bytes))];
    let body = answers::file(state, slot);
    Ok((kind, disposition, length, body).into_response())
}

/// Import a state
///
/// Replaces the memory of the stream by that of a state file of the same detector. The history
/// stays.
#[utoipa::path(
    post,
    path = "/v1/streams/{name}/import",
    tag = "snapshots",
    params(("name" = String, Path, description = "The stream.", example = "line-1")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "A state file."),
    responses((status = 200, description = "The stream as it is now.", body = StreamInfo)),
)]
pub(crate) async fn import(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(Nothing {}): Strict<Nothing>,
    request: Request,
) -> Result<axum::Json<StreamInfo>, ApiError> {
    let kind = media_type(request.headers());
    if kind != "application/octet-stream" {
        return Err(unsupported(&kind, "application/octet-stream, a state file"));
    }
    let (parts, body) = request.into_parts();
    let allowance = Allowance {
        bytes: api.options.max_state_bytes,
        weight: 1,
    };
    let (bytes, _held) = read(&api, &parts.headers, body, allowance).await?;
    let imported = api.service.import(&name, bytes).await;
    Ok(axum::Json(
        imported.map_err(|error| error.of_request("body"))?,
    ))
}
