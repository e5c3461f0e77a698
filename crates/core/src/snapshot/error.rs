//! What can be wrong with saved state.

use std::path::PathBuf;

use super::format::FORMAT_VERSION;

/// What can be wrong with saved state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file cannot be read or written.
    #[error("state {path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a state file, is cut short or was changed.
    #[error("state {path}: {problem}; restore an older copy, or name a new file to start afresh", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The file was written by a newer version.
    #[error("state {path} has format {found}, rareclip {version} reads formats up to {FORMAT_VERSION}: upgrade rareclip, restore an older copy, or name a new file to start afresh", path = .path.display(), version = env!("CARGO_PKG_VERSION"))]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u32,
    },
    /// An entry is not there.
    #[error("state lacks `{0}`")]
    Missing(String),
    /// An entry has the wrong type or shape.
    #[error("state entry `{name}`: {problem}")]
    Entry {
        /// The entry.
        name: String,
        /// What is wrong.
        problem: String,
    },
}
