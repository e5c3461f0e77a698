//! The kind of a data set by its layout.

use std::path::Path;

use super::Kind;
use super::scan::{Listing, is_normal};
use crate::DatasetError;

/// The kind of what lies at `root`. MPDD and split VisA count as MVTec AD, whose layout they have.
///
/// # Errors
/// [`DatasetError::Unrecognised`] or [`DatasetError::Io`].
pub(super) fn kind(root: &Path) -> Result<Kind, DatasetError> {
    let unrecognised = |problem: &str| DatasetError::Unrecognised {
        path: root.to_owned(),
        problem: problem.to_owned(),
    };
    if root.is_file() {
        return match extension(root).as_str() {
            "csv" | "jsonl" => Ok(Kind::Manifest),
            _ => Err(unrecognised(
                "a file that ends neither in .csv nor in .jsonl",
            )),
        };
    }
    let listing = Listing::read(root)?;
    if root.join("split_csv/1cls.csv").is_file() || listing.has_folder("1cls") {
        return Ok(Kind::Visa);
    }
    if root.join("labels.csv").is_file() && listing.has_folder("images") {
        return Ok(Kind::Elpv);
    }
    if listing.has_folder("realiad_jsons") {
        return Ok(Kind::RealIad);
    }
    if let Some(kind) = category(root, &listing)? {
        return Ok(kind);
    }
    for folder in &listing.folders {
        let path = root.join(folder);
        if let Some(kind) = category(&path, &Listing::read(&path)?)? {
            return Ok(kind);
        }
    }
    match (listing.folders.is_empty(), listing.images.is_empty()) {
        (true, true) => Err(unrecognised("no images and no folders in here")),
        (true, false) => Ok(Kind::Images),
        (false, _) if listing.folders.iter().any(|folder| is_normal(folder)) => Ok(Kind::Folder),
        // Without a normal class the folders may mean anything: dates, cameras, products.
        (false, _) => Err(unrecognised(
            "folders of which none is named good, ok or normal, train or test",
        )),
    }
}

/// The kind of a category folder, `None` if it is none.
fn category(root: &Path, listing: &Listing) -> Result<Option<Kind>, DatasetError> {
    if listing.has_folder("test_public") {
        return Ok(Some(Kind::MvtecAd2));
    }
    if root.join("Data/Images").is_dir() {
        return Ok(Some(Kind::Visa));
    }
    let mut kind = None;
    for split in ["test", "train"] {
        if listing.has_folder(split) {
            let classes = Listing::read(&root.join(split))?;
            kind = kind.or(Some(Kind::Mvtec));
            if classes.has_folder("logical_anomalies") || classes.has_folder("structural_anomalies")
            {
                kind = Some(Kind::MvtecLoco);
            } else if classes.has_folder("ko") {
                kind = Some(Kind::Btad);
            }
        }
    }
    Ok(kind)
}

/// The ending of a file name in lower case, empty if it has none.
pub(super) fn extension(path: &Path) -> String {
    path.extension()
        .map(|ending| ending.to_string_lossy().to_lowercase())
        .unwrap_or_default()
}
