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

/// Checks every crate of the workspace at `root`.
///
/// # Errors
/// Fails if there is a cycle, or if a file cannot be read or parsed.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let all = workspace(root)?;
    let found = report(&all);
    if found.is_empty() {
        println!("cycles: none among {} dependencies", all.len());
        return Ok(());
    }
    print!("{found}");
    bail!("import cycles found. Move what both files use to the file that it belongs to.");
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

/// The cycles with their files and the paths that make them, for people; empty where there is none.
fn report(all: &Edges) -> String {
    let mut text = String::new();
    for cycle in cycles(all.keys()) {
        text += &format!("import cycle, {} files:\n", cycle.len());
        for ((from, to), names) in all {
            if cycle.contains(from.as_path()) && cycle.contains(to.as_path()) {
                let names = distinct(names);
                let (from, to, names) = (from.display(), to.display(), names.join(", "));
                text += &format!("  {from} -> {to}: {names}\n");
            }
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
