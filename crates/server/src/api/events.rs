//! What happens, as it happens: server-sent events, caught up from the history where a client was away or slow.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::problem::ApiError;
use super::state::{Api, Nothing, Path, Strict};
use crate::model::ResultQuery;
use crate::{Event, EventKind, Service, ServiceError};

/// A comment is sent after so long a silence, so that a dead connection is found out.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Results that are read from the history at a time.
const PAGE: usize = 500;
/// Events on their way to one client before it counts as slow.
const UNDERWAY: usize = 64;

type Frames = Sse<axum::response::sse::KeepAliveStream<ReceiverStream<Result<Frame, Infallible>>>>;

/// Where to go on.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Results with ids above this come first, from the history. `Last-Event-ID` does the same and has precedence.
    #[param(example = 1199)]
    after: Option<u64>,
}

/// Events of a stream
///
/// Server-sent events: `result` (data: a ResultRecord with `stream`; id: that of the result), `stream` (data: a StreamInfo with
/// `stream`), `deleted` (the stream is gone; the last event). With `Last-Event-ID` or `after`, the results since then come first,
/// none left out and none twice. A comment every 15 s keeps the connection alive.
#[utoipa::path(
    get,
    path = "/v1/streams/{name}/events",
    tag = "events",
    params(
        ("name" = String, Path, description = "The stream.", example = "line-1"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The last result that was received.", example = 1199),
        EventsQuery,
    ),
    responses((status = 200, description = "Events until the client hangs up.", body = String, content_type = "text/event-stream")),
)]
pub(crate) async fn of_stream(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(query): Strict<EventsQuery>,
    headers: HeaderMap,
) -> Result<Frames, ApiError> {
    let resume = last_event_id(&headers)?.or(query.after);
    let permit = permit(&api)?;
    // Listening begins before the history is read, so that nothing falls between the two.
    let live = api.service.events();
    let info = api.service.stream(&name).await?;
    let (sender, receiver) = mpsc::channel(UNDERWAY);
    let follower = Follower {
        service: Arc::clone(&api.service),
        last: resume.or(info.last.map(|last| last.id)).unwrap_or(0),
        name,
        sender,
    };
    let stopping = api.stopping.clone();
    tokio::spawn(async move {
        let _permit = permit;
        let gone = follower.sender.clone();
        tokio::select! {
            _ = follower.run(live, resume.is_some()) => {}
            () = gone.closed() => {}
            () = stopped(stopping) => {}
        }
    });
    Ok(frames(receiver))
}

/// Events of all streams
///
/// As for one stream, from now on: what came before is in the histories. A client too slow to keep up is told so by an event
/// `notice` and should read the lists anew.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "events",
    responses((status = 200, description = "Events until the client hangs up.", body = String, content_type = "text/event-stream")),
)]
pub(crate) async fn of_all(
    State(api): State<Arc<Api>>,
    Strict(Nothing {}): Strict<Nothing>,
) -> Result<Frames, ApiError> {
    let permit = permit(&api)?;
    let mut live = api.service.events();
    let (sender, receiver) = mpsc::channel(UNDERWAY);
    let stopping = api.stopping.clone();
    tokio::spawn(async move {
        let _permit = permit;
        let run = async {
            loop {
                let frame = match live.recv().await {
                    // Numbers count within a stream, so here they say nothing about where to go on.
                    Ok(event) => frame(&event.stream, event.kind, None, &event.data),
                    Err(RecvError::Lagged(missed)) => notice(missed),
                    Err(RecvError::Closed) => return,
                };
                if sender.send(Ok(frame)).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = run => {}
            () = sender.closed() => {}
            () = stopped(stopping) => {}
        }
    });
    Ok(frames(receiver))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("?");
    if text.is_empty() {
        return Ok(None);
    }
    let bad = || {
        ApiError::invalid(
            "Last-Event-ID",
            format!("found `{text}`, wanted the id of a result"),
        )
    };
    text.parse().map(Some).map_err(|_| bad())
}

fn permit(api: &Api) -> Result<OwnedSemaphorePermit, ApiError> {
    let all = Arc::clone(&api.event_streams);
    all.try_acquire_owned().map_err(|_| {
        let seconds = api.service.retry_after_s();
        let detail = format!(
            "{} clients follow events and no more may; try again in {seconds} s",
            api.options.max_event_streams
        );
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail).retry_after(seconds)
    })
}

