//! Known vulnerabilities of dependencies, where the database of advisories can be had.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::steps::{root, run};

/// A clone of the RustSec advisory database on this machine, for machines that cannot fetch it.
const DATABASE: &str = "RARECLIP_ADVISORY_DB";

/// Checks every dependency against the advisory database. Where the database cannot be fetched,
/// prints that the check was skipped.
///
/// # Errors
/// For a dependency with an advisory, or a database named by `RARECLIP_ADVISORY_DB` that cannot be
/// read.
pub(crate) fn check(cargo_deny: &Path) -> anyhow::Result<()> {
    let given = std::env::var_os(DATABASE).filter(|path| !path.is_empty());
    if let Some(path) = given {
        return check_given(cargo_deny, &PathBuf::from(path));
    }
    let mut fetch = deny(cargo_deny);
    fetch.args(["fetch", "db"]);
    if let Err(error) = run(&mut fetch) {
        eprintln!("SKIPPED: advisories: the database cannot be fetched ({error})");
        eprintln!(
            "SKIPPED: advisories: set {DATABASE} to a clone of the RustSec advisory database"
        );
        return Ok(());
    }
    run(deny(cargo_deny).args(["check", "--disable-fetch", "advisories"]))
}

/// Checks against a clone on this machine, with the rules of `deny.toml` otherwise.
fn check_given(cargo_deny: &Path, database: &Path) -> anyhow::Result<()> {
    let database = database
        .canonicalize()
        .with_context(|| format!("cannot read the advisory database {}", database.display()))?;
    let scratch = tempfile::tempdir()?;
    let rules = std::fs::read_to_string(root().join("deny.toml"))?;
    let config = scratch.path().join("deny.toml");
    let text = format!(
        "{rules}\n[advisories]\ndb-path = {:?}\ndb-urls = [{:?}]\n",
        scratch.path().join("databases"),
        format!("file://{}", database.display())
    );
    std::fs::write(&config, text)?;
    run(deny(cargo_deny)
        .args(["check", "--config"])
        .arg(&config)
        .arg("advisories"))
}

fn deny(cargo_deny: &Path) -> Command {
    let mut command = Command::new(cargo_deny);
    command.current_dir(root());
    command
}
