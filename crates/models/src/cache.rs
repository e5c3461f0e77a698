//! The cache folder and what lies in it.
//!
//! Every artefact has the folder `NAME/VERSION` with its files and a record of their sizes and checksums.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::catalogue::{Artefact, Kind, find};
use crate::checkpoint::hex;
use crate::{Error, Result};

/// Name of the record in an artefact's folder.
pub(crate) const RECORD: &str = ".rareclip.json";

/// What was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// sha256 of the wheel that the files came from.
    pub(crate) wheel: String,
    /// Per file, by its path relative to the folder.
    pub(crate) files: BTreeMap<String, Recorded>,
}

/// A file as installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

/// The cache folder: `RARECLIP_CACHE`, else `rareclip` in the user's cache folder. It may not exist yet.
///
/// # Errors
/// [`Error::NoCacheDir`] where neither is known.
pub fn cache_dir() -> Result<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(folder) = set("RARECLIP_CACHE") {
        return Ok(folder);
    }
    let home = || std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    let user = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Caches"))
    } else {
        set("XDG_CACHE_HOME").or_else(|| home().map(|home| home.join(".cache")))
    };
    user.map(|folder| folder.join("rareclip"))
        .ok_or(Error::NoCacheDir)
}

/// The file (or folder, for data sets) that a catalogue name stands for, if it is in the cache with the recorded sizes.
pub fn locate(name: &str) -> Option<PathBuf> {
    locate_in(&cache_dir().ok()?, find(name).ok()?)
}

/// Hashes every file of an artefact again.
///
/// # Errors
/// [`Error::NotFetched`], or [`Error::Checksum`] for the first file that has changed.
pub fn verify(name: &str) -> Result<()> {
    verify_in(&cache_dir()?, find(name)?)
}

/// Removes an artefact from the cache; whether it was there.
///
/// # Errors
/// [`Error::UnknownName`], or a folder that cannot be removed.
pub fn remove(name: &str) -> Result<bool> {
    let folder = cache_dir()?.join(&find(name)?.name);
    if !folder.exists() {
        return Ok(false);
    }
    std::fs::remove_dir_all(&folder).map_err(Error::io(&folder))?;
    Ok(true)
}

/// The file for the `model` key of a config: a path, or a model of the catalogue that is in the cache.
///
/// # Errors
/// [`Error::NotFetched`] for a known name that is not there yet, [`Error::UnknownName`] with the known names otherwise.
pub fn resolve_model(name_or_path: &str) -> Result<PathBuf> {
    let path = Path::new(name_or_path);
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let looks_like_path = path.components().count() > 1
        || path
            .extension()
            .is_some_and(|ending| ending == "safetensors" || ending == "onnx");
    if looks_like_path {
        return Err(Error::io(path)(std::io::ErrorKind::NotFound.into()));
    }
    let artefact = find(name_or_path)?;
    if artefact.kind != Kind::Model {
        return Err(Error::UnknownName {
            name: format!("{name_or_path} (a {:?})", artefact.kind).to_lowercase(),
            nearest: None,
            known: models()?,
        });
    }
    let root = cache_dir()?;
    locate_in(&root, artefact).ok_or_else(|| Error::NotFetched {
        name: name_or_path.to_owned(),
        cache: root,
    })
}

fn models() -> Result<String> {
    let names = crate::catalogue()?
        .iter()
        .filter(|artefact| artefact.kind == Kind::Model)
        .map(|artefact| artefact.name.as_str());
    Ok(names.collect::<Vec<_>>().join(", "))
}

/// The folder of an artefact below the cache folder `root`.
pub(crate) fn folder_in(root: &Path, artefact: &Artefact) -> Result<PathBuf> {
    Ok(root.join(&artefact.name).join(&artefact.source()?.version))
}

/// The installed artefact, if it came from the pinned wheel and all sizes are right.
pub(crate) fn locate_in(root: &Path, artefact: &Artefact) -> Option<PathBuf> {
    let folder = folder_in(root, artefact).ok()?;
    let record = read_record(&folder)?;
    let intact = record.wheel == artefact.source().ok()?.wheel.sha256
        && record.files.iter().all(|(path, file)| {
            std::fs::metadata(folder.join(path)).is_ok_and(|found| found.len() == file.size)
        });
    let primary = artefact.primary().ok()?;
    intact.then(|| {
        if primary.is_empty() {
            folder
        } else {
            folder.join(primary)
        }
    })
}

pub(crate) fn verify_in(root: &Path, artefact: &Artefact) -> Result<()> {
    let folder = folder_in(root, artefact)?;
    let record = read_record(&folder).ok_or_else(|| Error::NotFetched {
        name: artefact.name.clone(),
        cache: root.to_owned(),
    })?;
    for (path, file) in &record.files {
        let path = folder.join(path);
        check(&path, &path.display().to_string(), &file.sha256)?;
    }
    Ok(())
}

fn read_record(folder: &Path) -> Option<Record> {
    serde_json::from_slice(&std::fs::read(folder.join(RECORD)).ok()?).ok()
}

/// The checksum recorded for a file of the cache; `None` for any other file.
pub(crate) fn recorded(path: &Path) -> Option<String> {
    let record = read_record(path.parent()?)?;
    let file = record.files.get(path.file_name()?.to_str()?)?;
    Some(file.sha256.clone())
}

/// Compares a file with its checksum; `name` is what the error calls it.
pub(crate) fn check(path: &Path, name: &str, expected: &str) -> Result<()> {
    let found = sha256_of(path)?;
    if found == expected {
        return Ok(());
    }
    Err(Error::Checksum {
        file: name.to_owned(),
        expected: expected.to_owned(),
        found,
    })
}

/// The sha256 of a file in hexadecimal.
///
/// # Errors
/// [`Error::Io`].
pub fn sha256_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(Error::io(path))? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}
