//! The connection that a request came over.

use std::net::SocketAddr;

/// Both ends of the connection that a request came over.
///
/// [`serve`](super::serve) adds it to the extensions of each request. A program that serves the
/// [`router`](super::router) itself should do the same: without it the limits per address do not
/// apply, `Strict-Transport-Security` is not sent, and
/// [`ApiOptions::loopback`](super::ApiOptions::loopback) decides whether a request came over
/// loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client's address.
    pub remote: SocketAddr,
    /// The address of this machine that the client connected to.
    pub local: SocketAddr,
    /// Whether the connection uses TLS.
    pub tls: bool,
}

impl Peer {
    /// Whether the client reached the service through the loopback interface.
    pub(crate) fn over_loopback(&self) -> bool {
        self.local.ip().to_canonical().is_loopback()
    }
}
