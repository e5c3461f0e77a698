//! What every handler has at hand.

use std::sync::{Arc, OnceLock};

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, watch};

use super::followers::Followers;
use super::options::ApiOptions;
use super::problem::ApiError;
use crate::Service;
use rareclip_service::budget::Budget;

pub(crate) struct Api {
    pub(crate) service: Arc<Service>,
    pub(crate) options: ApiOptions,
    pub(crate) budget: Budget,
    pub(crate) followers: Arc<Followers>,
    /// Room for answers that are being sent.
    pub(crate) answers: Budget,
    /// Exports under way.
    pub(crate) exports: Arc<Semaphore>,
    /// Becomes true when the service goes down, so that event streams end.
    pub(crate) stopping: watch::Receiver<bool>,
    /// The OpenAPI document, once the router is complete.
    pub(crate) document: OnceLock<Bytes>,
}

impl Api {
    pub(crate) fn new(
        service: Arc<Service>,
        options: ApiOptions,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        // The largest request that is allowed at all must fit into an idle service.
        let largest = (2 * service.settings().max_body_bytes).max(options.max_state_bytes);
        Self {
            budget: Budget::new(options.max_bytes_in_flight.max(largest)),
            followers: Arc::default(),
            answers: Budget::new(options.max_answer_bytes),
            exports: Arc::new(Semaphore::new(options.max_exports)),
            service,
            options,
            stopping,
            document: OnceLock::new(),
        }
    }
}

/// Query parameters, no other than those of `T`.
#[derive(Debug)]
pub(crate) struct Strict<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Strict<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Query::<T>::try_from_uri(&parts.uri)
            .map(|Query(value)| Self(value))
            .map_err(|e: QueryRejection| {
                let text = e.body_text();
                let problem = text.strip_prefix("Failed to deserialize query string: ");
                ApiError::invalid("query", problem.unwrap_or(&text))
            })
    }
}

/// No query parameters at all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// Parts of the path.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        axum::extract::Path::<T>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|e: PathRejection| ApiError::invalid("path", e.body_text()))
    }
}
