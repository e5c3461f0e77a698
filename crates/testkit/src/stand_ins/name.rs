//! The name of the components of the kit.

/// The name of each.
pub(crate) const NAME: &str = "testkit";
