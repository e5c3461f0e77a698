//! The error of this crate.

/// What can be wrong with the options, a request or saved state.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FaissError {
    /// An option has a value that cannot be worked with.
    #[error("option `{option}` is {found}, expected {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// faiss does not know the index that is asked for, or not for vectors of this width.
    #[error(
        "option `factory` is {factory:?}, of which faiss makes no index for vectors of width {width}: {source}"
    )]
    Factory {
        /// The factory string.
        factory: String,
        /// Width of the vectors.
        width: usize,
        /// What faiss said.
        source: faiss::error::Error,
    },
    /// The program was built for the CPU alone.
    #[error(
        "device `{device}` needs a program built with the feature `faiss-gpu` (`gpu` of rareclip-index-faiss); build with it, or set `device = \"cpu\"`"
    )]
    NoGpu {
        /// The device asked for.
        device: rareclip_core::Device,
    },
    /// A CUDA device that faiss does not see.
    #[error(
        "device `{device}`: faiss sees {there} CUDA devices, counted from 0; take one of them, or set `device = \"cpu\"`"
    )]
    NoDevice {
        /// The device asked for.
        device: rareclip_core::Device,
        /// How many there are.
        there: i32,
    },
    /// faiss could not do its work.
    #[error("faiss could not {doing}: {source}")]
    Engine {
        /// What it was to do.
        doing: &'static str,
        /// What it said.
        source: faiss::error::Error,
    },
    /// faiss could not do its work.
    #[error("faiss could not {doing}: {text}")]
    Native {
        /// What it was to do.
        doing: &'static str,
        /// What it said.
        text: String,
    },
    /// A request that no index can answer.
    #[error(transparent)]
    Request(#[from] rareclip_core::index::IndexError),
    /// faiss counts the numbers of a vector in 31 bits.
    #[error("vectors of {width} numbers are wider than faiss takes; use `type = \"exact\"`")]
    TooWide {
        /// Numbers of a vector.
        width: usize,
    },
    /// Saved state is not one that this index wrote.
    #[error("saved index `{name}`: {problem}; restore an older copy, or start a new state file")]
    State {
        /// The entry.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

/// Turns an error of faiss into one of this crate.
pub(crate) fn engine(doing: &'static str) -> impl Fn(faiss::error::Error) -> FaissError {
    move |source| FaissError::Engine { doing, source }
}
