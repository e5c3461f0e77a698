//! What happens, as it happens: server-sent events, caught up from the history where a client was
//! away or slow.

use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as Frame, Sse};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::caller::Caller;
use super::followers::Ticket;
use super::problem::ApiError;
use super::state::{Api, Nothing, Path, Strict};
use crate::model::ResultQuery;
use crate::security::Scope;
use crate::{Event, EventKind, ServiceError};
use rareclip_service::clean::Logged;

/// Results that are read from the history at a time.
const PAGE: usize = 500;
/// Events on their way to one client before it counts as slow.
const UNDERWAY: usize = 64;

type Frames = Sse<ReceiverStream<Result<Frame, Infallible>>>;

/// Where to go on.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Results with ids above this come first, from the history. `Last-Event-ID` does the same and
    /// has precedence.
    #[param(example = 1199)]
    after: Option<u64>,
}

/// Events of a stream
///
/// Server-sent events: `result` (data: a ResultRecord with `stream`; id: that of the result),
/// `stream` (data: a StreamInfo with `stream`), `deleted` (the stream is gone; the last event).
/// With `Last-Event-ID` or `after`, the results since then come first, none left out and none
/// twice. A comment every 15 s keeps the connection alive. The events end when the key is revoked,
/// and when the client does not read them for 30 s.
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
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Strict(query): Strict<EventsQuery>,
    headers: HeaderMap,
) -> Result<Frames, ApiError> {
    let resume = last_event_id(&headers)?.or(query.after);
    let ticket = ticket(&api, &caller)?;
    // Listening begins before the history is read, so that nothing falls between the two.
    let live = api.service.events();
    let info = api.service.stream(&name).await?;
    let (outlet, frames) = outlet(&api, caller);
    let follower = Follower {
        last: resume.or(info.last.map(|last| last.id)).unwrap_or(0),
        name,
        outlet: outlet.clone(),
    };
    let stopping = api.stopping.clone();
    send(
        ticket,
        outlet,
        stopping,
        follower.run(live, resume.is_some()),
    );
    Ok(frames)
}

/// Events of all streams
///
/// As for one stream, from now on: what came before is in the histories. A client too slow to keep
/// up is told so by an event `notice` and should read the lists anew.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "events",
    responses((status = 200, description = "Events until the client hangs up.", body = String, content_type = "text/event-stream")),
)]
pub(crate) async fn of_all(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Strict(Nothing {}): Strict<Nothing>,
) -> Result<Frames, ApiError> {
    let ticket = ticket(&api, &caller)?;
    let mut live = api.service.events();
    let (outlet, frames) = outlet(&api, caller);
    let own = outlet.clone();
    send(ticket, outlet, api.stopping.clone(), async move {
        loop {
            let frame = match live.recv().await {
                // Numbers count within a stream, so here they say nothing about where to go on.
                Ok(event) => frame(&event.stream, event.kind, None, &event.data),
                Err(RecvError::Lagged(missed)) => notice(missed),
                Err(RecvError::Closed) => return Err(Ended),
            };
            own.send(frame).await?;
        }
    });
    Ok(frames)
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

fn ticket(api: &Api, caller: &Caller) -> Result<Ticket, ApiError> {
    let joined = api.followers.join(caller, &api.options);
    joined.map_err(|full| {
        let seconds = api.service.retry_after_s();
        let detail = format!("{full}; close one, or try again in {seconds} s");
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail).retry_after(seconds)
    })
}

/// The way to one client.
#[derive(Clone)]
struct Outlet {
    /// Weak, so that dropping the router ends the events.
    api: Weak<Api>,
    caller: Caller,
    write_timeout: Duration,
    keep_alive: Duration,
    sender: mpsc::Sender<Result<Frame, Infallible>>,
}

fn outlet(api: &Arc<Api>, caller: Caller) -> (Outlet, Frames) {
    let (sender, receiver) = mpsc::channel(UNDERWAY);
    let outlet = Outlet {
        api: Arc::downgrade(api),
        caller,
        write_timeout: api.options.write_timeout,
        keep_alive: api.options.event_keep_alive,
        sender,
    };
    (outlet, Sse::new(ReceiverStream::new(receiver)))
}

impl Outlet {
    fn api(&self) -> Result<Arc<Api>, Ended> {
        self.api.upgrade().ok_or(Ended)
    }

    /// Sends a frame, if the caller may still read and reads in time.
    async fn send(&self, frame: Frame) -> Result<(), Ended> {
        if !self.caller.still_may(&*self.api()?, Scope::Read) {
            return Err(Ended);
        }
        let sent = self
            .sender
            .send_timeout(Ok(frame), self.write_timeout)
            .await;
        sent.map_err(|_| Ended)
    }

    /// Sends a comment now and then, so that a client that has gone or may no longer read is found
    /// out.
    async fn keep_alive(&self) -> Ended {
        loop {
            tokio::time::sleep(self.keep_alive).await;
            if let Err(ended) = self.send(Frame::default().comment("")).await {
                return ended;
            }
        }
    }
}

/// Sends events until they end, the client has gone, its key is revoked, or the service goes down.
fn send(
    ticket: Ticket,
    outlet: Outlet,
    stopping: watch::Receiver<bool>,
    events: impl Future<Output = Result<(), Ended>> + Send + 'static,
) {
    tokio::spawn(async move {
        let _ticket = ticket;
        tokio::select! {
            _ = events => {}
            _ = outlet.keep_alive() => {}
            () = outlet.sender.closed() => {}
            () = stopped(stopping) => {}
        }
    });
}

/// Ends when the service goes down.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    // Whoever could say so is gone: a router that is used without `serve` never stops.
    if stopping.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Follows one stream for one client.
struct Follower {
    name: String,
    /// The last result that the client has.
    last: u64,
    outlet: Outlet,
}

/// The client has gone or may no longer read, or the stream has gone.
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
                    let info = self
                        .outlet
                        .api()?
                        .service
                        .stream(&self.name)
                        .await
                        .map_err(|_| Ended)?;
                    let data = serde_json::to_string(&info).map_err(|_| Ended)?;
                    let frame = frame(&self.name, EventKind::Stream, None, &data);
                    self.outlet.send(frame).await?;
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
        self.outlet.send(frame).await?;
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
            let page = match self.outlet.api()?.service.results(&self.name, query).await {
                Ok(page) => page,
                Err(ServiceError::NotFound { .. }) => return Err(Ended),
                Err(error) => {
                    // Better to break off, so that the client comes again with its last id, than to
                    // leave a gap.
                    tracing::warn!(error = %Logged(&error), stream = self.name, "events cannot be caught up");
                    return Err(Ended);
                }
            };
            let full = page.len() == PAGE;
            for record in page {
                let data = serde_json::to_string(&record).map_err(|_| Ended)?;
                self.last = self.last.max(record.id);
                let frame = frame(&self.name, EventKind::Result, Some(record.id), &data);
                self.outlet.send(frame).await?;
            }
            if !full {
                return Ok(());
            }
        }
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
