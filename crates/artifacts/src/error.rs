//! The error of this crate.

use std::path::{Path, PathBuf};

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between an artefact's name and its files.
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
    /// The file is shorter than its own header says, or its header is broken.
    #[error("{path}: truncated or damaged: {detail}; fetch the file again", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not add up.
        detail: String,
    },
    /// An archive holds something that would not stay in its folder or is no plain file.
    #[error("{path}: refused: `{member}` in it is {what}; nothing of it was installed. Such an archive must not be trusted", path = .path.display())]
    UnsafeMember {
        /// The archive.
        path: PathBuf,
        /// The name inside it.
        member: String,
        /// What is wrong with it.
        what: &'static str,
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
    #[error("`{name}` is not in the cache {cache}; get it with `rareclip models pull {name}`, or copy the cache folder of a machine that has it", cache = .cache.display())]
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
    /// The artefact has no source of that name.
    #[error(
        "`{name}` has no source `{wanted}`, and there is no file or folder of that name; sources: {known}"
    )]
    NoSuchSource {
        /// The artefact.
        name: String,
        /// What was asked for.
        wanted: String,
        /// Its sources on this machine, comma separated.
        known: String,
    },
    /// A variable of the environment is not usable.
    #[error("{name} is `{value}`; expected {expected}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A folder of the cache holds a file that its record does not name.
    #[error("{path}: not a file of the artefact: its record does not name it; delete the file, or fetch the artefact again", path = .path.display())]
    Unrecorded {
        /// The file.
        path: PathBuf,
    },
    /// Files that were to be installed for a source are not those that the catalogue pins for it.
    #[error(
        "cannot install `{name}` from {version}: {problem}; nothing was installed. Try again, or fetch it from another source"
    )]
    NotPinned {
        /// The artefact.
        name: String,
        /// The name of the source's folder.
        version: String,
        /// What differs.
        problem: String,
    },
    /// A mirror holds only a file that somebody gave for the artefact's name.
    #[error(
        "cannot take `{name}` from {place}: it holds only {name}/local, a file given by hand, and the catalogue pins other files. Put the pinned files there, or install that file with `rareclip models pull {name} --from FILE`"
    )]
    OnlyGiven {
        /// The artefact.
        name: String,
        /// The mirror.
        place: String,
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
    /// A file has another size than the one that was pinned; nothing was installed.
    #[error(
        "{file}: {found} bytes came, expected {expected}; nothing was installed. Try again; if it persists, the file was replaced upstream and must not be trusted"
    )]
    Size {
        /// The file.
        file: String,
        /// The size it should have.
        expected: u64,
        /// The size found.
        found: u64,
    },
    /// `HF_HUB_OFFLINE` forbids asking the hub.
    #[error(
        "HF_HUB_OFFLINE is set, so {repo} was not asked for; unset it, name a copy of a cache folder (--mirror DIR|URL or RARECLIP_MIRROR), or copy the cache folder of a machine that has it"
    )]
    HubOffline {
        /// The repository.
        repo: String,
    },
    /// A server could not be reached.
    #[error("cannot reach {place}: {detail}; {advice}")]
    Unreachable {
        /// The server, and what it is.
        place: String,
        /// What the network said.
        detail: String,
        /// What to do.
        advice: String,
    },
    /// The server does not have the file.
    #[error(
        "{url}: not there (404); the repository, its revision or the file was renamed or removed"
    )]
    NotFound {
        /// The address.
        url: String,
    },
    /// The server wants to know who asks.
    #[error("{url}: refused ({status}); {advice}")]
    Denied {
        /// The address.
        url: String,
        /// HTTP status.
        status: u16,
        /// What to do.
        advice: &'static str,
    },
    /// The server answered with something else than the file.
    #[error("{url}: the server answered {status}, also when asked again; try later")]
    Status {
        /// The address.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// A download broke off too often.
    #[error(
        "{url}: the connection broke off {attempts} times, last after {received} bytes: {detail}; run the command again to go on from there"
    )]
    Cut {
        /// The address.
        url: String,
        /// Failures in a row.
        attempts: u32,
        /// Bytes received and kept.
        received: u64,
        /// What the network said.
        detail: String,
    },
    /// Another process downloads the same file.
    #[error("{path}: another process is downloading this file; wait for it", path = .path.display())]
    Busy {
        /// The unfinished file.
        path: PathBuf,
    },
    /// A folder or a mirror does not have the artefact.
    #[error("{place} does not have `{name}`: looked for {looked_for}")]
    NotThere {
        /// The artefact.
        name: String,
        /// The folder or address.
        place: String,
        /// What would have been taken.
        looked_for: String,
    },
    /// No source could give the artefact.
    #[error("`{name}` could not be fetched\n{failures}{by_hand}")]
    NoneLeft {
        /// The artefact.
        name: String,
        /// A line for every source tried.
        failures: String,
        /// How to get it by hand, on a line of its own; may be empty.
        by_hand: String,
    },
    /// A file of the cache is not what was fetched.
    #[error(
        "{path}: sha256 is {found}, expected {expected}: the file was changed or damaged since it was fetched; remove it with `rareclip models rm` and fetch it again with `rareclip models pull`",
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
    /// A checkpoint cannot be read or converted.
    #[error(transparent)]
    Checkpoint(#[from] rareclip_checkpoints::Error),
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
