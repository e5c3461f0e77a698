//! The cache folder and what lies in it.
//!
//! Every artefact has the folder `NAME/VERSION` with its files and a record of their sizes and
//! checksums, so that the folder can be copied to another machine as it is.

use std::path::{Path, PathBuf};

use rareclip_checkpoints::{Checkpoint, sha256_of};

use crate::catalogue::{Artefact, Kind, find};
use crate::installed::{Installed, Record};
use crate::pins::Provenance;
use crate::{Error, Result};

/// Name of the record in an artefact's folder.
pub(crate) const RECORD: &str = ".rareclip.json";

/// The folder of an artefact that came from a file of the user's.
pub(crate) const LOCAL: &str = "local";

/// The cache folder: `RARECLIP_CACHE`, else `rareclip` in the user's cache folder. It may not exist
/// yet.
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

/// The file (or folder, for data sets) that a catalogue name stands for, if it is in the cache with
/// the recorded sizes.
pub fn locate(name: &str) -> Option<PathBuf> {
    locate_in(&cache_dir().ok()?, find(name).ok()?)
}

/// Whether an artefact is in the cache, whole or not.
pub fn is_recorded(name: &str) -> bool {
    let installed = |root: PathBuf| installed_in(&root, find(name).ok()?);
    cache_dir().ok().and_then(installed).is_some()
}

/// The name of the folder that an artefact lies in: what tells its sources apart.
pub fn version(name: &str) -> Option<String> {
    let installed = installed_in(&cache_dir().ok()?, find(name).ok()?)?;
    Some(installed.folder.file_name()?.to_str()?.to_owned())
}

/// Hashes every file of an artefact again, and returns what they were compared with.
///
/// # Errors
/// [`Error::NotFetched`], [`Error::Changed`] for the first file that has changed,
/// [`Error::Unrecorded`] for the first that does not belong there, or a file that is gone.
pub fn verify(name: &str) -> Result<Provenance> {
    verify_in(&cache_dir()?, find(name)?)
}

/// What vouches for an artefact that is in the cache; `None` where it is not. No file is read.
pub fn provenance(name: &str) -> Option<Provenance> {
    let artefact = find(name).ok()?;
    let installed = installed_in(&cache_dir().ok()?, artefact)?;
    Some(Provenance::of(artefact, &installed))
}

/// Removes an artefact from the cache; whether it was there.
///
/// # Errors
/// [`Error::UnknownName`], or a folder that cannot be removed.
pub fn remove(name: &str) -> Result<bool> {
    let root = cache_dir()?;
    remove_in(&root, find(name)?)
}

/// Folder of unfinished downloads in the cache folder.
const UNFINISHED: &str = ".partial";

/// Where the unfinished files of an artefact are, and how their names begin.
pub(crate) fn unfinished(cache: &Path, artefact: &str) -> (PathBuf, String) {
    (cache.join(UNFINISHED), format!("{artefact}--"))
}

/// [`remove`] in a given cache folder; unfinished downloads go as well.
///
/// # Errors
/// As [`remove`].
pub fn remove_in(root: &Path, artefact: &Artefact) -> Result<bool> {
    let (unfinished, prefix) = self::unfinished(root, &artefact.name);
    for entry in std::fs::read_dir(&unfinished)
        .into_iter()
        .flatten()
        .flatten()
    {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    let folder = root.join(&artefact.name);
    if !folder.exists() {
        return Ok(false);
    }
    std::fs::remove_dir_all(&folder).map_err(Error::io(&folder))?;
    Ok(true)
}

/// The file for the `model` key of a config: a path, or a model of the catalogue that is in the
/// cache.
///
/// # Errors
/// [`Error::NotFetched`] for a known name that is not there yet, [`Error::UnknownName`] with the
/// known names otherwise.
pub fn resolve_model(name_or_path: &str) -> Result<PathBuf> {
    let path = Path::new(name_or_path);
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let endings = ["safetensors", "onnx", "pth", "pt", "bin"];
    let looks_like_path = path.components().count() > 1
        || path
            .extension()
            .is_some_and(|ending| endings.iter().any(|known| ending == *known));
    if looks_like_path {
        return Err(Error::missing(path));
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

/// The artefact in the cache folder `root`, from whichever source, the preferred one first.
pub(crate) fn installed_in<'a>(root: &Path, artefact: &'a Artefact) -> Option<Installed<'a>> {
    let parent = root.join(&artefact.name);
    let from_source = artefact.sources_here().find_map(|source| {
        let folder = parent.join(&source.version);
        let record = read_record(&folder).filter(|record| record.fits(source))?;
        Some(Installed {
            folder,
            record,
            primary: source.primary().to_owned(),
            source: Some(source),
        })
    });
    from_source.or_else(|| {
        let folder = parent.join(LOCAL);
        let record = read_record(&folder)?;
        let primary = record.primary.clone()?;
        Some(Installed {
            folder,
            record,
            primary,
            source: None,
        })
    })
}

/// [`locate`] in a given cache folder.
pub fn locate_in(root: &Path, artefact: &Artefact) -> Option<PathBuf> {
    let installed = installed_in(root, artefact)?;
    installed.has_all_sizes().then(|| installed.path())
}

/// [`verify`] in a given cache folder.
///
/// # Errors
/// As [`verify`].
pub fn verify_in(root: &Path, artefact: &Artefact) -> Result<Provenance> {
    let installed = installed_in(root, artefact).ok_or_else(|| Error::NotFetched {
        name: artefact.name.clone(),
        cache: root.to_owned(),
    })?;
    for (path, file) in &installed.record.files {
        let path = installed.folder.join(path);
        let found = sha256_of(&path)?;
        if found != file.sha256 {
            return Err(Error::Changed {
                path,
                expected: file.sha256.clone(),
                found,
            });
        }
    }
    match unrecorded(&installed.folder, "", &installed.record)? {
        Some(path) => Err(Error::Unrecorded { path }),
        None => Ok(Provenance::of(artefact, &installed)),
    }
}

/// The first file below `folder` that the record does not name; `below` is the path of `folder` in
/// the artefact's, with its slash.
fn unrecorded(folder: &Path, below: &str, record: &Record) -> Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let path = entry.path();
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().map_err(Error::io(&path))?;
        let found = match kind.is_dir() {
            true => unrecorded(&path, &format!("{name}/"), record)?,
            false => (name != RECORD && !record.files.contains_key(&name)).then_some(path),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn read_record(folder: &Path) -> Option<Record> {
    Record::parse(&std::fs::read(folder.join(RECORD)).ok()?)
}

/// The checksum recorded for a file of the cache; `None` for any other file.
fn recorded(path: &Path) -> Option<String> {
    let record = read_record(path.parent()?)?;
    let file = record.files.get(path.file_name()?.to_str()?)?;
    Some(file.sha256.clone())
}

/// The sha256 of a checkpoint, after comparing it with what was recorded when the file was fetched,
/// where it was.
///
/// # Errors
/// [`Error::Changed`].
pub fn verified_sha256(checkpoint: &Checkpoint) -> Result<&str> {
    let found = checkpoint.sha256();
    match recorded(checkpoint.path()) {
        Some(expected) if expected != found => Err(Error::Changed {
            path: checkpoint.path().to_owned(),
            expected,
            found: found.to_owned(),
        }),
        _ => Ok(found),
    }
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
