//! Copies of a cache folder: on a disk, or behind a web server.

use std::path::Path;

use crate::cache::{LOCAL, RECORD, check};
use crate::catalogue::{Artefact, Source};
use crate::download::{Wanted, download};
use crate::install::Staged;
use crate::installed::Record;
use crate::pins::{misfit, pins};
use crate::progress::{Proof, Step};
use crate::settings::Settings;
use crate::web::{Client, escaped};
use crate::{Error, Result};

/// Largest record read from a server: one of a data set names every image.
const LARGEST_RECORD: u64 = 64 << 20;

/// The folders that may hold the artefact, and the source that each belongs to.
fn candidates<'a>(sources: &[&'a Source]) -> Vec<(&'a str, Option<&'a Source>)> {
    sources
        .iter()
        .map(|source| (source.version.as_str(), Some(*source)))
        .chain([(LOCAL, None)])
        .collect()
}

/// Whether a folder may be taken: the file that somebody gave elsewhere cannot replace what the
/// catalogue pins, unless the user has named the folder as the artefact's own.
fn may_be_taken(artefact: &Artefact, source: Option<&Source>, named: bool) -> bool {
    source.is_some() || named || !pins(artefact)
}

fn only_given(artefact: &Artefact, place: &str) -> Error {
    Error::OnlyGiven {
        name: artefact.name.clone(),
        place: place.to_owned(),
    }
}

/// Reads a record that may be copied: what the catalogue pins must be as pinned.
fn accepted(bytes: &[u8], source: Option<&Source>, place: &Path) -> Result<Record> {
    let record = Record::parse(bytes).ok_or_else(|| Error::damaged(place, "no valid record"))?;
    match source {
        Some(source) if !record.fits(source) => {
            let problem = misfit(&record, source).unwrap_or_default();
            let detail = format!("it records other files than the catalogue pins: {problem}");
            Err(Error::damaged(place, detail))
        }
        None if record.primary.is_none() => Err(Error::damaged(place, "it names no main file")),
        _ => Ok(record),
    }
}

/// Copies the artefact from a folder laid out like a cache folder; `named` where the user gave this
/// very folder with `--from`.
pub(crate) fn stage_folder<'a>(
    artefact: &'a Artefact,
    sources: &[&'a Source],
    root: &Path,
    named: bool,
    settings: &Settings,
    progress: &mut dyn FnMut(Step),
) -> Result<Staged<'a>> {
    for (version, source) in candidates(sources) {
        let folder = root.join(&artefact.name).join(version);
        if folder.join(RECORD).is_file() {
            if !may_be_taken(artefact, source, named) {
                return Err(only_given(artefact, &root.display().to_string()));
            }
            return copy(version, source, &folder, settings, progress);
        }
    }
    Err(Error::NotThere {
        name: artefact.name.clone(),
        place: root.display().to_string(),
        looked_for: looked_for(artefact, sources, named),
    })
}

/// What [`stage_folder`] and [`stage_web`] look for.
pub(crate) fn looked_for(artefact: &Artefact, sources: &[&Source], named: bool) -> String {
    let folders: Vec<String> = candidates(sources)
        .iter()
        .filter(|(_, source)| may_be_taken(artefact, *source, named))
        .map(|(version, _)| format!("{}/{version}/{RECORD}", artefact.name))
        .collect();
    folders.join(", ")
}

/// Copies one folder with a record.
pub(crate) fn copy<'a>(
    version: &str,
    source: Option<&'a Source>,
    folder: &Path,
    settings: &Settings,
    progress: &mut dyn FnMut(Step),
) -> Result<Staged<'a>> {
    let path = folder.join(RECORD);
    let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
    let record = accepted(&bytes, source, &path)?;
    let mut staged = Staged::new(settings, version)?;
    progress(Step::Checking);
    for (name, file) in &record.files {
        let from = folder.join(name);
        let to = staged.copy(&from, name, Proof::Record)?;
        check(&to, &from.display().to_string(), &file.sha256)?;
    }
    staged.follow(source, record);
    Ok(staged)
}

/// Downloads the artefact from a server that shows a folder laid out like a cache folder.
pub(crate) fn stage_web<'a>(
    artefact: &'a Artefact,
    sources: &[&'a Source],
    base: &str,
    settings: &Settings,
    progress: &mut dyn FnMut(Step),
) -> Result<Staged<'a>> {
    let base = base.trim_end_matches('/');
    let client = Client::new(settings)?;
    let wanted = |path: String| Wanted {
        artefact: &artefact.name,
        url: format!("{base}/{}", escaped(&path)),
        file: path,
        size: None,
        sha256: None,
        place: format!("the mirror {base}"),
        advice: "check the address and the proxy (HTTPS_PROXY, NO_PROXY)".into(),
    };
    for (version, source) in candidates(sources) {
        let folder = format!("{}/{version}", artefact.name);
        let record = wanted(format!("{folder}/{RECORD}"));
        let place = Path::new(&record.url).to_owned();
        let arrived = match download(&client, settings, &record, &mut |_| ()) {
            Ok(arrived) => arrived,
            Err(Error::NotFound { .. }) => continue,
            Err(error) => return Err(error),
        };
        let bytes = read_small(&arrived.path)?;
        if !may_be_taken(artefact, source, false) {
            return Err(only_given(artefact, base));
        }
        let record = accepted(&bytes, source, &place)?;
        let mut files = Vec::new();
        for (name, file) in &record.files {
            let mut wanted = wanted(format!("{folder}/{name}"));
            wanted.size = Some(file.size);
            wanted.sha256 = Some((&file.sha256, Proof::Record));
            files.push((name, download(&client, settings, &wanted, progress)?));
        }
        let mut staged = Staged::new(settings, version)?;
        for (name, file) in files {
            staged.take(&file.path, name, Proof::Record)?;
        }
        staged.follow(source, record);
        return Ok(staged);
    }
    Err(Error::NotThere {
        name: artefact.name.clone(),
        place: base.to_owned(),
        looked_for: looked_for(artefact, sources, false),
    })
}

/// Reads a downloaded record and forgets the file.
fn read_small(path: &Path) -> Result<Vec<u8>> {
    let size = std::fs::metadata(path).map_err(Error::io(path))?.len();
    if size > LARGEST_RECORD {
        return Err(Error::damaged(path, "too large for a record"));
    }
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    std::fs::remove_file(path).map_err(Error::io(path))?;
    Ok(bytes)
}
