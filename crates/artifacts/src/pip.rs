//! The user's own pip, so that proxies, mirrors and credentials set up there count.

use std::path::Path;
use std::process::{Command, Output};

use crate::{Error, Result};

/// Downloads the wheel of `package` (`NAME==VERSION`) into `folder`.
///
/// # Errors
/// [`Error::NoPython`], [`Error::NoPip`], [`Error::Offline`] or [`Error::Pip`].
pub(crate) fn download(
    package: &str,
    arguments: &[String],
    python: Option<&str>,
    folder: &Path,
) -> Result<()> {
    let command_line = [
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
    let (python, output) = run_python(python, |command| {
        command
            .args(command_line)
            .args(quiet)
            .arg(folder)
            .args(arguments)
            .arg(package);
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(pip_error(&python, package, &output))
}

fn run_python(named: Option<&str>, prepare: impl Fn(&mut Command)) -> Result<(String, Output)> {
    let candidates = match named {
        Some(python) => vec![python],
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
