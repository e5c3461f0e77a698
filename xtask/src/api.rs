//! The public interface of `rareclip-core`, line by line, against the list that is committed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::steps::{cargo, output, root, run};

/// Names the real rustdoc, for this program in its place.
const RUSTDOC: &str = "RARECLIP_XTASK_RUSTDOC";

/// What to do with the list.
#[derive(Args, Default)]
pub(crate) struct ApiArgs {
    /// Write the list anew. Lines that are gone or changed need a version that semver calls
    /// incompatible.
    #[arg(long)]
    bless: bool,
    /// With --bless: the version was never published, so lines may go.
    #[arg(long, requires = "bless")]
    unpublished: bool,
}

/// The name of the package.
const PACKAGE: &str = "rareclip-core";

fn list() -> PathBuf {
    root().join("crates/core/public-api.txt")
}

/// Compares the public interface with the committed list, or writes that anew.
///
/// # Errors
/// When they differ, with every line; when the interface cannot be had from this rustdoc.
pub(crate) fn check(args: &ApiArgs) -> anyhow::Result<()> {
    let workspace = metadata()?;
    let now = Listing {
        version: version(&workspace)?,
        lines: interface(&workspace)?,
    };
    let path = list();
    let text = std::fs::read_to_string(&path);
    let before = match (&text, args.bless) {
        (Ok(text), _) => Listing::parse(text)?,
        (Err(_), true) => Listing::default(),
        (Err(error), false) => bail!(
            "{}: {error}; `cargo xtask api --bless` writes it",
            path.display()
        ),
    };
    let gone: Vec<&String> = before.lines.difference(&now.lines).collect();
    let new: Vec<&String> = now.lines.difference(&before.lines).collect();
    if args.bless {
        ensure!(
            gone.is_empty() || args.unpublished || incompatible(&before.version, &now.version),
            "{} lines are gone or changed since {}: raise the version in Cargo.toml to {} first, or say --unpublished if {} never was published\n{}",
            gone.len(),
            before.version,
            next(&before.version),
            before.version,
            shown(&gone, &[])
        );
        return std::fs::write(&path, now.text()).with_context(|| path.display().to_string());
    }
    ensure!(
        gone.is_empty() && new.is_empty(),
        "the public interface of {PACKAGE} is not what crates/core/public-api.txt says:\n{}\nIf that is wanted: `cargo xtask api --bless`.",
        shown(&gone, &new)
    );
    eprintln!(
        "the public interface of {PACKAGE} is as committed, {} lines",
        now.lines.len()
    );
    Ok(())
}

fn shown(gone: &[&String], new: &[&String]) -> String {
    let gone = gone.iter().map(|line| format!("- {line}"));
    let lines: Vec<String> = gone
        .chain(new.iter().map(|line| format!("+ {line}")))
        .collect();
    lines.join("\n")
}

/// The lines of an interface, and the version they are of.
#[derive(Debug, Default, PartialEq)]
struct Listing {
    version: String,
    lines: BTreeSet<String>,
}

impl Listing {
    fn text(&self) -> String {
        let lines: Vec<&str> = self.lines.iter().map(String::as_str).collect();
        format!("# {PACKAGE} {}\n{}\n", self.version, lines.join("\n"))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let version = first.strip_prefix(&format!("# {PACKAGE} "));
        let version = version.with_context(|| {
            format!("public-api.txt begins with `{first}`, not with `# {PACKAGE} VERSION`; `cargo xtask api --bless` writes it anew")
        })?;
        Ok(Self {
            version: version.to_owned(),
            lines: lines.map(str::to_owned).collect(),
        })
    }
}

/// The part of a version that semver lets stand while nothing incompatible happens.
fn compatible_part(version: &str) -> &str {
    let parts: Vec<&str> = version.splitn(3, '.').collect();
    match parts[..] {
        ["0", minor, ..] => &version[..2 + minor.len()],
        [major, ..] => major,
        [] => version,
    }
}

