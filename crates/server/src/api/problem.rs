//! What a client is told when a request is not done: `application/problem+json` (RFC 9457).

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use rareclip_service::ServiceError;
use rareclip_service::clean::{Logged, explained};

/// Why a request was not done (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what it is, `kind` says it more finely.
    #[serde(rename = "type")]
    pub about: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong, where, and what to do.
    pub detail: String,
    /// A short name for programs, e.g. `busy`, `invalid`, `not-found`.
    pub kind: String,
}

/// A problem on its way to the client.
#[derive(Debug)]
pub(crate) struct ApiError {
    /// Boxed, for every handler gives results that hold an error's room.
    problem: Box<Problem>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        Self {
            problem: Box::new(Problem {
                about: "about:blank".into(),
                title: status.canonical_reason().unwrap_or("Error").into(),
                status: status.as_u16(),
                detail: explained(detail.into()),
                kind: kind.into(),
            }),
            headers: Vec::new(),
        }
    }

    /// A field, header or parameter that is not as it should be.
    pub(crate) fn invalid(place: impl Into<String>, problem: impl Into<String>) -> Self {
        ServiceError::Invalid {
            place: place.into(),
            problem: problem.into(),
        }
        .into()
    }

    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        ServiceError::Internal(detail.into()).into()
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        self.with(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// The same with `prefix` before the detail.
    pub(crate) fn prefixed(mut self, prefix: &str) -> Self {
        self.problem.detail.insert_str(0, prefix);
        self
    }

    pub(crate) fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        let status =
            StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = %Logged(&error), "a request failed");
        }
        let answer = Self::new(status, error.kind(), error.to_string());
        match error.retry_after_s() {
            Some(seconds) => answer.retry_after(seconds),
            None => answer,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = render(&self.problem);
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        // The outermost layer may have to say it the way another protocol wants it.
        response.extensions_mut().insert(*self.problem);
        response
    }
}

fn render(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let kind = HeaderValue::from_static("application/problem+json");
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}
