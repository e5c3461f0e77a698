//! Sockets and responses that report to the activity of their connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::{Activity, Open};

/// Bytes of a response that are handed over at once. The rest stays with the response, so that what
/// a client does not read is seen, and is dropped with its connection.
const PIECE: usize = 64 << 10;

/// A socket whose writes are watched.
#[derive(Debug)]
pub(super) struct Socket<S> {
    inner: S,
    activity: Arc<Activity>,
}

impl<S> Socket<S> {
    pub(super) fn new(inner: S, activity: Arc<Activity>) -> Self {
        Self { inner, activity }
    }

    fn note<T>(&self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.activity.set_blocked(poll.is_pending());
        poll
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// The body of a response, in pieces.
#[derive(Debug)]
pub(super) struct Response {
    inner: Body,
    rest: Bytes,
    open: Open,
}

impl Response {
    pub(super) fn new(inner: Body, open: Open) -> Self {
        Self {
            inner,
            rest: Bytes::new(),
            open,
        }
    }

    fn piece(&mut self) -> Frame<Bytes> {
        self.open.set_parked(true);
        let length = self.rest.len().min(PIECE);
        Frame::data(self.rest.split_to(length))
    }
}

impl http_body::Body for Response {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // It is asked for more, so what it gave before was taken.
        self.open.set_parked(false);
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            Some(Ok(frame)) => frame,
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(bytes) => {
                self.rest = bytes;
                self.piece()
            }
            Err(trailers) => trailers,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint.set_lower(inner.lower().saturating_add(rest));
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;

    #[tokio::test]
    async fn a_large_response_is_handed_over_in_pieces_and_stays_until_the_last_is_taken() {
        let activity = Arc::new(Activity::new());
        let bytes = vec![7; 3 * PIECE + 5];
        let mut response = Response::new(Body::from(bytes.clone()), activity.begin());
        assert_eq!(response.size_hint().exact(), Some(bytes.len() as u64));
        let (mut read, mut pieces) = (Vec::<u8>::new(), 0);
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut response).poll_frame(cx)).await;
            let Some(frame) = frame else {
                break;
            };
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE);
            read.extend(&piece);
            pieces += 1;
        }
        assert_eq!(pieces, 4);
        assert!(read == bytes);
        assert_eq!(activity.idle(), None);
        drop(response);
        assert!(activity.idle().is_some());
    }
}