/// Ends when the service goes down.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    // Whoever could say so is gone: a router that is used without `serve` never stops.
    if stopping.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn frames(receiver: mpsc::Receiver<Result<Frame, Infallible>>) -> Frames {
    Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// Follows one stream for one client.
struct Follower {
    service: Arc<Service>,
    name: String,
    /// The last result that the client has.
    last: u64,
    sender: mpsc::Sender<Result<Frame, Infallible>>,
}

/// The client has gone, or the stream has.
struct Ended;

impl Follower {
    async fn run(
        mut self,
        mut live: broadcast::Receiver<Event>,
        resume: bool,
    ) -> Result<(), Ended> {
        if resume {
            self.catch_up().await?;
        }
        loop {
            match live.recv().await {
                Ok(event) if *event.stream == *self.name => self.pass(event).await?,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => {
                    self.catch_up().await?;
                    let info = self.service.stream(&self.name).await.map_err(|_| Ended)?;
                    let data = serde_json::to_string(&info).map_err(|_| Ended)?;
                    let frame = frame(&self.name, EventKind::Stream, None, &data);
                    self.send(frame).await?;
                }
                Err(RecvError::Closed) => return Err(Ended),
            }
        }
    }

    async fn pass(&mut self, event: Event) -> Result<(), Ended> {
        if let (EventKind::Result, Some(id)) = (event.kind, event.id) {
            if id <= self.last {
                return Ok(());
            }
            self.last = id;
        }
        let frame = frame(&event.stream, event.kind, event.id, &event.data);
        self.send(frame).await?;
        match event.kind {
            EventKind::Deleted => Err(Ended),
            _ => Ok(()),
        }
    }

    /// Sends what the history has beyond the last result that the client was sent.
    async fn catch_up(&mut self) -> Result<(), Ended> {
        loop {
            let query = ResultQuery {
                after: Some(self.last),
                limit: Some(PAGE),
                ..ResultQuery::default()
            };
            let page = match self.service.results(&self.name, query).await {
                Ok(page) => page,
                Err(ServiceError::NotFound { .. }) => return Err(Ended),
                Err(error) => {
                    // Better to break off, so that the client comes again with its last id, than to leave a gap.
                    tracing::warn!(%error, stream = self.name, "events cannot be caught up");
                    return Err(Ended);
                }
            };
            let full = page.len() == PAGE;
            for record in page {
                let data = serde_json::to_string(&record).map_err(|_| Ended)?;
                self.last = self.last.max(record.id);
                let frame = frame(&self.name, EventKind::Result, Some(record.id), &data);
                self.send(frame).await?;
            }
            if !full {
                return Ok(());
            }
        }
    }

    async fn send(&self, frame: Frame) -> Result<(), Ended> {
        self.sender.send(Ok(frame)).await.map_err(|_| Ended)
    }
}

fn frame(stream: &str, kind: EventKind, id: Option<u64>, data: &str) -> Frame {
    let name = match kind {
        EventKind::Result => "result",
        EventKind::Stream => "stream",
        EventKind::Deleted => "deleted",
    };
    let frame = Frame::default().event(name).data(with_stream(stream, data));
    match id {
        Some(id) => frame.id(id.to_string()),
        None => frame,
    }
}

fn notice(missed: u64) -> Frame {
    #[derive(Serialize)]
    struct Notice {
        notice: String,
    }
    let text =
        format!("{missed} events were left out, this client is too slow; read the lists anew");
    let data = serde_json::to_string(&Notice { notice: text }).unwrap_or_default();
    Frame::default().event("notice").data(data)
}

/// Puts the stream's name into a JSON object that may not know it.
fn with_stream(stream: &str, data: &str) -> String {
    let name = serde_json::Value::from(stream);
    match data.strip_prefix('{') {
        Some("}") | None => format!("{{\"stream\":{name}}}"),
        Some(rest) => format!("{{\"stream\":{name},{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_an_object_that_names_the_stream() {
        assert_eq!(with_stream("a", r#"{"id":1}"#), r#"{"stream":"a","id":1}"#);
        assert_eq!(with_stream("a", "{}"), r#"{"stream":"a"}"#);
        assert_eq!(with_stream("a", "null"), r#"{"stream":"a"}"#);
    }
}
