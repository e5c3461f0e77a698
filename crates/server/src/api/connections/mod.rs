//! Connections: accepted up to a limit, given a time for everything that they wait for, and ended
//! when the service goes down.

mod activity;
mod ledger;
mod watched;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::options::ApiOptions;
use super::peer::Peer;
use super::problem::ApiError;
use crate::security::tls::Reloaded;
use activity::{Activity, Timeouts};
use ledger::{Kind, Ledger, Seat};

/// Bytes that the system buffers of what a client has not read yet. Without a bound it grows to
/// megabytes per connection.
const SEND_BUFFER: usize = 256 << 10;
/// Bytes of a request's head, and of a body that wait to be read.
const READ_BUFFER: usize = 64 << 10;
/// Requests at the same time over one HTTP/2 connection.
const CONCURRENT_STREAMS: u32 = 128;
/// Bytes of the headers of one HTTP/2 request.
const HEADER_LIST: u32 = 32 << 10;
/// Bytes that an HTTP/2 client may send before they are read: of one request, of all requests of a
/// connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Silence after which an HTTP/2 client is pinged, and the time it has to reply.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest time that a connection for health checks waits for its client.
const HEALTH_TIME: Duration = Duration::from_secs(5);
/// Pause after an error of the listening socket, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// What all connections share.
struct Shared {
    router: Router,
    tls: Option<Reloaded>,
    timeouts: Timeouts,
    builder: Builder<TokioExecutor>,
    stopping: watch::Receiver<bool>,
}

/// Accepts connections until `stopping` becomes true, then lets requests in work end within the
/// grace period.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    options: &ApiOptions,
    tls: Option<Reloaded>,
    mut stopping: watch::Receiver<bool>,
) {
    let ledger = Arc::new(Ledger::new(
        options.max_connections,
        options.max_connections_per_address,
    ));
    let shared = Arc::new(Shared {
        router,
        tls,
        timeouts: Timeouts {
            head: options.head_timeout,
            idle: options.idle_timeout,
            write: options.write_timeout,
        },
        builder: builder(),
        stopping: stopping.clone(),
    });
    let mut connections = JoinSet::new();
    let stopped = async move {
        // The sender is gone only with the service.
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    tokio::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, remote)) => {
                // Without a place the connection is closed at once.
                if let Some(seat) = ledger.admit(remote.ip()) {
                    connections.spawn(connection(Arc::clone(&shared), socket, remote, seat));
                }
            }
            Err(error) if of_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::select! {
                    () = &mut stopped => break,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    // New connections are refused from here on.
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(options.grace, ended).await.is_err() {
        tracing::warn!("requests did not end within the grace period and are broken off");
    }
}

fn of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    [
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        Interrupted,
    ]
    .contains(&error.kind())
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // The activity of a connection has the timeouts: those here would not cover the detection of
    // the protocol.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(READ_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(PING_EVERY))
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .max_header_list_size(HEADER_LIST)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(READ_BUFFER);
    builder
}

/// One connection, from the accepted socket to its end.
async fn connection(shared: Arc<Shared>, socket: TcpStream, remote: SocketAddr, seat: Seat) {
    let mut stopping = shared.stopping.clone();
    let handshake = async {
        let Ok(local) = socket.local_addr() else {
            return;
        };
        // Neither is needed to serve the client.
        let _ = SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER);
        let _ = socket.set_nodelay(true);
        let peer = Peer {
            remote,
            local,
            tls: shared.tls.is_some(),
        };
        let socket = watched::Socket::new(socket, Arc::clone(&seat.activity));
        let Some(tls) = &shared.tls else {
            return http(&shared, socket, peer, &seat).await;
        };
        let accepting = TlsAcceptor::from(tls.current()).accept(socket);
        let accepted = tokio::select! {
            accepted = accepting => accepted,
            // Nothing is in work during the handshake.
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        // A client that breaks the handshake off is not a problem of the service.
        if let Ok(stream) = accepted {
            http(&shared, stream, peer, &seat).await;
        }
    };
    let timeouts = match seat.kind {
        Kind::Full => shared.timeouts,
        Kind::Health => Timeouts {
            head: shared.timeouts.head.min(HEALTH_TIME),
            idle: Duration::ZERO,
            write: shared.timeouts.write.min(HEALTH_TIME),
        },
    };
    tokio::select! {
        () = handshake => {}
        overdue = seat.activity.expired(timeouts) => {
            tracing::debug!(%remote, ?overdue, "connection closed: the client did not go on in time");
        }
        () = seat.close.notified() => {
            tracing::debug!(%remote, "connection closed: it was idle, and its place was needed");
        }
    }
}

async fn http<S>(shared: &Shared, stream: S, peer: Peer, seat: &Seat)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut stopping = shared.stopping.clone();
    let kind = seat.kind;
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let router = shared.router.clone();
        let activity = Arc::clone(&seat.activity);
        answer(router, activity, request.map(Body::new), peer, kind)
    });
    let serving = shared
        .builder
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    // How a connection ended is a matter of its client.
    tokio::select! {
        _ = &mut serving => return,
        _ = stopping.wait_for(|stop| *stop) => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

async fn answer(
    router: Router,
    activity: Arc<Activity>,
    mut request: Request,
    peer: Peer,
    kind: Kind,
) -> Result<Response<watched::Response>, Infallible> {
    let open = activity.begin();
    let one_way = request.version() < Version::HTTP_2;
    let health = ["/livez", "/readyz", "/v2/health/live", "/v2/health/ready"];
    let mut response = if kind == Kind::Full || health.contains(&request.uri().path()) {
        request.extensions_mut().insert(ConnectInfo(peer.remote));
        request.extensions_mut().insert(peer);
        let Ok(response) = router.oneshot(request).await;
        response
    } else {
        let detail = "every connection is in use and only health checks are answered; try again in 5 s, or let the operator \
                      raise --max-connections";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "connections", detail)
            .retry_after(5)
            .into_response()
    };
    if kind == Kind::Health && one_way {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    Ok(response.map(|body| watched::Response::new(body, open)))
}
