//! The history of a stream, and the pictures in it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::accept::negotiate;
use super::body::Json;
use super::content::content_type;
use super::problem::ApiError;
use super::state::{Api, Nothing, Path, Strict};
use crate::model::{Label, ResultQuery, ResultRecord, Scores};
use crate::pictures::Shown;

/// Rows and columns of a map that comes as bare numbers.
const SHAPE: HeaderName = HeaderName::from_static("rareclip-shape");
/// Scores that a chart is given at most.
const MAX_SCORES: usize = 100_000;

/// Results of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ResultList {
    /// Newest first; with `after`, oldest first.
    pub results: Vec<ResultRecord>,
}

/// What a person says of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Feedback {
    /// `normal`, `defect`, or null to take a label back.
    #[serde(deserialize_with = "Option::deserialize")]
    pub label: Option<Label>,
    /// A note for people, up to 2048 bytes, without control characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// List results
///
/// The history of a stream, newest first, up to `limit` at a time: the next page begins `before`
/// the last id. With `after`, oldest first: what came since.
#[utoipa::path(
    get,
    path = "/v1/streams/{name}/results",
    tag = "results",
    params(
        ("name" = String, Path, description = "The stream.", example = "line-1"),
        ("verdict" = Option<String>, Query, description = "Only this verdict: `normal`, `anomalous` or `uncalibrated`.", example = "anomalous"),
        ("feedback" = Option<Label>, Query, description = "Only this feedback.", example = "defect"),
        ("image" = Option<String>, Query, description = "Only images whose name contains this.", example = "cell"),
        ("min_score" = Option<f32>, Query, description = "Only scores of at least this.", example = 0.4),
        ("max_score" = Option<f32>, Query, description = "Only scores of at most this.", example = 0.9),
        ("from" = Option<String>, Query, description = "Only from this time on (RFC 3339).", example = "2026-11-24T06:00:00Z"),
        ("until" = Option<String>, Query, description = "Only before this time (RFC 3339).", example = "2026-11-24T14:00:00Z"),
        ("before" = Option<u64>, Query, description = "Only ids below this: the next page.", example = 1200),
        ("after" = Option<u64>, Query, description = "Only ids above this, ascending: what came since.", example = 1199),
        ("pictures" = Option<bool>, Query, description = "Only results whose pictures are kept.", example = true),
        ("limit" = Option<usize>, Query, description = "At most so many, up to 1000; missing: 100.", example = 100),
    ),
    responses((status = 200, description = "The results.", body = ResultList)),
)]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(query): Strict<ResultQuery>,
) -> Result<axum::Json<ResultList>, ApiError> {
    let results = api.service.results(&name, query).await?;
    Ok(axum::Json(ResultList { results }))
}

/// Get a result
#[utoipa::path(
    get,
    path = "/v1/streams/{name}/results/{id}",
    tag = "results",
    params(
        ("name" = String, Path, description = "The stream.", example = "line-1"),
        ("id" = u64, Path, description = "The result.", example = 1200),
    ),
    responses((status = 200, description = "The result.", body = ResultRecord)),
)]
pub(crate) async fn get(
    State(api): State<Arc<Api>>,
    Path((name, id)): Path<(String, u64)>,
    Strict(Nothing {}): Strict<Nothing>,
) -> Result<axum::Json<ResultRecord>, ApiError> {
    Ok(axum::Json(api.service.result(&name, id).await?))
}

/// Give feedback
///
/// Says whether an image was normal or a defect. Thresholds can be set by it
/// (`POST /v1/streams/{name}/calibrate`); the memory of the stream is not changed.
#[utoipa::path(
    put,
    path = "/v1/streams/{name}/results/{id}/feedback",
    tag = "results",
    params(
        ("name" = String, Path, description = "The stream.", example = "line-1"),
        ("id" = u64, Path, description = "The result.", example = 1200),
    ),
    request_body(content = Feedback, description = "The label; null takes it back."),
    responses((status = 200, description = "The result as it is now.", body = ResultRecord)),
)]
pub(crate) async fn feedback(
    State(api): State<Arc<Api>>,
    Path((name, id)): Path<(String, u64)>,
    Strict(Nothing {}): Strict<Nothing>,
    Json(feedback): Json<Feedback>,
) -> Result<axum::Json<ResultRecord>, ApiError> {
    let Feedback { label, note } = feedback;
    Ok(axum::Json(
        api.service.feedback(&name, id, label, note).await?,
    ))
}

/// How many scores.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScoresQuery {
    /// The last so many results, 1 to 100000. Missing: 1000.
    #[param(example = 1000, minimum = 1, maximum = 100_000)]
    last: Option<usize>,
}

/// Scores for charts
///
/// The last scores of a stream in order, as parallel lists.
#[utoipa::path(
    get,
    path = "/v1/streams/{name}/scores",
    tag = "results",
    params(("name" = String, Path, description = "The stream.", example = "line-1"), ScoresQuery),
    responses((status = 200, description = "The scores.", body = Scores)),
)]
pub(crate) async fn scores(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(query): Strict<ScoresQuery>,
) -> Result<axum::Json<Scores>, ApiError> {
    let last = query.last.unwrap_or(1000);
    if !(1..=MAX_SCORES).contains(&last) {
        let problem = format!("found {last}, wanted 1 to {MAX_SCORES}");
        return Err(ApiError::invalid("query: last", problem));
    }
    Ok(axum::Json(api.service.scores(&name, last).await?))
}

/// A form of what a result looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Picture {
    Heatmap,
    Overlay(f32),
    Photo,
    Npy,
    Floats,
}

