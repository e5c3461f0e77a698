//! The error of this crate.

use std::path::{Path, PathBuf};

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a model's name and its numbers.
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
    /// Neither a file nor a name of the catalogue.
    #[error("no model `{name}`: neither a file nor a known name{hint}; known: {known}. `rareclip models list` describes them", hint = nearest_hint(.nearest.as_deref()))]
    UnknownName {
        /// What was asked for.
        name: String,
        /// The most similar known name.
        nearest: Option<String>,
        /// All known names, comma separated.
        known: String,
    },
    /// A catalogue name that is not in the cache yet.
    #[error("`{name}` is not in the cache {cache}; get it with `rareclip models pull {name}`", cache = .cache.display())]
    NotFetched {
        /// The name.
        name: String,
        /// The cache folder looked in.
        cache: PathBuf,
    },
    /// The artefact exists, but not for this operating system and processor.
    #[error(
        "`{name}` has no pinned build for {platform}; install it yourself and name its path in the config"
    )]
    NoSource {
        /// The name.
        name: String,
        /// Operating system and processor.
        platform: String,
    },
    /// A file is not the one that was pinned; nothing was installed.
    #[error(
        "{file}: sha256 is {found}, expected {expected}; nothing was installed. Try again; if it persists, the file was replaced upstream and must not be trusted"
    )]
    Checksum {
        /// The file.
        file: String,
        /// The pinned checksum.
        expected: String,
        /// The checksum found.
        found: String,
    },
    /// A file of the cache is not what was fetched.
    #[error(
        "{path}: sha256 is {found}, expected {expected}: the file was changed or damaged since it was fetched; remove its folder and fetch it again with `rareclip models pull`",
        path = .path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// The checksum recorded when it was fetched.
        expected: String,
        /// The checksum found.
        found: String,
    },
    /// The config file beside a checkpoint is not readable.
    #[error("{path}: {detail}", path = .path.display())]
    ConfigBeside {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A wheel does not hold what the catalogue says.
    #[error("{wheel}: no member `{member}`")]
    MissingMember {
        /// The wheel.
        wheel: String,
        /// The path inside it.
        member: String,
    },
    /// No Python interpreter was found to run pip with.
    #[error(
        "no Python interpreter: tried {tried}; install Python 3 with pip, or name one in RARECLIP_PYTHON"
    )]
    NoPython {
        /// The commands tried.
        tried: String,
    },
    /// The interpreter has no pip.
    #[error(
        "{python} has no pip: run `{python} -m ensurepip`, or install your system's python3-pip package"
    )]
    NoPip {
        /// The interpreter.
        python: String,
    },
    /// pip could not reach its package index.
    #[error(
        "pip could not reach its package index while fetching {package}: check the network, the proxy (HTTPS_PROXY) or pip's own index setting (`pip config list`); on a closed machine copy the cache folder from another one\npip said: {detail}"
    )]
    Offline {
        /// Package and version.
        package: String,
        /// The end of pip's output.
        detail: String,
    },
    /// pip failed for another reason.
    #[error("pip could not fetch {package}:\n{detail}")]
    Pip {
        /// Package and version.
        package: String,
        /// The end of pip's output.
        detail: String,
    },
    /// The user's cache folder is not known.
    #[error(
        "no cache folder: neither RARECLIP_CACHE nor a home folder is set; set RARECLIP_CACHE to a folder"
    )]
    NoCacheDir,
    /// The built-in catalogue is not valid.
    #[error("the built-in catalogue is not valid: {0}")]
    Catalogue(String),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
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
