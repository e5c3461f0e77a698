//! The service over HTTP: REST under `/v1`, the Open Inference Protocol under `/v2`, server-sent
//! events, metrics, the page.

mod accept;
mod access;
mod answers;
mod assets;
mod body;
mod caller;
mod connections;
mod content;
mod counted;
mod encoding;
mod events;
mod examples;
mod followers;
mod guard;
mod health;
mod images;
mod intake;
mod kserve;
mod openapi;
mod options;
mod peer;
mod problem;
mod results;
mod serve;
mod snapshots;
mod state;
mod streams;

pub use images::{Answer, AnswerOrError, Answers, Links, Scored};
pub use options::ApiOptions;
pub use peer::Peer;
pub use problem::Problem;
pub use serve::{ServeError, bind, serve};

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Version, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use utoipa::openapi::OpenApi;

use crate::Service;
use problem::ApiError;
use state::Api;

/// Smaller answers gain nothing by compression.
const COMPRESSED_FROM: u64 = 1024;

/// All routes of the service.
pub fn router(service: Arc<Service>, options: ApiOptions) -> Router {
    // Whoever uses the router without `serve` ends event streams by dropping it.
    let (_, stopping) = watch::channel(false);
    with_stop(service, options, stopping)
}

fn with_stop(
    service: Arc<Service>,
    options: ApiOptions,
    stopping: watch::Receiver<bool>,
) -> Router {
    let api = Arc::new(Api::new(service, options, stopping));
    let (router, document) = documented();
    match document.to_json() {
        Ok(text) => {
            // Nothing has set it before.
            let _ = api.document.set(Bytes::from(text));
        }
        Err(error) => tracing::error!(%error, "the OpenAPI document cannot be written"),
    }
    router
        .fallback(no_route)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(&api), answers::count))
        .layer(from_fn_with_state(Arc::clone(&api), guard::guard))
        .layer(CompressionLayer::new().compress_when(worth_compressing))
        .with_state(api)
}

/// The OpenAPI document as JSON, as `/openapi.json` answers it.
///
/// # Errors
/// When it cannot be written.
pub fn document() -> Result<String, serde_json::Error> {
    documented().1.to_json()
}

/// Every route, and what they say of themselves.
fn documented() -> (Router<Arc<Api>>, OpenApi) {
    let (router, mut document) = openapi::routes().split_for_parts();
    let router = assets::serve(router, &mut document);
    openapi::complete(&mut document);
    (router, document)
}

async fn no_route(request: Request) -> ApiError {
    let detail = format!(
        "there is no route {} {}; /openapi.json lists those there are, /docs explains them",
        request.method(),
        request.uri().path()
    );
    ApiError::new(StatusCode::NOT_FOUND, "no-route", detail)
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the layer hands the panic over"
)]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    ApiError::internal(text.unwrap_or_else(|| "a panic".into())).into_response()
}

/// Text is; pictures, maps and state files are compressed or random, and event streams must not be
/// held up.
fn worth_compressing(
    status: StatusCode,
    _: Version,
    headers: &HeaderMap,
    _: &axum::http::Extensions,
) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    let long = text(header::CONTENT_LENGTH)
        .and_then(|length| length.parse::<u64>().ok())
        .is_none_or(|length| length >= COMPRESSED_FROM);
    let textual = [
        "application/json",
        "text/html",
        "text/css",
        "text/javascript",
        "image/svg+xml",
        "application/openmetrics-text",
    ];
    status == StatusCode::OK && long && textual.iter().any(|textual| kind.starts_with(textual))
}
