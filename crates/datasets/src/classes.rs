//! The layouts of one folder a class: MVTec AD, AD 2 and LOCO, BTAD, MPDD, split VisA.

use std::path::Path;

use super::scan::{ClassFolder, Listing, Masks, is_normal, name_of};
use super::{Category, Kind, Options, Sample, Saturation, TestSet};
use crate::DatasetError;

/// What tells these layouts apart.
pub(super) struct Classes {
    pub(super) kind: Kind,
    /// Folder of the test classes.
    test: &'static str,
    /// Folder of the masks.
    ground_truth: &'static str,
    /// Whether a defect may have several masks, in a folder named like the image.
    several_masks: bool,
    /// Whether anomalous images must have masks.
    masks_needed: bool,
}

const GROUND_TRUTH: &str = "ground_truth";

pub(super) const MVTEC: Classes = Classes {
    kind: Kind::Mvtec,
    test: "test",
    ground_truth: GROUND_TRUTH,
    several_masks: false,
    masks_needed: false,
};
pub(super) const MPDD: Classes = Classes {
    kind: Kind::Mpdd,
    masks_needed: true,
    ..MVTEC
};
pub(super) const BTAD: Classes = Classes {
    kind: Kind::Btad,
    masks_needed: true,
    ..MVTEC
};
pub(super) const VISA: Classes = Classes {
    kind: Kind::Visa,
    masks_needed: true,
    ..MVTEC
};
pub(super) const MVTEC_LOCO: Classes = Classes {
    kind: Kind::MvtecLoco,
    several_masks: true,
    masks_needed: true,
    ..MVTEC
};
pub(super) const MVTEC_AD2: Classes = Classes {
    kind: Kind::MvtecAd2,
    test: "test_public",
    ground_truth: "test_public/ground_truth",
    several_masks: false,
    masks_needed: true,
};

/// Reads one category folder or a folder of categories.
pub(super) fn read(
    root: &Path,
    layout: &Classes,
    options: &Options,
) -> Result<Vec<Category>, DatasetError> {
    read_below(root, "", layout, options)
}

/// [`read`] of the folder that ids call `prefix` (empty or ending in `/`).
pub(super) fn read_below(
    root: &Path,
    prefix: &str,
    layout: &Classes,
    options: &Options,
) -> Result<Vec<Category>, DatasetError> {
    let listing = Listing::read(root)?;
    if listing.has_folder(layout.test) || listing.has_folder("train") {
        let names = options.choose(vec![name_of(root)])?;
        let read = |name: &String| read_category(root, name, prefix, layout, options);
        return names.iter().map(read).collect();
    }
    if listing.folders.is_empty() {
        let problem = format!(
            "neither a category (no folder {}) nor a folder of categories",
            layout.test
        );
        return Err(layout.kind.error(root, problem));
    }
    let read = |name: &String| {
        let prefix = format!("{prefix}{name}/");
        read_category(&root.join(name), name, &prefix, layout, options)
    };
    let names = options.choose(listing.folders)?;
    names.iter().map(read).collect()
}

/// `prefix` is the path of the category inside the data set: empty or ending in `/`.
fn read_category(
    root: &Path,
    name: &str,
    prefix: &str,
    layout: &Classes,
    options: &Options,
) -> Result<Category, DatasetError> {
    let listing = Listing::read(root)?;
    let mut category = Category::new(name, root);
    if listing.has_folder("train") {
        category.train = read_normal(root, prefix, "train", layout)?;
    }
    if listing.has_folder("validation") {
        category.validation = read_normal(root, prefix, "validation", layout)?;
    }
    category.test = match options.test {
        TestSet::Public => read_test(root, prefix, layout)?,
        TestSet::Private => read_unlabelled(root, prefix, "test_private", layout)?,
        TestSet::PrivateMixed => read_unlabelled(root, prefix, "test_private_mixed", layout)?,
    };
    if layout.kind == Kind::MvtecLoco {
        category.saturations = read_saturations(&root.join("defects_config.json"))?;
    }
    Ok(category)
}

