//! The service itself: what it is, whether it lives, what it counts.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::content::content_type;
use super::problem::ApiError;
use super::state::{Api, Nothing, Path, Strict};
use crate::ServiceError;
use crate::model::{DetectorInfo, ServiceInfo};

/// Detectors of the service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct DetectorList {
    /// The first is that of a stream that names none.
    pub detectors: Vec<DetectorInfo>,
}

/// The service
#[utoipa::path(
    get,
    path = "/v1/info",
    tag = "service",
    responses((status = 200, description = "The service as it is.", body = ServiceInfo)),
)]
pub(crate) async fn info(
    State(api): State<Arc<Api>>,
    Strict(Nothing {}): Strict<Nothing>,
) -> axum::Json<ServiceInfo> {
    axum::Json(api.service.info())
}

/// List detectors
#[utoipa::path(
    get,
    path = "/v1/detectors",
    tag = "service",
    responses((status = 200, description = "The detectors that streams can have.", body = DetectorList)),
)]
pub(crate) async fn detectors(
    State(api): State<Arc<Api>>,
    Strict(Nothing {}): Strict<Nothing>,
) -> axum::Json<DetectorList> {
    let detectors = api.service.detectors();
    axum::Json(DetectorList { detectors })
}

/// Get a detector
#[utoipa::path(
    get,
    path = "/v1/detectors/{name}",
    tag = "service",
    params(("name" = String, Path, description = "The detector.", example = "rareclip")),
    responses((status = 200, description = "The detector with its whole config.", body = DetectorInfo)),
)]
pub(crate) async fn detector(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(Nothing {}): Strict<Nothing>,
) -> Result<axum::Json<DetectorInfo>, ApiError> {
    check_detector(&api, &name, "detector")?;
    Ok(axum::Json(api.service.detector(&name)?))
}

/// Checks that there is such a detector, which the protocol at hand calls `what`.
pub(crate) fn check_detector(api: &Api, name: &str, what: &'static str) -> Result<(), ApiError> {
    if api.service.detector_names().any(|there| there == name) {
        return Ok(());
    }
    let names = api.service.detector_names();
    let names: Vec<String> = names.map(|there| format!("`{there}`")).collect();
    Err(ServiceError::NotFound {
        what,
        name: name.into(),
        hint: format!("; there are {}", names.join(", ")),
    }
    .into())
}

/// Liveness
///
/// Answers as long as the process does.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "service",
    responses((status = 200, description = "`ok`", body = String, content_type = "text/plain")),
)]
pub(crate) async fn live() -> &'static str {
    "ok"
}

/// Readiness
///
/// Whether images can be scored at this moment.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    responses(
        (status = 200, description = "They can.", body = ServiceInfo),
        (status = 503, description = "They cannot; `problems` says why.", body = ServiceInfo),
    ),
)]
pub(crate) async fn ready(State(api): State<Arc<Api>>) -> Response {
    let info = api.service.info();
    let status = match info.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, axum::Json(info)).into_response()
}

/// Metrics
///
/// For Prometheus, in the text format of OpenMetrics.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "service",
    responses((status = 200, description = "Counters, gauges and histograms.", body = String, content_type = "application/openmetrics-text")),
)]
pub(crate) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let kind = content_type("application/openmetrics-text; version=1.0.0; charset=utf-8");
    (kind, api.service.metrics().text()).into_response()
}
