//! Reading bodies: never more than allowed, of one request and of all together.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::StreamExt;

use super::problem::ApiError;
use super::state::Api;

/// Largest body of a request that carries no images.
const MAX_JSON_BYTES: usize = 1 << 20;
const KIB: usize = 1024;

/// Room for the bodies of all requests, counted in KiB.
#[derive(Debug)]
pub(crate) struct Budget {
    room: Arc<Semaphore>,
    kib: usize,
}

/// Room that one request holds, until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held {
    permit: Option<OwnedSemaphorePermit>,
    kib: usize,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        let kib = bytes.div_ceil(KIB).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(kib)),
            kib,
        }
    }

    /// Whether so many bytes would fit at this moment.
    fn fits(&self, bytes: usize) -> bool {
        self.room.available_permits() >= bytes.div_ceil(KIB)
    }

    /// Makes `held` cover `bytes`; false if there is no room.
    fn grow(&self, held: &mut Held, bytes: usize) -> bool {
        let wanted = bytes.div_ceil(KIB);
        let Ok(more) = u32::try_from(wanted.saturating_sub(held.kib)) else {
            return false;
        };
        if more == 0 {
            return true;
        }
        let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(more) else {
            return false;
        };
        match &mut held.permit {
            Some(all) => all.merge(permit),
            none => *none = Some(permit),
        }
        held.kib = wanted;
        true
    }

    fn full(&self, seconds: u64) -> ApiError {
        let used = self.kib - self.room.available_permits().min(self.kib);
        let detail = format!(
            "requests in work hold {used} KiB and at most {} KiB may be held; try again in {seconds} s",
            self.kib
        );
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail).retry_after(seconds)
    }
}

/// What a body may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    /// Largest body in bytes.
    pub(crate) bytes: usize,
    /// How many times its size it takes while it is worked on.
    pub(crate) weight: usize,
}

/// Reads a body. Its room is taken as it arrives, so that one who only announces bytes holds nothing.
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
    let announced = announced(headers)?;
    if let Some(bytes) = announced {
        if bytes > limit as u64 {
            return Err(too_large(bytes.to_string()));
        }
        let all = usize::try_from(bytes).unwrap_or(usize::MAX);
        if !api.budget.fits(all.saturating_mul(allowance.weight)) {
            return Err(api.budget.full(api.service.retry_after_s()));
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
                return Err(api.budget.full(api.service.retry_after_s()));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((Bytes::from(bytes), held))
    };
    let time = api.options.body_timeout;
    tokio::time::timeout(time, reading)
        .await
        .unwrap_or_else(|_| {
            let detail = format!("the body did not arrive within {:.0} s", time.as_secs_f64());
            Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "slow-body",
                detail,
            ))
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

/// A small JSON body.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        let bytes = small(request, api).await?;
        Ok(Self(parse(&bytes)?))
    }
}

/// A small JSON body that may be left out.
#[derive(Debug)]
pub(crate) struct MaybeJson<T>(pub(crate) Option<T>);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for MaybeJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        let announced = announced(request.headers())?;
        let untyped = !request.headers().contains_key(header::CONTENT_TYPE);
        let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        if untyped && !chunked && announced.unwrap_or(0) == 0 {
            return Ok(Self(None));
        }
        let bytes = small(request, api).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        Ok(Self(Some(parse(&bytes)?)))
    }
}

async fn small(request: Request, api: &Arc<Api>) -> Result<Bytes, ApiError> {
    let kind = media_type(request.headers());
    if kind != "application/json" {
        return Err(unsupported(&kind, "application/json"));
    }
    let (parts, body) = request.into_parts();
    let allowance = Allowance {
        bytes: MAX_JSON_BYTES,
        weight: 1,
    };
    Ok(read(api, &parts.headers, body, allowance).await?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_over_all_requests_and_given_back() {
        let budget = Budget::new(10 * KIB);
        let (mut first, mut second) = (Held::default(), Held::default());
        assert!(budget.grow(&mut first, 6 * KIB));
        assert!(!budget.grow(&mut second, 5 * KIB));
        assert!(budget.grow(&mut second, 4 * KIB));
        assert!(!budget.grow(&mut first, 6 * KIB + 1));
        drop(second);
        assert!(budget.grow(&mut first, 10 * KIB));
        assert!(!budget.fits(1));
    }

    #[test]
    fn a_request_that_grows_pays_for_each_kib_once() {
        let budget = Budget::new(4 * KIB);
        let mut held = Held::default();
        for size in 0..=4 * KIB {
            assert!(budget.grow(&mut held, size), "{size}");
        }
    }
}
