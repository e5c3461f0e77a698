//! What a state file says of the run that wrote it, so that a killed run goes on where it was.

use data_encoding::HEXLOWER;
use rareclip_core::Stream;
use rareclip_core::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;

use super::inputs::ImageFile;

/// The entry's name in the state file.
const ENTRY: &str = "run";

/// How far a run has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    /// SHA-256 over the names of the run's images, in order; empty for a watched folder.
    pub(crate) list: String,
    /// Images in the list.
    pub(crate) total: u64,
    /// Images gone through, scored or not.
    pub(crate) done: u64,
    /// Images that could not be read.
    pub(crate) failed: u64,
    /// Length of results.jsonl when the state was written.
    pub(crate) results_bytes: u64,
    /// Whether the run came to its end.
    pub(crate) complete: bool,
    /// Names of the images of a watched folder that were gone through.
    pub(crate) watched: Vec<String>,
    /// SHA-256 over the names of the normals shown before the first image.
    pub(crate) normals: String,
}

/// The record in a state file; `None` where no run wrote it (`rareclip calibrate` did).
pub(crate) fn read(reader: &SnapshotReader<'_>) -> Result<Option<RunRecord>, SnapshotError> {
    match reader.value(ENTRY) {
        Err(SnapshotError::Missing(_)) => Ok(None),
        found => found.map(Some),
    }
}

/// SHA-256 over the names of images, in order.
pub(crate) fn digest(inputs: &[ImageFile]) -> String {
    let mut hasher = Sha256::new();
    for input in inputs {
        hasher.update(input.name.as_bytes());
        hasher.update([0]);
    }
    HEXLOWER.encode(&hasher.finalize())
}

/// Writes the stream's state and the record into one file, atomically.
pub(crate) fn save(stream: &Stream, record: &RunRecord, path: &Path) -> anyhow::Result<()> {
    let mut writer = SnapshotWriter::new();
    stream.save_into(&mut writer)?;
    writer.value(ENTRY, record);
    Ok(writer.write(path)?)
}
