//! The content type of an answer.

use axum::http::{HeaderName, HeaderValue, header};

/// `Content-Type` of a body that is made here.
pub(crate) fn content_type(kind: &'static str) -> [(HeaderName, HeaderValue); 1] {
    [(header::CONTENT_TYPE, HeaderValue::from_static(kind))]
}
