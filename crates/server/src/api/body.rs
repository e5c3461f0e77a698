//! Reading bodies: never more than allowed, of one request and of all together.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio_stream::StreamExt;

use super::encoding::{self, Encoding, Refused};
use super::problem::ApiError;
use super::state::Api;
use rareclip_service::budget::{Budget, Held};

/// What holds the room of bodies.
const IN_WORK: &str = "requests in work";
/// Largest body of a request that carries no images.
const MAX_JSON_BYTES: usize = 1 << 20;
/// Bodies up to this size are parsed where they are; larger ones away from the threads that answer.
const PARSED_AT_ONCE: usize = 16 << 10;

/// No room for what a request needs.
pub(crate) fn full(what: &str, budget: &Budget, seconds: u64) -> ApiError {
    let detail = format!(
        "{what} hold {} KiB and at most {} KiB may be held; try again in {seconds} s",
        budget.used_kib(),
        budget.kib()
    );
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail).retry_after(seconds)
}

/// What a body may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    /// Largest body in bytes.
    pub(crate) bytes: usize,
    /// How many times its size it takes while it is worked on.
    pub(crate) weight: usize,
}

/// Reads a body. Its room is taken as it arrives, so that one who only announces bytes holds
/// nothing.
pub(crate) async fn read(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
    allowance: Allowance,
) -> Result<(Bytes, Held), ApiError> {
    let limit = allowance.bytes;
    let too_large = |found: String| {
        let detail = format!("the body has {found} bytes and at most {limit} are allowed");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    };
    let encoding = encoding::of(headers)?;
    let announced = announced(headers)?;
    if let Some(bytes) = announced {
        if bytes > limit as u64 {
            return Err(too_large(bytes.to_string()));
        }
        let all = usize::try_from(bytes).unwrap_or(usize::MAX);
        if !api.budget.fits(all.saturating_mul(allowance.weight)) {
            return Err(full(IN_WORK, &api.budget, api.service.retry_after_s()));
        }
    }
    let reading = async {
        let mut held = Held::default();
        let mut bytes: Vec<u8> = Vec::new();
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| {
                ApiError::invalid("body", format!("it broke off ({e}); send it again"))
            })?;
            let size = bytes.len() + chunk.len();
            if size > limit {
                return Err(too_large(format!("more than {limit}")));
            }
            if !api
                .budget
                .grow(&mut held, size.saturating_mul(allowance.weight))
            {
                return Err(full(IN_WORK, &api.budget, api.service.retry_after_s()));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((Bytes::from(bytes), held))
    };
    let time = api.options.body_timeout;
    let read = tokio::time::timeout(time, reading)
        .await
        .unwrap_or_else(|_| {
            let detail = format!("the body did not arrive within {:.0} s", time.as_secs_f64());
            Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "slow-body",
                detail,
            ))
        });
    let (bytes, mut held) = read?;
    if encoding == Encoding::Identity {
        return Ok((bytes, held));
    }
    let budget = api.budget.clone();
    let decompress = move || {
        let Allowance {
            bytes: limit,
            weight,
        } = allowance;
        let whole = encoding::decompressed(&bytes, limit, weight, &budget, &mut held);
        whole.map(|whole| (whole, held))
    };
    let done = tokio::task::spawn_blocking(decompress).await;
    let done = done.map_err(|error| ApiError::internal(error.to_string()))?;
    done.map_err(|refused| match refused {
        Refused::Damaged(problem) => {
            ApiError::invalid("body", format!("not gzip ({problem}); send it again"))
        }
        Refused::TooLarge => too_large(format!("more than {limit}")),
        Refused::NoRoom => full(IN_WORK, &api.budget, api.service.retry_after_s()),
    })
}

fn announced(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(None);
    };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length
        .map(Some)
        .ok_or_else(|| ApiError::invalid("Content-Length", "not a number"))
}

/// The media type of the body in lower case, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

pub(crate) fn unsupported(found: &str, wanted: &str) -> ApiError {
    let found = if found.is_empty() { "nothing" } else { found };
    ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "media-type",
        format!("Content-Type: found {found}, wanted {wanted}"),
    )
}

/// Reads JSON from bytes; the error names the field.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|e| ApiError::invalid("body", e.to_string()))
}

/// Runs `parse` on a body, away from the threads that answer requests where it is large.
pub(crate) async fn parsed<T: Send + 'static>(
    bytes: Bytes,
    parse: impl FnOnce(&Bytes) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if bytes.len() <= PARSED_AT_ONCE {
        return parse(&bytes);
    }
    tokio::task::spawn_blocking(move || parse(&bytes))
        .await
        .map_err(|error| ApiError::internal(error.to_string()))?
}

/// A small JSON body.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<Arc<Api>> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        let (bytes, _held) = small(request, api).await?;
        Ok(Self(parsed(bytes, |bytes| parse(bytes)).await?))
    }
}

/// A small JSON body that may be left out.
#[derive(Debug)]
pub(crate) struct MaybeJson<T>(pub(crate) Option<T>);

impl<T: DeserializeOwned + Send + 'static> FromRequest<Arc<Api>> for MaybeJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        let announced = announced(request.headers())?;
        let untyped = !request.headers().contains_key(header::CONTENT_TYPE);
        let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        if untyped && !chunked && announced.unwrap_or(0) == 0 {
            return Ok(Self(None));
        }
        let (bytes, _held) = small(request, api).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        Ok(Self(Some(parsed(bytes, |bytes| parse(bytes)).await?)))
    }
}

async fn small(request: Request, api: &Arc<Api>) -> Result<(Bytes, Held), ApiError> {
    let kind = media_type(request.headers());
    if kind != "application/json" {
        return Err(unsupported(&kind, "application/json"));
    }
    let (parts, body) = request.into_parts();
    let allowance = Allowance {
        bytes: MAX_JSON_BYTES,
        weight: 1,
    };
    read(api, &parts.headers, body, allowance).await
}
