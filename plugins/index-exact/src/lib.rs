//! Exact inner-product search: the default index of rareclip's banks.
//!
//! Similarities are matrix products (faer picks AVX-512, AVX2 or NEON kernels at run time), made
//! tile by tile: a tile of queries x vectors is searched for its best entries while it is still in
//! the cache, so that the whole `[queries, vectors]` matrix never exists. Tiles are shared out with
//! rayon and each is computed on one thread, so results do not depend on the number of threads.

mod index;
mod product;
mod top;

pub use index::ExactIndex;

use rareclip_core::bank::saturating_bytes;
use rareclip_core::index::VectorIndexFactory;
use rareclip_core::{BoxError, VectorIndex, register, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Exact search by blocked matrix products on the CPU.
///
/// It agrees with brute force to the last neighbour; ties go to the vector that arrived earlier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExactOptions {}

register!(index ExactOptions);

#[typetag::serde(name = "exact")]
impl VectorIndexFactory for ExactOptions {
    fn capacity_bytes(&self, width: usize, vectors: usize) -> Option<u64> {
        Some(saturating_bytes([vectors, width, size_of::<f32>()]))
    }

    fn build(&self, width: usize, capacity: usize) -> Result<Box<dyn VectorIndex>, BoxError> {
        Ok(Box::new(ExactIndex::new(width, capacity)?))
    }
}
