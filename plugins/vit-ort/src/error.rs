//! The error of this crate.

use std::path::{Path, PathBuf};

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a config and a session, or in one run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The weights cannot be found.
    #[error(transparent)]
    Model(#[from] rareclip_artifacts::Error),
    /// The weights cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] rareclip_checkpoints::Error),
    /// The transformer cannot be built as it is asked for, or was given images of another shape.
    #[error(transparent)]
    Vit(#[from] rareclip_vit::Error),
    /// The onnxruntime library was not found or could not be loaded.
    #[error(
        "onnxruntime was not found. Tried:\n{tried}\nGet it with `rareclip models pull onnxruntime`, or name the library in `onnxruntime = \"…\"` or RARECLIP_ORT_DYLIB"
    )]
    NoRuntime {
        /// What was tried and what came of it, a line each.
        tried: String,
    },
    /// onnxruntime refused something.
    #[error("onnxruntime: {what}: {source}")]
    Runtime {
        /// What was being done.
        what: String,
        /// What it said.
        source: ort::Error,
    },
    /// onnxruntime cannot use the device.
    #[error(
        "device `{device}`: onnxruntime cannot use it: {problem}\nGet an onnxruntime that was built for CUDA (the Python package onnxruntime-gpu has one), name its library in `onnxruntime = \"…\"`, or set `device = \"cpu\"`"
    )]
    Device {
        /// The device.
        device: rareclip_core::Device,
        /// What onnxruntime said.
        problem: String,
    },
    /// An output of an ONNX file cannot be used as tokens.
    #[error("{path}: output `{output}`: {detail}", path = .path.display())]
    Output {
        /// The ONNX file.
        path: PathBuf,
        /// The output.
        output: String,
        /// Why not.
        detail: String,
    },
    /// The processor or onnxruntime cannot compute in the precision asked for.
    #[error(
        "precision \"{precision}\" {reason}; \"f32\" runs everywhere, \"int8\" is the fast one"
    )]
    Precision {
        /// The precision, as in the config.
        precision: &'static str,
        /// What is missing.
        reason: String,
    },
    /// An option has a value that makes no sense.
    #[error("option `{key}`: {detail}")]
    Option {
        /// The option.
        key: String,
        /// What is wrong and what to do.
        detail: String,
    },
}

/// For `map_err`: an error of onnxruntime with what was being done.
pub(crate) fn runtime<E>(what: &str) -> impl FnOnce(ort::Error<E>) -> Error {
    let what = what.to_owned();
    move |error| {
        let source = ort::Error::new(error.message().to_owned());
        Error::Runtime { what, source }
    }
}

/// An output of an ONNX file that cannot be used.
pub(crate) fn output(path: &Path, output: &str, detail: String) -> Error {
    Error::Output {
        path: path.to_owned(),
        output: output.to_owned(),
        detail,
    }
}
