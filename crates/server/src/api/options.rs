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
    /// Whether only this machine can reach the service; `serve` sets it by the address.
    pub loopback: bool,
    /// Names besides `localhost` and loopback addresses that `Host` may be while access is open on loopback.
    pub allowed_hosts: Vec<String>,
    /// Origins of other web pages that may use the API, e.g. `https://mes.example`; none: no CORS headers at all.
    pub allowed_origins: Vec<String>,
    /// Bytes that the bodies of all requests in work may take together, decoded forms included.
    pub max_bytes_in_flight: usize,
    /// Largest state file that can be imported, in bytes.
    pub max_state_bytes: usize,
    /// Bytes that answers of 64 KiB and more may take together until they are sent: lists, charts, pictures, maps. Default
    /// 256 MiB.
    pub max_answer_bytes: usize,
    /// States exported at the same time; each takes an open file and 256 KiB. Default 8.
    pub max_exports: usize,
    /// Event streams open at the same time.
    pub max_event_streams: usize,
    /// Time within which the body of a request must have arrived.
    pub body_timeout: Duration,
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
            body_timeout: Duration::from_secs(60),
            grace: Duration::from_secs(30),
        }
    }
}
