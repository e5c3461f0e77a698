//! Large answers: how much of them is in memory at a time, whatever the pace at which clients read.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio_stream::StreamExt;
use tokio_util::io::ReaderStream;

use super::body::full;
use super::problem::ApiError;
use super::state::Api;
use crate::StateExport;
use rareclip_service::budget::Held;

/// Smaller answers are not counted: connections are, and each has one answer under way.
const COUNTED_FROM: u64 = 64 << 10;
/// Bytes of a state file that are in memory while it is sent.
const CHUNK: usize = 128 << 10;

/// Room for an answer that was taken before its work began.
#[derive(Debug, Clone)]
pub(crate) struct Reserved(
    #[expect(dead_code, reason = "held until the answer is sent")] Arc<Held>,
);

impl Reserved {
    pub(crate) fn new(held: Held) -> Self {
        Self(Arc::new(held))
    }
}

/// Room for `bytes` of an answer, before the work that leads to it.
///
/// # Errors
/// 413 where it can never fit, and 429 where it does not now; `what` says what to ask less of.
pub(crate) fn reserve(api: &Api, bytes: usize, what: &str) -> Result<Reserved, ApiError> {
    if !api.answers.ever_fits(bytes) {
        let detail = format!(
            "the answer takes {} KiB and at most {} KiB may be held for answers; {what}",
            bytes >> 10,
            api.answers.kib()
        );
        return Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            detail,
        ));
    }
    let held = api.answers.take(bytes);
    held.map(Reserved::new).ok_or_else(|| no_room(api))
}

fn no_room(api: &Api) -> ApiError {
    full(
        "answers that are being sent",
        &api.answers,
        api.service.retry_after_s(),
    )
}

/// Counts the bytes of large answers until they are sent, and refuses those that do not fit. What
/// has changed something is answered in any case.
pub(crate) async fn count(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    let response = next.run(request).await;
    if let Some(reserved) = response.extensions().get::<Reserved>().cloned() {
        return response.map(|body| Body::new(Counted(body, reserved)));
    }
    let bytes = response.body().size_hint().exact().unwrap_or(0);
    if bytes < COUNTED_FROM {
        return response;
    }
    match api
        .answers
        .take(usize::try_from(bytes).unwrap_or(usize::MAX))
    {
        Some(held) => response.map(|body| Body::new(Counted(body, Reserved::new(held)))),
        None if safe => no_room(&api).into_response(),
        None => response,
    }
}

/// A body and the room that it takes, given back when it is sent or given up.
struct Counted(
    Body,
    #[expect(dead_code, reason = "held until the body is dropped")] Reserved,
);

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// A place among the exports under way.
///
/// # Errors
/// 429 where there are as many as allowed.
pub(crate) fn export_slot(api: &Api) -> Result<OwnedSemaphorePermit, ApiError> {
    Arc::clone(&api.exports).try_acquire_owned().map_err(|_| {
        let seconds = api.service.retry_after_s();
        let detail = format!(
            "{} states are being exported and no more may be at a time; try again in {seconds} s",
            api.options.max_exports
        );
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail).retry_after(seconds)
    })
}

/// A state file as a body that is read from disk as it is sent. `slot` is given back with the last
/// byte.
pub(crate) fn file(state: StateExport, slot: OwnedSemaphorePermit) -> Body {
    let mut file = tokio::fs::File::from_std(state.file);
    file.set_max_buf_size(CHUNK);
    let chunks = ReaderStream::with_capacity(file, CHUNK);
    Body::from_stream(chunks.map(move |chunk| {
        let _held = &slot;
        chunk
    }))
}
