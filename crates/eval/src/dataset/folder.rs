//! A plain folder: one folder a class, or images without labels.

use std::path::Path;

use super::scan::{ClassFolder, GROUND_TRUTH, Listing, is_normal};
use super::{Category, Layout, Sample, UNLABELLED};
use crate::EvalError;

const LAYOUT: Layout = Layout::Folder;

pub(super) fn read(root: &Path) -> Result<Category, EvalError> {
    let listing = Listing::read(root)?;
    let test = if listing.folders.is_empty() {
        unlabelled(root, listing.images)?
    } else {
        labelled(root, &listing)?
    };
    let name = root.canonicalize().ok();
    let name = name
        .as_deref()
        .unwrap_or(root)
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    Ok(Category {
        name: name.unwrap_or_default(),
        root: root.to_owned(),
        train: Vec::new(),
        test,
    })
}

fn unlabelled(root: &Path, images: Vec<String>) -> Result<Vec<Sample>, EvalError> {
    if images.is_empty() {
        return Err(LAYOUT.error(root, "no images and no class folders in here"));
    }
    let sample = |image: String| Sample {
        path: root.join(&image),
        id: image,
        label: None,
        kind: UNLABELLED.to_owned(),
        mask: None,
    };
    Ok(images.into_iter().map(sample).collect())
}

fn labelled(root: &Path, listing: &Listing) -> Result<Vec<Sample>, EvalError> {
    if let Some(image) = listing.images.first() {
        return Err(LAYOUT.error(root.join(image), "an image outside the class folders"));
    }
    let classes = || {
        listing
            .folders
            .iter()
            .filter(|folder| *folder != GROUND_TRUTH)
    };
    if !classes().any(|folder| is_normal(folder)) {
        // Without a normal class the folders may mean anything: dates, cameras, products.
        let offending = root.join(classes().next().unwrap_or(&listing.folders[0]));
        return Err(LAYOUT.error(
            offending,
            "class folders, but none named good, ok or normal",
        ));
    }
    let ground_truth = root.join(GROUND_TRUTH);
    let ground_truth = listing
        .has_folder(GROUND_TRUTH)
        .then_some(ground_truth.as_path());
    let mut samples = Vec::new();
    for name in classes() {
        let (path, id) = (root.join(name), name.clone());
        ClassFolder {
            path,
            id,
            name,
            ground_truth,
            layout: LAYOUT,
        }
        .read_into(&mut samples)?;
    }
    Ok(samples)
}
