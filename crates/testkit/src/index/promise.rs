//! One part of the contract of an index.

use rareclip_core::index::VectorIndexFactory;

use crate::broken::Held;

/// One part of the contract.
pub(super) struct Promise {
    pub(super) says: &'static str,
    pub(super) holds: fn(&dyn VectorIndexFactory) -> Held,
}
