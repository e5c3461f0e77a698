//! The layout of MVTec AD.

use std::path::Path;

use super::scan::{ClassFolder, GROUND_TRUTH, Listing, is_normal};
use super::{Category, Layout, Sample};
use crate::EvalError;

const LAYOUT: Layout = Layout::Mvtec;

/// Reads one category folder or a folder of categories.
pub(super) fn read(root: &Path) -> Result<Vec<Category>, EvalError> {
    let listing = Listing::read(root)?;
    if listing.has_folder("test") || listing.has_folder("train") {
        let name = root.canonicalize().ok();
        let name = name
            .as_deref()
            .unwrap_or(root)
            .file_name()
            .map(|name| name.to_string_lossy());
        return Ok(vec![read_category(root, &name.unwrap_or_default(), "")?]);
    }
    if listing.folders.is_empty() {
        return Err(LAYOUT.error(
            root,
            "neither a category (no folder test) nor a folder of categories",
        ));
    }
    listing
        .folders
        .iter()
        .map(|name| read_category(&root.join(name), name, &format!("{name}/")))
        .collect()
}

/// `prefix` is the path of the category inside the data set: empty or ending in `/`.
fn read_category(root: &Path, name: &str, prefix: &str) -> Result<Category, EvalError> {
    let listing = Listing::read(root)?;
    if !listing.has_folder("test") {
        return Err(LAYOUT.error(root.join("test"), "this folder is missing"));
    }
    let mut train = Vec::new();
    if listing.has_folder("train") {
        let folder = root.join("train");
        for class in class_folders(&folder)? {
            if !is_normal(&class) {
                return Err(LAYOUT.error(
                    folder.join(class),
                    "train may only hold normal images, in good/",
                ));
            }
            read_class(
                &folder,
                &class,
                &format!("{prefix}train/{class}"),
                None,
                &mut train,
            )?;
        }
    }
    let ground_truth = root.join(GROUND_TRUTH);
    let ground_truth = listing
        .has_folder(GROUND_TRUTH)
        .then_some(ground_truth.as_path());
    let mut test = Vec::new();
    let folder = root.join("test");
    for class in class_folders(&folder)? {
        read_class(
            &folder,
            &class,
            &format!("{prefix}test/{class}"),
            ground_truth,
            &mut test,
        )?;
    }
    Ok(Category {
        name: name.to_owned(),
        root: root.to_owned(),
        train,
        test,
    })
}

/// The class folders of `train` or `test`: at least one, and no images beside them.
fn class_folders(folder: &Path) -> Result<Vec<String>, EvalError> {
    let listing = Listing::read(folder)?;
    if let Some(image) = listing.images.first() {
        return Err(LAYOUT.error(folder.join(image), "an image outside any class folder"));
    }
    if listing.folders.is_empty() {
        return Err(LAYOUT.error(folder, "no class folders in here"));
    }
    Ok(listing.folders)
}

fn read_class(
    parent: &Path,
    name: &str,
    id: &str,
    ground_truth: Option<&Path>,
    samples: &mut Vec<Sample>,
) -> Result<(), EvalError> {
    let path = parent.join(name);
    ClassFolder {
        path,
        id: id.to_owned(),
        name,
        ground_truth,
        layout: LAYOUT,
    }
    .read_into(samples)
}
