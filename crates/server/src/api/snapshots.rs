//! Kept copies of a stream's state.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{Json, MaybeJson};
use super::problem::ApiError;
use super::state::{Api, Nothing, Path, Strict};
use crate::model::{SnapshotInfo, StreamInfo};

/// A snapshot to be taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NewSnapshot {
    /// A note for people, up to 2048 bytes, without control characters.
    pub note: Option<String>,
}

/// Snapshots of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SnapshotList {
    /// One for each snapshot.
    pub snapshots: Vec<SnapshotInfo>,
}

/// The snapshot to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restore {
    /// Its number.
    pub snapshot: u64,
}

/// Take a snapshot
///
/// Keeps a copy of what the stream has learned, until it is deleted.
#[utoipa::path(
    post,
    path = "/v1/streams/{name}/snapshot",
    tag = "snapshots",
    params(("name" = String, Path, description = "The stream.", example = "line-1")),
    request_body(content = Option<NewSnapshot>, description = "May be left out."),
    responses((status = 201, description = "The snapshot.", body = SnapshotInfo)),
)]
pub(crate) async fn take(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(Nothing {}): Strict<Nothing>,
    MaybeJson(new): MaybeJson<NewSnapshot>,
) -> Result<Response, ApiError> {
    let note = new.unwrap_or_default().note;
    let info = api.service.snapshot(&name, note).await?;
    Ok((StatusCode::CREATED, axum::Json(info)).into_response())
}

/// List snapshots
#[utoipa::path(
    get,
    path = "/v1/streams/{name}/snapshots",
    tag = "snapshots",
    params(("name" = String, Path, description = "The stream.", example = "line-1")),
    responses((status = 200, description = "The snapshots.", body = SnapshotList)),
)]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(Nothing {}): Strict<Nothing>,
) -> Result<axum::Json<SnapshotList>, ApiError> {
    let snapshots = api.service.snapshots(&name).await?;
    Ok(axum::Json(SnapshotList { snapshots }))
}

/// Delete a snapshot
#[utoipa::path(
    delete,
    path = "/v1/streams/{name}/snapshots/{id}",
    tag = "snapshots",
    params(
        ("name" = String, Path, description = "The stream.", example = "line-1"),
        ("id" = u64, Path, description = "The snapshot.", example = 3),
    ),
    responses((status = 204, description = "Deleted.")),
)]
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    Path((name, id)): Path<(String, u64)>,
    Strict(Nothing {}): Strict<Nothing>,
) -> Result<StatusCode, ApiError> {
    api.service.delete_snapshot(&name, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Restore a snapshot
///
/// The stream goes on from what it had learned then. The history stays.
#[utoipa::path(
    post,
    path = "/v1/streams/{name}/restore",
    tag = "snapshots",
    params(("name" = String, Path, description = "The stream.", example = "line-1")),
    request_body(content = Restore, description = "Which one."),
    responses((status = 200, description = "The stream as it is now.", body = StreamInfo)),
)]
pub(crate) async fn restore(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(Nothing {}): Strict<Nothing>,
    Json(which): Json<Restore>,
) -> Result<axum::Json<StreamInfo>, ApiError> {
    Ok(axum::Json(
        api.service.restore(&name, which.snapshot).await?,
    ))
}
