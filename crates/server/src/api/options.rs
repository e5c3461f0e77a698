//! What an operator can set about the API.

use std::sync::Arc;
use std::time::Duration;

use crate::security::{KeyRing, TlsFiles};

/// How the API is served.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// The API keys; none, or a ring without keys: access is open where that is allowed.
    pub keys: Option<Arc<KeyRing>>,
    /// Whether access without keys is allowed on addresses that other machines can reach.
    pub allow_open: bool,
    /// Whether such addresses may be served without TLS.
    pub allow_plain: bool,
    /// Certificate and key; none: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whether only this machine can reach the service; `serve` sets it by the address. Where
    /// access is open, requests must then use a name of this machine, also with `allow_open`.
    pub loopback: bool,
    /// Names besides `localhost` and loopback addresses that `Host` may be while access is open on
    /// loopback. With `allow_open` on an address of the network: if there are any, `Host` must be
    /// one of them, or an IP address.
    pub allowed_hosts: Vec<String>,
    /// Origins of other web pages that may use the API, e.g. `https://mes.example`; none: no CORS
    /// headers at all.
    pub allowed_origins: Vec<String>,
    /// Bytes that the bodies of all requests in work may take together, decoded forms included.
    pub max_bytes_in_flight: usize,
    /// Largest state file that can be imported, in bytes.
    pub max_state_bytes: usize,
    /// Bytes that answers of 64 KiB and more may take together until they are sent: lists, charts,
    /// pictures, maps. Default 256 MiB.
    pub max_answer_bytes: usize,
    /// States exported at the same time; each takes an open file and 256 KiB. Default 8.
    pub max_exports: usize,
    /// Event streams open at the same time.
    pub max_event_streams: usize,
    /// Event streams open at the same time with one key.
    pub max_event_streams_per_key: usize,
    /// Event streams open at the same time from one remote address. Loopback addresses are exempt:
    /// behind a proxy on this machine every client has one.
    pub max_event_streams_per_address: usize,
    /// Time without an event after which a comment is sent. The key of an event stream is checked
    /// at least this often.
    pub event_keep_alive: Duration,
    /// Connections open at the same time. When they are all in use, a new connection replaces the
    /// one that has been idle longest; if none is idle, it gets answers to health checks only.
    pub max_connections: usize,
    /// Connections open at the same time from one remote address (IPv6: from one /64 network);
    /// `None`: half of `max_connections`. Loopback addresses are exempt: behind a proxy on this
    /// machine every client has one.
    pub max_connections_per_address: Option<usize>,
    /// Time from the opening of a connection until the head of its first request is complete, the
    /// TLS handshake included.
    pub head_timeout: Duration,
    /// Time without a request after which a connection is closed.
    pub idle_timeout: Duration,
    /// Time without progress after which a client that does not read its response is disconnected.
    pub write_timeout: Duration,
    /// Time within which the body of a request must have arrived.
    pub body_timeout: Duration,
    /// Time for which browsers must use HTTPS once they have seen this service over TLS
    /// (`Strict-Transport-Security`); `None`: the header is not sent. It is never sent over plain
    /// HTTP.
    pub hsts: Option<Duration>,
    /// Time that requests in work have to end when the service goes down.
    pub grace: Duration,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            keys: None,
            allow_open: false,
            allow_plain: false,
            tls: None,
            loopback: true,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            max_bytes_in_flight: 512 << 20,
            max_state_bytes: 512 << 20,
            max_answer_bytes: 256 << 20,
            max_exports: 8,
            max_event_streams: 256,
            max_event_streams_per_key: 64,
            max_event_streams_per_address: 64,
            event_keep_alive: Duration::from_secs(15),
            max_connections: 512,
            max_connections_per_address: None,
            head_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            hsts: Some(Duration::from_secs(365 * 24 * 60 * 60)),
            grace: Duration::from_secs(30),
        }
    }
}