fn incompatible(before: &str, now: &str) -> bool {
    compatible_part(before) != compatible_part(now)
}

/// The next version that may take something away.
fn next(version: &str) -> String {
    let part = compatible_part(version);
    let (rest, last) = part.rsplit_once('.').unwrap_or(("", part));
    let raised = last.parse::<u64>().map_or(0, |last| last + 1);
    match rest {
        "" => format!("{raised}.0.0"),
        rest => format!("{rest}.{raised}.0"),
    }
}

fn metadata() -> anyhow::Result<Value> {
    let arguments = ["metadata", "--no-deps", "--format-version", "1"];
    let text = output(&mut cargo(&arguments))?;
    Ok(serde_json::from_str(&text)?)
}

fn version(workspace: &Value) -> anyhow::Result<String> {
    let packages = workspace["packages"].as_array();
    let package = packages.and_then(|all| all.iter().find(|one| one["name"] == PACKAGE));
    let version = package.and_then(|package| package["version"].as_str());
    version
        .map(str::to_owned)
        .with_context(|| format!("the workspace has no {PACKAGE}"))
}

/// Every public item, one a line.
fn interface(workspace: &Value) -> anyhow::Result<BTreeSet<String>> {
    let mut command = cargo(&["rustdoc", "--package", PACKAGE, "--lib", "--"]);
    command.args(["-Z", "unstable-options", "--output-format", "json"]);
    // The format is unstable, which a released rustdoc only gives when it is told to act as a
    // nightly one. Told by the environment of cargo, build scripts would see it, and everything be
    // built again.
    let rustdoc = std::env::var_os("RUSTDOC").unwrap_or_else(|| "rustdoc".into());
    command
        .env(RUSTDOC, rustdoc)
        .env("RUSTDOC", std::env::current_exe()?);
    run(&mut command)?;
    let target = workspace["target_directory"].as_str();
    let target = target.context("`cargo metadata` names no target folder")?;
    let json = Path::new(target).join("doc/rareclip_core.json");
    let api = public_api::Builder::from_rustdoc_json(&json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()
        .with_context(|| {
            format!(
                "{}: written by another rustdoc than that of Rust 1.95, whose format is read here; use that, or raise `public-api` in xtask/Cargo.toml",
                json.display()
            )
        })?;
    Ok(api.items().map(ToString::to_string).collect())
}

/// Where this program is run as rustdoc: runs the real one, told to act as a nightly one.
pub(crate) fn as_rustdoc() -> Option<anyhow::Result<()>> {
    let rustdoc = std::env::var_os(RUSTDOC)?;
    let mut command = Command::new(&rustdoc);
    command
        .args(std::env::args_os().skip(1))
        .env("RUSTC_BOOTSTRAP", "1");
    let status = command.status();
    let status = status.with_context(|| rustdoc.to_string_lossy().into_owned());
    Some(status.and_then(|status| {
        ensure!(status.success(), "rustdoc ended with {status}");
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semver_says_which_versions_may_take_something_away() {
        for (before, now, may) in [
            ("0.1.0", "0.1.7", false),
            ("0.1.0", "0.2.0", true),
            ("1.2.3", "1.3.0", false),
            ("1.2.3", "2.0.0", true),
        ] {
            assert_eq!(incompatible(before, now), may, "{before} {now}");
        }
        assert_eq!(
            (next("0.1.3"), next("1.4.2")),
            ("0.2.0".into(), "2.0.0".into())
        );
    }

    #[test]
    fn a_listing_is_read_as_it_was_written() {
        let listing = Listing {
            version: "0.1.0".into(),
            lines: ["pub mod a", "pub fn a::b()"].map(str::to_owned).into(),
        };
        assert_eq!(Listing::parse(&listing.text()).unwrap(), listing);
        assert!(Listing::parse("pub mod a\n").is_err());
    }
}
