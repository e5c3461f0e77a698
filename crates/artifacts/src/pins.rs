//! What the catalogue pins of an artefact, and whether files are what it pins.
//!
//! A file that a source names has the checksum of its item. A folder taken from a wheel, and what
//! is made of a file that is not kept, have a checksum too, so that a copy of an installed artefact
//! is held to the catalogue as the download was.

use std::fmt::Write;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::catalogue::{Artefact, Conversion, Item, Origin, Source};
use crate::installed::{Installed, Record};

/// What vouches for the files of an artefact.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provenance {
    /// The catalogue pins the checksum of every file.
    Pinned,
    /// The catalogue pins no checksum of some files; they are as recorded when they came.
    Recorded {
        /// These files, relative to the artefact's folder.
        unpinned: Vec<String>,
    },
    /// The files were given with `--from`, and came from no source of the catalogue.
    Given {
        /// The name of the file that was given.
        file: String,
        /// Whether the catalogue pins other files for this name.
        replaces_pinned: bool,
    },
}

impl Provenance {
    pub(crate) fn of(artefact: &Artefact, installed: &Installed<'_>) -> Self {
        let Some(source) = installed.source else {
            let record = &installed.record;
            let file = record.given.as_ref().or(record.primary.as_ref());
            return Self::Given {
                file: file.cloned().unwrap_or_default(),
                replaces_pinned: pins(artefact),
            };
        };
        match unpinned(source) {
            files if files.is_empty() => Self::Pinned,
            unpinned => Self::Recorded { unpinned },
        }
    }
}

/// Whether the catalogue pins anything of an artefact for this machine.
pub(crate) fn pins(artefact: &Artefact) -> bool {
    artefact.sources_here().any(|source| {
        matches!(source.origin, Origin::Pip(_))
            || source.items().iter().any(|item| item.sha256.is_some())
    })
}

/// Whether an item is not kept once something has been made of it.
fn is_consumed(source: &Source, item: &Item) -> bool {
    source.convert.as_ref().is_some_and(|convert| {
        item.target() == convert.from
            && matches!(
                convert.how,
                Conversion::ToSafetensors | Conversion::UnpackTar
            )
    })
}

/// The files of a source that have no checksum in the catalogue.
fn unpinned(source: &Source) -> Vec<String> {
    let items = source.items().iter();
    let items = items.filter(|item| !is_consumed(source, item) && item.sha256.is_none());
    let mut files: Vec<String> = items.map(|item| item.target().to_owned()).collect();
    if let Some(convert) = &source.convert
        && convert.sha256.is_none()
    {
        files.push(match convert.to.as_str() {
            "" => "every file of the archive".to_owned(),
            file => file.to_owned(),
        });
    }
    files
}

impl Record {
    /// Whether these files are what the catalogue pins for the source.
    pub(crate) fn fits(&self, source: &Source) -> bool {
        misfit(self, source).is_none()
    }
}

/// What of a record differs from what the catalogue pins for the source; `None` where nothing does.
pub(crate) fn misfit(record: &Record, source: &Source) -> Option<String> {
    if let Origin::Pip(wheel) = &source.origin
        && record.wheel.as_deref() != Some(wheel.wheel.sha256.as_str())
    {
        return Some("it came from another wheel".to_owned());
    }
    let differs = |name: &str, expected: &Option<String>, found: Option<String>| match expected {
        Some(_) if found == *expected => None,
        Some(expected) => Some(format!(
            "`{name}` has sha256 {}, expected {expected}",
            found.as_deref().unwrap_or("(not there)")
        )),
        None => None,
    };
    let of_file = |name: &str| record.files.get(name).map(|file| file.sha256.clone());
    let kept = source
        .items()
        .iter()
        .filter(|item| !is_consumed(source, item));
    for item in kept {
        let name = item.target();
        let found = match name.ends_with('/') {
            true => Some(tree(record, name)),
            false => of_file(name),
        };
        if let Some(problem) = differs(name, &item.sha256, found) {
            return Some(problem);
        }
    }
    if let Some(convert) = &source.convert {
        let found = match convert.how {
            Conversion::UnpackTar => Some(tree(record, "")),
            _ => of_file(&convert.to),
        };
        if let Some(problem) = differs(&convert.to, &convert.sha256, found) {
            return Some(problem);
        }
    }
    let primary = source.primary();
    if !primary.is_empty() && !record.files.contains_key(primary) {
        return Some(format!("it lacks `{primary}`"));
    }
    let foreign = record.files.keys().find(|name| !names(source, name));
    foreign.map(|name| format!("`{name}` is not a file of this source"))
}

/// Whether a file can come from a source.
fn names(source: &Source, name: &str) -> bool {
    let converted = source
        .convert
        .as_ref()
        .is_some_and(|convert| match convert.how {
            Conversion::UnpackTar => true,
            _ => convert.to == name,
        });
    converted
        || source.items().iter().any(|item| match item.target() {
            folder if folder.ends_with('/') => name.starts_with(folder),
            file => file == name,
        })
}

/// The checksum of a folder: sha256 of the lines `SHA256  PATH`, where `PATH` is relative to the
/// folder and the lines are sorted by it.
fn tree(record: &Record, folder: &str) -> String {
    let mut text = String::new();
    for (name, file) in &record.files {
        if let Some(path) = name.strip_prefix(folder) {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{}  {path}", file.sha256);
        }
    }
    HEXLOWER.encode(&Sha256::digest(text.as_bytes()))
}
