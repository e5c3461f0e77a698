//! What every request passes on its way in and out: who asks, from which page, and how the answer
//! is marked.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::access::admit;
use super::peer::Peer;
use super::problem::{ApiError, Problem};
use super::state::Api;
use crate::metrics::{RequestLabels, RouteLabels};

const PAGE_POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; \
                           form-action 'self'; frame-ancestors 'none'";
/// Headers of the API's own that a page of an allowed origin may read.
const EXPOSED: &str =
    "Rareclip-Result, Rareclip-Shape, Retry-After, Inference-Header-Content-Length";

/// The outermost layer of the router.
pub(crate) async fn guard(
    State(api): State<Arc<Api>>,
    matched: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = matched.map(|path| path.as_str().to_owned());
    let path = request.uri().path().to_owned();
    let origin = allowed_origin(&api, request.headers());
    let tls = request
        .extensions()
        .get()
        .is_some_and(|peer: &Peer| peer.tls);

    let mut response = match admit(&api, route.as_deref(), &request) {
        Err(error) => error.into_response(),
        Ok(caller) => match preflight(origin.as_ref(), &request) {
            Some(response) => response,
            None => {
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
        },
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = method_not_allowed(&method, &path);
    }
    if path == "/v2" || path.starts_with("/v2/") {
        response = open_inference(response);
    }
    mark(response.headers_mut(), origin);
    if tls && let Some(time) = api.options.hsts {
        let text = format!("max-age={}", time.as_secs());
        // Digits are valid in a header.
        if let Ok(value) = HeaderValue::try_from(text) {
            let headers = response.headers_mut();
            headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
        }
    }
    count(&api, &method, route, response.status(), begun);
    response
}

fn allowed_origin(api: &Api, headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(header::ORIGIN)?;
    let origin = value.to_str().ok()?;
    let listed = &api.options.allowed_origins;
    let found = listed.iter().any(|a| a.eq_ignore_ascii_case(origin));
    found.then(|| value.clone())
}

/// The answer to a browser that asks beforehand whether a page of an allowed origin may send a
/// request.
fn preflight(origin: Option<&HeaderValue>, request: &Request) -> Option<Response> {
    let asks = request
        .headers()
        .contains_key("access-control-request-method");
    if origin.is_none() || request.method() != Method::OPTIONS || !asks {
        return None;
    }
    let headers = [
        ("access-control-allow-methods", "GET, POST, PUT, DELETE"),
        (
            "access-control-allow-headers",
            "authorization, content-type, accept, idempotency-key, last-event-id, inference-header-content-length",
        ),
        ("access-control-max-age", "600"),
    ];
    Some((StatusCode::NO_CONTENT, headers).into_response())
}

/// The router adds `Allow` on the way out.
fn method_not_allowed(method: &Method, path: &str) -> Response {
    let detail = format!("{method} is not possible on {path}; the header Allow says what is");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail).into_response()
}

/// A problem as the Open Inference Protocol says it.
fn open_inference(response: Response) -> Response {
    let Some(problem) = response.extensions().get::<Problem>().cloned() else {
        return response;
    };
    let (mut parts, _) = response.into_parts();
    let json = HeaderValue::from_static("application/json");
    parts.headers.insert(header::CONTENT_TYPE, json);
    parts.headers.remove(header::CONTENT_LENGTH);
    let body = serde_json::json!({ "error": problem.detail }).to_string();
    Response::from_parts(parts, body.into())
}

fn mark(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static(EXPOSED);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        headers.insert(
            "cross-origin-resource-policy",
            HeaderValue::from_static("cross-origin"),
        );
    }
}

fn count(api: &Api, method: &Method, route: Option<String>, status: StatusCode, begun: Instant) {
    // A client may make up methods and paths; labels must not grow with them.
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
    ];
    let method = if known.contains(method) {
        method.as_str()
    } else {
        "OTHER"
    };
    let route = route.unwrap_or_else(|| "none".into());
    let metrics = api.service.metrics();
    let labels = RouteLabels {
        route: route.clone(),
    };
    let seconds = begun.elapsed().as_secs_f64();
    metrics
        .request_seconds
        .get_or_create(&labels)
        .observe(seconds);
    let labels = RequestLabels {
        method: method.into(),
        route,
        status: status.as_u16(),
    };
    metrics.requests.get_or_create(&labels).inc();
}