/// Draws and encodes away from the threads that answer.
pub(crate) async fn picture_response(
    api: &Api,
    shown: Arc<Shown>,
    picture: Picture,
) -> Result<Response, ApiError> {
    let shape = format!("{},{}", shown.map.nrows(), shown.map.ncols());
    let draw = move || match picture {
        Picture::Heatmap => shown.heatmap_png(),
        Picture::Overlay(opacity) => shown.overlay_png(opacity),
        Picture::Photo => shown.picture_jpeg(),
        Picture::Npy => Ok(shown.map_npy()),
        Picture::Floats => Ok(shown.map_f32()),
    };
    let bytes = api.service.compute("drawing a picture", draw).await??;
    let kind = match picture {
        Picture::Heatmap | Picture::Overlay(_) => "image/png",
        Picture::Photo => "image/jpeg",
        Picture::Npy => "application/x-npy",
        Picture::Floats => "application/octet-stream",
    };
    let mut response = (content_type(kind), bytes).into_response();
    if picture == Picture::Floats
        && let Ok(shape) = HeaderValue::from_str(&shape)
    {
        response.headers_mut().insert(SHAPE, shape);
    }
    Ok(response)
}

async fn show(api: &Api, name: &str, id: u64, picture: Picture) -> Result<Response, ApiError> {
    let shown = api.service.shown(name, id).await?;
    picture_response(api, shown, picture).await
}

/// Heatmap of a result
///
/// The anomaly map in colours. Recent results have one, older ones where pictures are kept;
/// else 410.
#[utoipa::path(
    get,
    path = "/v1/streams/{name}/results/{id}/heatmap",
    tag = "results",
    params(
        ("name" = String, Path, description = "The stream.", example = "line-1"),
        ("id" = u64, Path, description = "The result.", example = 1200),
    ),
    responses((status = 200, description = "PNG at the detector's input size.", body = Vec<u8>, content_type = "image/png")),
)]
pub(crate) async fn heatmap(
    State(api): State<Arc<Api>>,
    Path((name, id)): Path<(String, u64)>,
    Strict(Nothing {}): Strict<Nothing>,
) -> Result<Response, ApiError> {
    show(&api, &name, id, Picture::Heatmap).await
}

/// How the map lies over the picture.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OverlayQuery {
    /// Opacity of the map in [0, 1]. Missing: 0.5.
    #[param(example = 0.5, minimum = 0, maximum = 1)]
    opacity: Option<f32>,
}

/// Overlay of a result
///
/// The anomaly map over the picture.
#[utoipa::path(
    get,
    path = "/v1/streams/{name}/results/{id}/overlay",
    tag = "results",
    params(
        ("name" = String, Path, description = "The stream.", example = "line-1"),
        ("id" = u64, Path, description = "The result.", example = 1200),
        OverlayQuery,
    ),
    responses((status = 200, description = "PNG of the picture's size, its longest side at most 1024 pixels.", body = Vec<u8>, content_type = "image/png")),
)]
pub(crate) async fn overlay(
    State(api): State<Arc<Api>>,
    Path((name, id)): Path<(String, u64)>,
    Strict(query): Strict<OverlayQuery>,
) -> Result<Response, ApiError> {
    let opacity = query.opacity.unwrap_or(0.5);
    if !(0.0..=1.0).contains(&opacity) {
        let problem = format!("found {opacity}, wanted a number in [0, 1]");
        return Err(ApiError::invalid("query: opacity", problem));
    }
    show(&api, &name, id, Picture::Overlay(opacity)).await
}

/// Picture of a result
#[utoipa::path(
    get,
    path = "/v1/streams/{name}/results/{id}/picture",
    tag = "results",
    params(
        ("name" = String, Path, description = "The stream.", example = "line-1"),
        ("id" = u64, Path, description = "The result.", example = 1200),
    ),
    responses((status = 200, description = "JPEG, its longest side at most 1024 pixels.", body = Vec<u8>, content_type = "image/jpeg")),
)]
pub(crate) async fn picture(
    State(api): State<Arc<Api>>,
    Path((name, id)): Path<(String, u64)>,
    Strict(Nothing {}): Strict<Nothing>,
) -> Result<Response, ApiError> {
    show(&api, &name, id, Picture::Photo).await
}

/// Map of a result
///
/// The anomaly map as numbers: an `.npy` file of 32-bit floats `[height, width]`, or with
/// `Accept: application/octet-stream` the bare floats, little-endian, row by row, their shape in
/// the header `Rareclip-Shape`.
#[utoipa::path(
    get,
    path = "/v1/streams/{name}/results/{id}/map",
    tag = "results",
    params(
        ("name" = String, Path, description = "The stream.", example = "line-1"),
        ("id" = u64, Path, description = "The result.", example = 1200),
    ),
    responses((status = 200, description = "The map at the detector's input size.", content(
        (Vec<u8> = "application/x-npy"),
        (Vec<u8> = "application/octet-stream"),
    ))),
)]
pub(crate) async fn map(
    State(api): State<Arc<Api>>,
    Path((name, id)): Path<(String, u64)>,
    Strict(Nothing {}): Strict<Nothing>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let offers = ["application/x-npy", "application/octet-stream"];
    let picture = match negotiate(&headers, &offers) {
        Some(0) => Picture::Npy,
        Some(_) => Picture::Floats,
        None => {
            let detail = "Accept: there are application/x-npy and application/octet-stream";
            let status = axum::http::StatusCode::NOT_ACCEPTABLE;
            return Err(ApiError::new(status, "not-acceptable", detail));
        }
    };
    let mut response = show(&api, &name, id, picture).await?;
    let vary = HeaderValue::from_static("accept");
    response.headers_mut().append(header::VARY, vary);
    Ok(response)
}
