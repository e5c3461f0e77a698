//! Plain folders: one folder a class, or images without labels.

use std::path::Path;

use super::natural::natural_cmp;
use super::scan::{ClassFolder, Listing, Masks, is_normal, name_of};
use super::{Category, Kind, Options, Sample};
use crate::DatasetError;

const KIND: Kind = Kind::Folder;
const GROUND_TRUTH: &str = "ground_truth";

pub(super) fn read(root: &Path, options: &Options) -> Result<Category, DatasetError> {
    let listing = Listing::read(root)?;
    let mut category = category(root, options)?;
    if let Some(image) = listing.images.first() {
        let problem = "an image outside the class folders (unlabelled images: images:DIR)";
        return Err(KIND.error(root.join(image), problem));
    }
    let mut classes = listing.folders;
    let masked = classes.iter().any(|folder| folder == GROUND_TRUTH);
    classes.retain(|folder| folder != GROUND_TRUTH);
    let Some(first) = classes.first() else {
        return Err(KIND.error(root, "no class folders in here"));
    };
    if !classes.iter().any(|folder| is_normal(folder)) {
        let problem = "class folders, but none named good, ok or normal";
        return Err(KIND.error(root.join(first), problem));
    }
    let ground_truth = root.join(GROUND_TRUTH);
    let masks = Masks {
        folder: &ground_truth,
        several: false,
    };
    for name in &classes {
        ClassFolder {
            path: root.join(name),
            id: name.clone(),
            name,
            masks: masked.then_some(&masks),
            kind: KIND,
        }
        .read_into(&mut category.test)?;
    }
    if masked {
        masks.of_known_classes(&classes, root, KIND)?;
    }
    Ok(category)
}

/// Every image in `root` and its subfolders, unlabelled, in natural order of their ids.
pub(super) fn read_images(root: &Path, options: &Options) -> Result<Category, DatasetError> {
    let mut category = category(root, options)?;
    let mut pending = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = pending.pop() {
        let listing = Listing::read(&folder)?;
        for image in listing.images {
            let id = format!("{prefix}{image}");
            let sample = Sample::unlabelled(id, folder.join(image));
            category.test.push(sample);
        }
        for name in listing.folders {
            let path = folder.join(&name);
            // Links to folders are not followed: they can go round in a circle.
            if !path.is_symlink() {
                pending.push((path, format!("{prefix}{name}/")));
            }
        }
    }
    if category.test.is_empty() {
        return Err(Kind::Images.error(root, "no images in here"));
    }
    category.test.sort_by(|a, b| natural_cmp(&a.id, &b.id));
    Ok(category)
}

fn category(root: &Path, options: &Options) -> Result<Category, DatasetError> {
    let name = name_of(root);
    options.choose(vec![name.clone()])?;
    Ok(Category::new(&name, root))
}
