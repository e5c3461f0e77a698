//! What is installed in the cache, as its record says.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::catalogue::Source;

/// What was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// sha256 of the wheel that the files came from, if they came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) wheel: Option<String>,
    /// The commit of the repository, as the hub named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,
    /// The file that the artefact's name stands for, where it came from no source of the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) primary: Option<String>,
    /// The name of the file that was given with `--from`, where it came from no source of the
    /// catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) given: Option<String>,
    /// Per file, by its path relative to the folder.
    pub(crate) files: BTreeMap<String, Recorded>,
}

/// A file as installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

impl Record {
    /// Reads a record; `None` for one that is damaged or names a file outside its folder.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(bytes).ok()?;
        record
            .files
            .keys()
            .chain(&record.primary)
            .all(|path| stays_inside(path))
            .then_some(record)
    }
}

/// Whether a relative path leads to nothing but a place below where it starts.
pub(crate) fn stays_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

/// An artefact in the cache, as far as its record says.
#[derive(Debug)]
pub(crate) struct Installed<'a> {
    pub(crate) folder: PathBuf,
    pub(crate) record: Record,
    pub(crate) primary: String,
    /// The source that it came from; `None` where it was given with `--from`.
    pub(crate) source: Option<&'a Source>,
}

impl Installed<'_> {
    /// The file or folder that the artefact's name stands for.
    pub(crate) fn path(&self) -> PathBuf {
        match self.primary.as_str() {
            "" => self.folder.clone(),
            primary => self.folder.join(primary),
        }
    }

    pub(crate) fn has_all_sizes(&self) -> bool {
        self.record.files.iter().all(|(path, file)| {
            std::fs::metadata(self.folder.join(path)).is_ok_and(|found| found.len() == file.size)
        })
    }
}
