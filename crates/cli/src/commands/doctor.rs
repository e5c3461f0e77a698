//! `rareclip doctor`: what is missing, and how to get it.

use rareclip_core::{Detector, registry};

use super::output::say;
use crate::args::DoctorArgs;
use crate::builtin;
use crate::exit::Exit;
use crate::failure::told;

/// One finding: what is there, or what is missing and how to get it.
struct Check {
    name: String,
    result: Result<String, String>,
    /// Whether nothing works without it.
    needed: bool,
}

pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<Exit> {
    let mut checks = vec![cache(), components()];
    for artefact in rareclip_artifacts::catalogue()? {
        if artefact.kind == rareclip_artifacts::Kind::Dataset {
            continue;
        }
        let name = artefact.name.as_str();
        checks.push(Check {
            name: name.to_owned(),
            result: rareclip_artifacts::locate(name)
                .map(|path| found(name, &path))
                .ok_or_else(|| format!("get it with `rareclip models pull {name}`")),
            needed: false,
        });
    }
    checks.push(detector(args));
    let mut exit = Exit::Success;
    for check in checks {
        match check.result {
            Ok(found) => say(format!("ok       {}: {found}", check.name))?,
            Err(problem) if check.needed => {
                exit = Exit::Failure;
                say(format!("missing  {}: {problem}", check.name))?;
            }
            Err(problem) => say(format!("not here {}: {problem}", check.name))?,
        }
    }
    Ok(exit)
}

/// Where an artefact is, and what vouches for it if the catalogue does not pin all of it. Files are
/// not read: `models verify` does.
fn found(name: &str, path: &std::path::Path) -> String {
    let provenance = rareclip_artifacts::provenance(name);
    let caveat = provenance.as_ref().and_then(super::models::caveat);
    match caveat {
        Some(caveat) => format!("{} ({caveat})", path.display()),
        None => path.display().to_string(),
    }
}

fn cache() -> Check {
    let result = rareclip_artifacts::cache_dir()
        .map_err(|error| error.to_string())
        .and_then(|folder| {
            let probe = folder.join(".doctor");
            std::fs::create_dir_all(&folder)
                .and_then(|()| std::fs::write(&probe, b"x"))
                .and_then(|()| std::fs::remove_file(&probe))
                .map(|()| format!("{} is writable", folder.display()))
                .map_err(|error| {
                    format!(
                        "{}: {error}; set RARECLIP_CACHE to a folder of yours",
                        folder.display()
                    )
                })
        });
    Check {
        name: "cache folder".into(),
        result,
        needed: true,
    }
}

fn components() -> Check {
    let count = registry::components().len();
    Check {
        name: "components".into(),
        result: Ok(format!("{count} linked in")),
        needed: true,
    }
}

/// Builds the detector of the config, which loads the native library and the weights.
fn detector(args: &DoctorArgs) -> Check {
    let result = builtin::load(&args.config, &[])
        .and_then(|config| Ok(Detector::build(&config)?))
        .map(|detector| format!("builds; weights {}", detector.spec().weights))
        .map_err(|error| told(&error));
    Check {
        name: format!("detector {}", args.config.config),
        result,
        needed: true,
    }
}
