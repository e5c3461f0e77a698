//! Refuses import cycles between the files of a crate.
//!
//! A file depends on the file that defines what it names, in imports and in paths. Re-exports are
//! followed to the definition. A parent that declares or re-exports its children does not depend on
//! them. Code for tests only does not count. Method calls are not resolved.

mod cfg;
mod graph;
mod modules;
mod paths;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use graph::{Edges, cycles, edges};
use modules::Crate;

/// Dependencies that are known to close a cycle: `FROM -> TO` per line. The goal is an empty list.
const KNOWN: &str = include_str!("known.txt");

/// Checks every crate of the workspace at `root`.
///
/// # Errors
/// Fails if there is a cycle that the list of known ones does not explain, if the list has an entry
/// that closes no cycle, or if a file cannot be read or parsed.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let known = known(KNOWN)?;
    let all = workspace(root)?;
    let report = examine(&all, &known);
    print!("{}", report.text);
    if report.refused {
        bail!("import cycles found. Move what both files use to the file that it belongs to.");
    }
    println!(
        "cycles: {} known dependencies that close a cycle, none new",
        known.len()
    );
    Ok(())
}

/// The dependencies of all crates of a workspace, with paths relative to its root.
fn workspace(root: &Path) -> anyhow::Result<Edges> {
    let mut all = Edges::new();
    for folder in members(root)? {
        let bins = rust_files(&folder.join("src/bin"))?;
        let roots = ["src/lib.rs", "src/main.rs"].map(|file| folder.join(file));
        for file in roots.into_iter().filter(|file| file.is_file()).chain(bins) {
            let found = edges(&Crate::read(&file)?);
            let relative =
                |file: PathBuf| file.strip_prefix(root).map_or(file.clone(), PathBuf::from);
            for ((from, to), names) in found {
                all.entry((relative(from), relative(to)))
                    .or_default()
                    .extend(names);
            }
        }
    }
    Ok(all)
}

/// The folders of the workspace that hold a crate.
fn members(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for parent in ["crates", "plugins"] {
        let parent = root.join(parent);
        let entries = parent
            .read_dir()
            .with_context(|| parent.display().to_string())?;
        for entry in entries {
            found.push(entry?.path());
        }
    }
    found.extend([root.join("tests"), root.join("xtask")]);
    found.retain(|folder| folder.join("Cargo.toml").is_file());
    found.sort();
    Ok(found)
}

fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if folder.is_dir() {
        for entry in folder.read_dir()? {
            found.push(entry?.path());
        }
    }
    found.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    found.sort();
    Ok(found)
}

/// Parses the list of known dependencies; `#` starts a comment.
fn known(text: &str) -> anyhow::Result<BTreeSet<(PathBuf, PathBuf)>> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (from, to) = line.split_once(" -> ").with_context(|| {
                format!("cannot parse the line `{line}` of known.txt. Write `FROM -> TO`.")
            })?;
            Ok((from.trim().into(), to.trim().into()))
        })
        .collect()
}

/// What a check found.
struct Report {
    /// The cycles and the entries to delete, for people.
    text: String,
    /// Whether the check fails.
    refused: bool,
}

/// Lists the cycles, and decides which are refused.
fn examine(all: &Edges, known: &BTreeSet<(PathBuf, PathBuf)>) -> Report {
    let mut report = Report {
        text: String::new(),
        refused: false,
    };
    let complete = cycles(all.keys());
    let open = cycles(all.keys().filter(|edge| !known.contains(*edge)));
    for cycle in &open {
        report.refused = true;
        report.text += &shown("import cycle", cycle, all, known);
    }
    for cycle in &complete {
        if !open.iter().any(|new| new.is_subset(cycle)) {
            report.text += &shown(
                "known import cycle (see xtask/src/cycles/known.txt)",
                cycle,
                all,
                known,
            );
        }
    }
    for edge @ (from, to) in known {
        let closes = |cycle: &BTreeSet<&Path>| {
            cycle.contains(from.as_path()) && cycle.contains(to.as_path())
        };
        if !all.contains_key(edge) || !complete.iter().any(closes) {
            report.refused = true;
            let line = format!("{} -> {}", from.display(), to.display());
            report.text +=
                &format!("`{line}` closes no cycle. Delete it from xtask/src/cycles/known.txt.\n");
        }
    }
    report
}

/// A cycle with its files and the paths that make it.
fn shown(
    title: &str,
    cycle: &BTreeSet<&Path>,
    all: &Edges,
    known: &BTreeSet<(PathBuf, PathBuf)>,
) -> String {
    let mut text = format!("{title}, {} files:\n", cycle.len());
    for (edge @ (from, to), names) in all {
        if cycle.contains(from.as_path()) && cycle.contains(to.as_path()) {
            let names = distinct(names);
            let (from, to, names) = (from.display(), to.display(), names.join(", "));
            let note = if known.contains(edge) { " (known)" } else { "" };
            text += &format!("  {from} -> {to}{note}: {names}\n");
        }
    }
    text
}

/// The names without those that start with a name that another one imports.
fn distinct(names: &BTreeSet<String>) -> Vec<&str> {
    let imported = |first: &str| {
        names.iter().any(|other| {
            other
                .rsplit_once("::")
                .is_some_and(|(_, last)| last == first)
        })
    };
    let first = |name: &str| name.split("::").next().unwrap_or(name).to_owned();
    names
        .iter()
        .map(String::as_str)
        .filter(|name| !imported(&first(name)))
        .collect()
}
