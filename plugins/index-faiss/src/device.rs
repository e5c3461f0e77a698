//! Where searches run. An index lives in the memory of this machine; on a CUDA device a copy of it
//! answers.

#[cfg(feature = "gpu")]
pub(crate) use cuda::{Device, Mirror};
#[cfg(not(feature = "gpu"))]
pub(crate) use host::{Device, Mirror};

use faiss::index::SearchResult;

use crate::native::Found;

impl From<SearchResult> for Found {
    fn from(found: SearchResult) -> Self {
        Self {
            distances: found.distances,
            labels: found.labels.iter().map(|label| label.to_native()).collect(),
        }
    }
}

#[cfg(not(feature = "gpu"))]
mod host {
    use std::marker::PhantomData;

    use crate::error::FaissError;
    use crate::native::Found;
    use crate::options::FaissOptions;

    /// This machine.
    #[derive(Clone)]
    pub(crate) struct Device;

    impl Device {
        pub(crate) fn open(options: &FaissOptions) -> Result<Self, FaissError> {
            options.place().map(|_| Self)
        }

        pub(crate) fn mirror<I>(&self) -> Mirror<I> {
            Mirror(PhantomData)
        }
    }

    /// No copy anywhere.
    pub(crate) struct Mirror<I>(PhantomData<fn(I)>);

    impl<I> Mirror<I> {
        pub(crate) fn another<J>(&self) -> Mirror<J> {
            Mirror(PhantomData)
        }

        pub(crate) fn changed(&self) {}

        pub(crate) fn search(
            &self,
            _: &I,
            _: &[f32],
            _: usize,
        ) -> Option<Result<Found, FaissError>> {
            None
        }
    }
}

#[cfg(feature = "gpu")]
mod cuda;
