//! Who sent a request.

use std::net::IpAddr;
use std::sync::Arc;

/// Who sent a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller {
    /// SHA-256 of the key, where the route needs one and access is not open.
    pub(crate) key: Option<Arc<str>>,
    /// The address, where it is known.
    pub(crate) address: Option<IpAddr>,
}
