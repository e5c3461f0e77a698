//! The error of this crate.

use std::path::{Path, PathBuf};

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a checkpoint file and its numbers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file's ending names no format that is read here.
    #[error("{path}: not a checkpoint format that can be read; give a .safetensors, .pth (.pt, .bin) or .onnx file", path = .path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The file is shorter than its own header says, or its header is broken.
    #[error("{path}: truncated or damaged: {detail}; fetch the file again", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not add up.
        detail: String,
    },
    /// A PyTorch checkpoint asks for more than a dictionary of tensors needs.
    #[error("{path}: refused: it holds {what}, which no dictionary of tensors needs; nothing in it was run. Save the bare state_dict() with torch.save, or convert it to .safetensors", path = .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The name, opcode or format that is not accepted.
        what: String,
    },
    /// A tensor is not in the file.
    #[error("{path}: no tensor `{key}`{hint}; is this the right kind of checkpoint?", path = .path.display(), hint = nearest_hint(.nearest.as_deref()))]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The tensor looked for.
        key: String,
        /// The most similar name in the file.
        nearest: Option<String>,
    },
    /// A tensor has another shape than the model needs.
    #[error("{path}: tensor `{key}` has shape {found:?}, expected {expected:?}; the checkpoint belongs to another model", path = .path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor is stored in a number format that is not read here.
    #[error("{path}: tensor `{key}` is stored as {dtype}; f32, f16 and bf16 are read", path = .path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
        /// Its format, as the file names it.
        dtype: String,
    },
    /// The config file beside a checkpoint is not readable.
    #[error("{path}: {detail}", path = .path.display())]
    ConfigBeside {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// The error of a file that is not there.
    pub(crate) fn missing(path: &Path) -> Self {
        let from = match std::env::current_dir() {
            Ok(folder) if path.is_relative() => {
                format!(" (looked for from {})", folder.display())
            }
            _ => String::new(),
        };
        let told = format!("there is no such file{from}");
        Self::io(path)(std::io::Error::new(std::io::ErrorKind::NotFound, told))
    }

    pub(crate) fn refused(path: &Path, what: &str) -> Self {
        Self::Refused {
            path: path.to_owned(),
            what: what.to_owned(),
        }
    }

    pub(crate) fn damaged(path: &Path, detail: impl ToString) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            detail: detail.to_string(),
        }
    }
}

fn nearest_hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

/// The most similar of `names`, if any is similar at all.
pub(crate) fn nearest<'n>(
    wanted: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<String> {
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(similarity, _)| *similarity > 0.7)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, name)| name.to_owned())
}
