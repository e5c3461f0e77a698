//! What the tests of data sets share.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking; not every test uses each"
)]

use std::fs;
use std::path::{Path, PathBuf};

use rareclip_datasets::DatasetError;
use rareclip_datasets::{Category, Dataset, Kind, Sample, Spec};
use tempfile::TempDir;

/// A folder with empty files; readers never look inside images.
pub(crate) fn tree(files: &[&str]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        write(&root, file, "");
    }
    root
}

pub(crate) fn write(root: &TempDir, file: &str, text: &str) -> PathBuf {
    let path = root.path().join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

pub(crate) fn open(root: &TempDir, kind: Kind) -> Dataset {
    Dataset::open(&Spec::new(Some(kind), root.path())).unwrap()
}

/// Opens `KIND:ROOT/TAIL`, options and all.
pub(crate) fn open_spec(kind: &str, root: &TempDir, tail: &str) -> Result<Dataset, DatasetError> {
    let spec = format!("{kind}:{}{tail}", root.path().display());
    Dataset::open(&spec.parse()?)
}

pub(crate) fn auto(root: &Path) -> Result<Dataset, DatasetError> {
    Dataset::open(&Spec::new(None, root))
}

pub(crate) fn ids(samples: &[Sample]) -> Vec<&str> {
    samples.iter().map(|sample| sample.id.as_str()).collect()
}

/// Id, label, defect, and the masks relative to `root`.
pub(crate) type Row = (String, Option<bool>, String, Vec<String>);

pub(crate) fn rows(root: &TempDir, samples: &[Sample]) -> Vec<Row> {
    let row = |sample: &Sample| {
        assert_eq!(sample.path, root.path().join(&sample.id));
        let masks = sample
            .mask
            .files()
            .iter()
            .map(|mask| relative(root.path(), mask));
        (
            sample.id.clone(),
            sample.label,
            sample.defect.clone(),
            masks.collect(),
        )
    };
    samples.iter().map(row).collect()
}

/// A row for golden expectations.
pub(crate) fn row(id: &str, label: impl Into<Option<bool>>, defect: &str, masks: &[&str]) -> Row {
    let masks = masks.iter().map(|mask| (*mask).to_owned()).collect();
    (id.to_owned(), label.into(), defect.to_owned(), masks)
}

pub(crate) fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap().to_string_lossy();
    path.replace('\\', "/")
}

pub(crate) fn only(dataset: Dataset) -> Category {
    let [category] = dataset.categories.try_into().unwrap();
    category
}

pub(crate) fn names(dataset: &Dataset) -> Vec<&str> {
    dataset.categories.iter().map(|c| c.name.as_str()).collect()
}

/// The offending path, relative to `root`, and the whole message.
pub(crate) fn layout_error(kind: Kind, root: &TempDir) -> (String, String) {
    let error = Dataset::open(&Spec::new(Some(kind), root.path())).unwrap_err();
    let message = error.to_string();
    let DatasetError::Layout { path, expected, .. } = error else {
        panic!("{message}");
    };
    assert_eq!(expected, kind.expected());
    (relative(root.path(), &path), message)
}
