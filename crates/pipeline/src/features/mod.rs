//! Features that are kept, so that a backbone runs once per image.

mod store;
mod stored;

pub use store::FeatureStore;
pub use stored::StoredImages;
