//! Dependencies between the files of a crate, and their cycles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::modules::Crate;

/// Dependencies between files, each with the paths that make it.
pub(super) type Edges = BTreeMap<(PathBuf, PathBuf), BTreeSet<String>>;

/// How many imports and re-exports a path may pass through.
const DEPTH: usize = 32;

/// What a path names.
#[derive(Clone, Copy)]
enum Target {
    /// A module.
    Module(usize),
    /// An item that this module defines.
    Item(usize),
}

/// Returns the dependencies between the files of a crate. A file depends on the file that defines
/// what it names; re-exports are followed. A parent that re-exports its children does not depend on
/// them.
pub(super) fn edges(tree: &Crate) -> Edges {
    let mut edges = Edges::new();
    for (index, module) in tree.modules.iter().enumerate() {
        for named in &module.named {
            let Some(Target::Item(definer)) =
                resolve(tree, index, &named.path, named.import, DEPTH)
            else {
                continue;
            };
            let target = &tree.modules[definer].file;
            if *target == module.file || (named.reexport && is_within(tree, definer, index)) {
                continue;
            }
            let edge = (module.file.clone(), target.clone());
            edges.entry(edge).or_default().insert(named.path.join("::"));
        }
    }
    edges
}

fn is_within(tree: &Crate, mut module: usize, ancestor: usize) -> bool {
    while module != ancestor && module != 0 {
        module = tree.modules[module].parent;
    }
    module == ancestor
}

/// Finds what a path names, seen from a module. Returns `None` for what another crate defines.
/// `prefer_module`: what to return if a module and a function have the name.
fn resolve(
    tree: &Crate,
    from: usize,
    path: &[String],
    prefer_module: bool,
    depth: usize,
) -> Option<Target> {
    let last = path.len().checked_sub(1)?;
    let mut at = match path.first()?.as_str() {
        "crate" => Target::Module(0),
        "self" => Target::Module(from),
        "super" => Target::Module(tree.modules[from].parent),
        name => lookup(tree, from, name, prefer_module || last > 0, depth)?,
    };
    for (position, name) in path.iter().enumerate().skip(1) {
        let prefer_module = prefer_module || position < last;
        at = match at {
            Target::Module(module) if name == "super" => {
                Target::Module(tree.modules[module].parent)
            }
            Target::Module(module) => lookup(tree, module, name, prefer_module, depth)?,
            // A variant or an associated item.
            Target::Item(_) => return Some(at),
        };
    }
    Some(at)
}

/// Finds a name in the scope of a module.
fn lookup(
    tree: &Crate,
    module: usize,
    name: &str,
    prefer_module: bool,
    depth: usize,
) -> Option<Target> {
    let depth = depth.checked_sub(1)?;
    let scope = &tree.modules[module];
    let item = scope.items.contains(name).then_some(Target::Item(module));
    let child = scope.children.get(name).map(|child| Target::Module(*child));
    if let Some(found) = if prefer_module {
        child.or(item)
    } else {
        item.or(child)
    } {
        return Some(found);
    }
    if let Some(path) = scope.imports.get(name) {
        // `use serde;` names the other crate, not itself.
        let other_crate = path[..] == [name];
        return (!other_crate)
            .then(|| resolve(tree, module, path, prefer_module, depth))
            .flatten();
    }
    if let Some(definer) = scope.exported.get(name) {
        return Some(Target::Item(*definer));
    }
    scope
        .globs
        .iter()
        .find_map(|glob| match resolve(tree, module, glob, true, depth)? {
            Target::Module(source) if source != module => {
                lookup(tree, source, name, prefer_module, depth)
            }
            _ => None,
        })
}

/// Returns the strongly connected components of two or more files, in the order of their names.
pub(super) fn cycles<'a>(
    edges: impl Iterator<Item = &'a (PathBuf, PathBuf)>,
) -> Vec<BTreeSet<&'a Path>> {
    let mut next: BTreeMap<&Path, Vec<&Path>> = BTreeMap::new();
    for (from, to) in edges {
        next.entry(from).or_default().push(to);
    }
    let reached: BTreeMap<&Path, BTreeSet<&Path>> = next
        .keys()
        .map(|from| (*from, reach(&next, from)))
        .collect();
    let mut found: Vec<BTreeSet<&Path>> = Vec::new();
    for (from, to) in &reached {
        if !to.contains(from) || found.iter().any(|cycle| cycle.contains(from)) {
            continue;
        }
        let back = |file: &&&Path| reached.get(**file).is_some_and(|to| to.contains(from));
        found.push(to.iter().filter(back).copied().collect());
    }
    found
}

/// Returns the files that are reached from a file by one or more edges.
fn reach<'a>(next: &BTreeMap<&'a Path, Vec<&'a Path>>, from: &Path) -> BTreeSet<&'a Path> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&Path> = next.get(from).cloned().unwrap_or_default();
    while let Some(file) = open.pop() {
        if found.insert(file) {
            open.extend(next.get(file).into_iter().flatten());
        }
    }
    found
}
