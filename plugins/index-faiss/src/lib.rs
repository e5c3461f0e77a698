//! Search by faiss: the index `faiss` ([`FaissOptions`]).
//!
//! A flat index of faiss holds the vectors and does everything that must miss nothing; an
//! approximate one beside it, if a factory asks for it, proposes neighbours, which are ranked by
//! their true inner products. On a CUDA device (feature `gpu`) copies of both answer the searches
//! over all vectors.
//!
//! faiss is a C++ library. With the feature `static` it is built from source (cmake, a C++
//! compiler, BLAS); without it the `libfaiss_c` of the system is linked, which is how to get one
//! that was built for CUDA.

mod approximate;
mod device;
mod dot;
mod error;
mod flat;
mod index;
mod native;
mod options;
mod seal;

pub use error::FaissError;
pub use index::FaissIndex;
pub use options::{FaissOptions, Metric};

use options::Family;

use rareclip_core::bank::saturating_bytes;
use rareclip_core::index::VectorIndexFactory;
use rareclip_core::{BoxError, VectorIndex, register, typetag};

register!(index FaissOptions);

#[typetag::serde(name = "faiss")]
impl VectorIndexFactory for FaissOptions {
    fn capacity_bytes(&self, width: usize, vectors: usize) -> Option<u64> {
        let flat = saturating_bytes([vectors, width, size_of::<f32>()]);
        let approximate = match self.family() {
            Family::Flat => 0,
            _ => saturating_bytes([self.most_bytes(width, vectors)]),
        };
        Some(flat.saturating_add(approximate))
    }

    fn build(&self, width: usize, capacity: usize) -> Result<Box<dyn VectorIndex>, BoxError> {
        Ok(Box::new(FaissIndex::new(self, width, capacity)?))
    }
}