/// The samples of `train` or `validation`.
fn read_normal(
    root: &Path,
    prefix: &str,
    split: &str,
    layout: &Classes,
) -> Result<Vec<Sample>, DatasetError> {
    let folder = root.join(split);
    let mut samples = Vec::new();
    for class in class_folders(&folder, layout)? {
        if !is_normal(&class) {
            let problem = format!("{split} may only hold normal images, in good/ or ok/");
            return Err(layout.kind.error(folder.join(class), problem));
        }
        ClassFolder {
            path: folder.join(&class),
            id: format!("{prefix}{split}/{class}"),
            name: &class,
            masks: None,
            kind: layout.kind,
        }
        .read_into(&mut samples)?;
    }
    Ok(samples)
}

fn read_test(root: &Path, prefix: &str, layout: &Classes) -> Result<Vec<Sample>, DatasetError> {
    let folder = root.join(layout.test);
    if !folder.is_dir() {
        return Err(layout.kind.error(folder, "this folder is missing"));
    }
    let classes = class_folders(&folder, layout)?;
    let ground_truth = root.join(layout.ground_truth);
    let masks = Masks {
        folder: &ground_truth,
        several: layout.several_masks,
    };
    let anomalous = classes.iter().any(|class| !is_normal(class));
    let masked = ground_truth.is_dir();
    if layout.masks_needed && anomalous && !masked {
        let problem = format!(
            "this folder with the masks of {} is missing",
            folder.display()
        );
        return Err(layout.kind.error(ground_truth, problem));
    }
    let mut samples = Vec::new();
    for class in &classes {
        ClassFolder {
            path: folder.join(class),
            id: format!("{prefix}{}/{class}", layout.test),
            name: class,
            masks: masked.then_some(&masks),
            kind: layout.kind,
        }
        .read_into(&mut samples)?;
    }
    if masked {
        masks.of_known_classes(&classes, &folder, layout.kind)?;
    }
    Ok(samples)
}

/// The images that lie directly in a folder.
fn read_unlabelled(
    root: &Path,
    prefix: &str,
    split: &str,
    layout: &Classes,
) -> Result<Vec<Sample>, DatasetError> {
    let folder = root.join(split);
    if !folder.is_dir() {
        return Err(layout.kind.error(folder, "this folder is missing"));
    }
    let images = Listing::read(&folder)?.images;
    if images.is_empty() {
        return Err(layout.kind.error(folder, "no images in this folder"));
    }
    let sample =
        |image: String| Sample::unlabelled(format!("{prefix}{split}/{image}"), folder.join(&image));
    Ok(images.into_iter().map(sample).collect())
}

/// The class folders of a split: at least one, and no images beside them.
fn class_folders(folder: &Path, layout: &Classes) -> Result<Vec<String>, DatasetError> {
    let mut listing = Listing::read(folder)?;
    if let Some(image) = listing.images.first() {
        return Err(layout
            .kind
            .error(folder.join(image), "an image outside any class folder"));
    }
    // MVTec AD 2 keeps the masks between the test classes.
    listing.folders.retain(|name| name != GROUND_TRUTH);
    if listing.folders.is_empty() {
        return Err(layout.kind.error(folder, "no class folders in here"));
    }
    Ok(listing.folders)
}

fn read_saturations(path: &Path) -> Result<Vec<Saturation>, DatasetError> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = std::fs::read(path).map_err(|source| DatasetError::Io {
        path: path.to_owned(),
        source,
    })?;
    let all: Vec<Saturation> =
        serde_json::from_slice(&text).map_err(|error| DatasetError::Json {
            file: path.to_owned(),
            place: format!("line {}", error.line()),
            problem: error.to_string(),
        })?;
    let usable = |saturation: &Saturation| match saturation.relative {
        true => saturation.threshold > 0.0 && saturation.threshold <= 1.0,
        false => saturation.threshold > 0.0,
    };
    match all.iter().position(|saturation| !usable(saturation)) {
        None => Ok(all),
        Some(at) => Err(DatasetError::Json {
            file: path.to_owned(),
            place: format!("[{at}].saturation_threshold"),
            problem: format!(
                "{}: expected above 0, and up to 1 where relative_saturation is true",
                all[at].threshold
            ),
        }),
    }
}
