//! Reads the modules of one crate: the names that each module defines and the paths that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use syn::{Attribute, Item, ItemUse, Meta, UseTree, Visibility};

use super::cfg::only_in_tests;
use super::paths::{Named, named};

/// A path in the source, one entry per segment.
pub(super) type Segments = Vec<String>;

/// One module of a crate.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// Index of the parent; the root is its own parent.
    pub(super) parent: usize,
    /// The file that holds the module.
    pub(super) file: PathBuf,
    /// Submodules by name.
    pub(super) children: BTreeMap<String, usize>,
    /// Names of the items that the module defines.
    pub(super) items: BTreeSet<String>,
    /// Exported macros: they are named from the root, and the module of this index defines them.
    pub(super) exported: BTreeMap<String, usize>,
    /// Imports by the name that they bind.
    pub(super) imports: BTreeMap<String, Segments>,
    /// Modules whose names are imported with `*`.
    pub(super) globs: Vec<Segments>,
    /// Paths that the module names.
    pub(super) named: Vec<Named>,
}

/// The modules of one crate; the root has index 0.
#[derive(Debug, Default)]
pub(super) struct Crate {
    /// All modules, parents before children.
    pub(super) modules: Vec<Module>,
}

impl Crate {
    /// Reads a crate from its root file, for example `src/lib.rs`. Skips what is compiled for tests
    /// only.
    ///
    /// # Errors
    /// Fails if a file cannot be read or parsed, or if the file of a module is not found.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut tree = Self::default();
        let folder = root.parent().unwrap_or(Path::new("")).to_owned();
        tree.file(root, &folder, 0)?;
        Ok(tree)
    }

    /// Adds the module in `file`, whose submodules are in `folder`. Returns its index.
    fn file(&mut self, file: &Path, folder: &Path, parent: usize) -> anyhow::Result<usize> {
        let shown = file.display();
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("cannot parse {shown}"))?;
        self.module(&parsed.items, file, folder, parent)
    }

    fn module(
        &mut self,
        items: &[Item],
        file: &Path,
        folder: &Path,
        parent: usize,
    ) -> anyhow::Result<usize> {
        let index = self.modules.len();
        self.modules.push(Module {
            parent,
            file: file.to_owned(),
            ..Module::default()
        });
        for item in items {
            if only_in_tests(attributes(item)) {
                continue;
            }
            if let Item::Mod(item) = item {
                let name = item.ident.to_string();
                let inner = folder.join(&name);
                let child = if let Some((_, items)) = &item.content {
                    self.module(items, file, &inner, index)?
                } else {
                    let (path, inner) = find(&name, &item.attrs, file, folder)?;
                    self.file(&path, &inner, index)?
                };
                self.modules[index].children.insert(name, child);
                continue;
            }
            self.define(index, item);
            let found = named(item);
            for import in &found.imports {
                self.import(index, import);
            }
            self.modules[index].named.extend(found.paths);
        }
        Ok(index)
    }

    /// Notes the name that an item defines.
    fn define(&mut self, index: usize, item: &Item) {
        let name = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::TraitAlias(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            Item::Macro(item) => {
                let Some(name) = &item.ident else { return };
                if item.attrs.iter().any(|a| a.path().is_ident("macro_export")) {
                    self.modules[0].exported.insert(name.to_string(), index);
                }
                name
            }
            _ => return,
        };
        self.modules[index].items.insert(name.to_string());
    }

    /// Notes the names that an import binds, and that the module names what it imports.
    fn import(&mut self, index: usize, import: &ItemUse) {
        let reexport = !matches!(import.vis, Visibility::Inherited);
        let mut leaves = Vec::new();
        flatten(&import.tree, &mut Vec::new(), &mut leaves);
        let module = &mut self.modules[index];
        for (path, name) in leaves {
            match name {
                Some(name) => {
                    module.named.push(Named {
                        path: path.clone(),
                        import: true,
                        reexport,
                    });
                    module.imports.insert(name, path);
                }
                None => module.globs.push(path),
            }
        }
    }
}

/// Lists the imported paths of a `use`, each with the name that it binds; a glob binds no name.
fn flatten(tree: &UseTree, prefix: &mut Segments, leaves: &mut Vec<(Segments, Option<String>)>) {
    let mut leaf = |last: String, name: Option<String>| {
        let mut path = prefix.clone();
        if last != "self" {
            path.push(last);
        }
        let name = name.or_else(|| path.last().cloned());
        leaves.push((path, name));
    };
    match tree {
        UseTree::Name(item) => leaf(item.ident.to_string(), None),
        UseTree::Rename(item) => leaf(item.ident.to_string(), Some(item.rename.to_string())),
        UseTree::Glob(_) => leaves.push((prefix.clone(), None)),
        UseTree::Path(item) => {
            prefix.push(item.ident.to_string());
            flatten(&item.tree, prefix, leaves);
            prefix.pop();
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, prefix, leaves);
            }
        }
    }
}

/// Finds the file of a module, and the folder of its submodules.
fn find(
    name: &str,
    attributes: &[Attribute],
    file: &Path,
    folder: &Path,
) -> anyhow::Result<(PathBuf, PathBuf)> {
    let name = name.trim_start_matches("r#");
    let inner = folder.join(name);
    for attribute in attributes {
        if let Meta::NameValue(meta) = &attribute.meta
            && meta.path.is_ident("path")
            && let syn::Expr::Lit(value) = &meta.value
            && let syn::Lit::Str(value) = &value.lit
        {
            let path = file.parent().unwrap_or(Path::new("")).join(value.value());
            let inner = path.parent().unwrap_or(Path::new("")).to_owned();
            return Ok((path, inner));
        }
    }
    for path in [folder.join(format!("{name}.rs")), inner.join("mod.rs")] {
        if path.is_file() {
            return Ok((path, inner));
        }
    }
    bail!(
        "cannot find the file of module `{name}` of {}",
        file.display()
    )
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
