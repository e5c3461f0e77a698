//! What the workspace needs from outside.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rareclip_artifacts::{Step, catalogue, fetch as fetch_one};

use crate::steps::{root, run};

/// What the tests need beside libraries that are built in.
pub(crate) const NEEDED: [&str; 2] = ["onnxruntime", "dinov2-small"];

/// Fetches artefacts into the cache folder and gives their paths.
///
/// # Errors
/// When one cannot be fetched; says why and what to do.
pub(crate) fn fetch(names: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for name in names {
        let artefact = catalogue::find(name)?;
        let path = fetch_one(name, &mut |step| {
            if let Step::Downloading { package, bytes } = step {
                eprintln!(
                    "{name}: downloading {package}, {} MB; {}; licence: {}",
                    bytes.div_ceil(1_000_000),
                    artefact.summary,
                    artefact.licence
                );
            }
        })?;
        eprintln!("{name}: {}", path.display());
        paths.push(path);
    }
    Ok(paths)
}

/// What the Python plugin of the examples is written against.
const REQUIREMENTS: &str = "examples/python-plugin/requirements.txt";

/// A Python environment in the cache folder with what the example plugin in Python needs. Its tests
/// say `SKIPPED` without it, so that a system whose Python makes no environments runs all others.
///
/// # Errors
/// When the packages cannot be fetched.
pub(crate) fn python() -> anyhow::Result<()> {
    let home = rareclip_artifacts::cache_dir()?.join("python-plugin");
    let wanted = std::fs::read_to_string(root().join(REQUIREMENTS))?;
    let record = home.join("requirements.txt");
    if std::fs::read_to_string(&record).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let python = std::env::var_os("RARECLIP_PYTHON").unwrap_or_else(|| "python3".into());
    let mut venv = Command::new(python);
    let venv = venv.args(["-m", "venv", "--clear"]).arg(&home);
    if !venv
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!(
            "SKIPPED: the tests of the plugin in Python: `python3 -m venv` does not work here; on Debian and Ubuntu install python3-venv"
        );
        return Ok(());
    }
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        REQUIREMENTS,
    ];
    let place = if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    };
    run(Command::new(home.join(place)).current_dir(root()).args(pip))?;
    Ok(std::fs::write(record, wanted)?)
}
