//! Labels, and results matched to the truth about their images.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

mod dataset_common;

use std::path::{Path, PathBuf};

use dataset_common::{tree, write};
use rareclip_datasets::DatasetError;
use rareclip_datasets::{Dataset, Kind, Spec, Truth, read_list};
use tempfile::TempDir;

fn labels(text: &str) -> Result<Truth, DatasetError> {
    let root = tempfile::tempdir().unwrap();
    Truth::read_labels(&write(&root, "labels.csv", text))
}

fn error(text: &str) -> String {
    labels(text).unwrap_err().to_string()
}

#[test]
fn an_image_with_two_labels_is_an_error_that_names_both_lines() {
    let text = error("image,label\na/0.png,0\nb/0.png,1\na/0.png,1\n");
    assert!(
        text.contains("labels.csv, line 4, column `image`")
            && text.contains("\"a/0.png\" is labelled 0 on line 2 and 1 on line 4"),
        "{text}"
    );
    // The same label twice is ambiguous as well: base names repeat over folders.
    let text = error("image,label\n0.png,1\n.\\0.png,1\n");
    assert!(text.contains("on line 2 and 1 on line 3"), "{text}");
}

#[test]
fn labels_are_read_with_a_byte_order_mark_and_other_columns() {
    let truth = labels("\u{feff}label,note,Image\n1,x, b\\0.png \n0,\"two\nlines\",1.png\n");
    let truth = truth.unwrap();
    assert_eq!(truth.find("b/0.png").unwrap().label, Some(true));
    assert_eq!(truth.find("far/away/1.png").unwrap().label, Some(false));
    assert!(truth.find("0.png").is_none());
    assert_eq!(truth.samples().len(), 2);
    for (text, words) in [
        ("image\n0.png\n", "column `label`: there is no such column"),
        (
            "image,label,image\n0.png,1,1.png\n",
            "column `image`: there are several",
        ),
        (
            "image,label\n0.png,2\n",
            "line 2, column `label`: \"2\": expected 0 or 1",
        ),
        ("image,label\n,1\n", "line 2, column `image`: is empty"),
    ] {
        let found = error(text);
        assert!(found.contains(words), "{found}");
    }
}

#[test]
fn the_shared_label_files_are_refused_by_both_lines() {
    let test = "the_shared_label_files_are_refused_by_both_lines";
    let Some(shared) = rareclip_testkit::shared(test) else {
        return;
    };
    let folder = shared.join("cases/labels");
    if !folder.is_dir() {
        rareclip_testkit::skipped(test, "../shared/cases");
        return;
    }
    for (name, words) in [
        (
            "basename.csv",
            "\"000.png\" is labelled 0 on line 2 and 1 on line 8",
        ),
        (
            "dup_conflict.csv",
            "\"test/good/000.png\" is labelled 0 on line 2 and 1 on line 14",
        ),
    ] {
        let text = Truth::read_labels(&folder.join(name))
            .unwrap_err()
            .to_string();
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn two_results_never_share_a_truth() {
    let truth = labels("image,label\n0.png,0\nb/1.png,1\n").unwrap();
    let found = truth
        .matched([(1, "a/0.png"), (3, "b/1.png"), (4, "c/9.png")])
        .unwrap();
    let labels: Vec<_> = found.iter().map(|sample| sample.map(|s| s.label)).collect();
    assert_eq!(labels, [Some(Some(false)), Some(Some(true)), None]);
    let error = truth.matched([(1, "a/0.png"), (3, "b/0.png")]).unwrap_err();
    assert!(
        matches!(
            &error,
            DatasetError::SharedTruth { truth, first_line: 1, second_line: 3, .. } if truth == "0.png"
        ),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("\"a/0.png\" (line 1) and \"b/0.png\" (line 3)"),
        "{text}"
    );
}

/// Two categories with images of the same names.
fn categories() -> TempDir {
    let files = ["bottle", "cable"].map(|category| {
        ["train/good/0.png", "test/good/0.png", "test/cut/0.png"]
            .map(|file| format!("{category}/{file}"))
    });
    let files: Vec<&str> = files.iter().flatten().map(String::as_str).collect();
    tree(&files)
}

fn truth_of(path: PathBuf) -> Truth {
    Truth::of_dataset(&Dataset::open(&Spec::new(Some(Kind::Mvtec), path)).unwrap())
}

#[test]
fn results_of_one_category_do_not_match_the_truth_of_another() {
    let root = categories();
    let truth = truth_of(root.path().join("bottle"));
    let image = |path: &Path, file: &str| path.join(file).display().to_string();
    // In and outside the folder, named from anywhere.
    for fine in [
        "bottle/test/cut/0.png",
        "test/cut/0.png",
        "copy/test/cut/0.png",
        "./test/cut/0.png",
    ] {
        let found = truth.matched([(1, fine)]).unwrap();
        assert_eq!(found[0].unwrap().label, Some(true), "{fine}");
    }
    let whole = image(root.path(), "bottle/test/good/0.png");
    assert_eq!(
        truth.matched([(1, whole.as_str())]).unwrap()[0]
            .unwrap()
            .label,
        Some(false)
    );
    for foreign in [
        "cable/test/cut/0.png".to_owned(),
        image(root.path(), "cable/test/cut/0.png"),
    ] {
        let error = truth.matched([(7, foreign.as_str())]).unwrap_err();
        assert!(
            matches!(error, DatasetError::ForeignCategory { line: 7, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("cable"), "{error}");
    }
    // All categories at once: every result has a truth of its own.
    let truth = truth_of(root.path().to_owned());
    let results = ["bottle/test/cut/0.png", "cable/test/cut/0.png"];
    let found = truth.matched((1..).zip(results)).unwrap();
    let ids: Vec<_> = found
        .iter()
        .map(|sample| sample.unwrap().id.as_str())
        .collect();
    assert_eq!(ids, results);
}

#[test]
fn what_a_manifest_or_list_names_twice_is_refused_with_both_places() {
    let root = tree(&["a.png", "b.png"]);
    let open = |name: &str, text: &str| {
        let file = write(&root, name, text);
        Dataset::open(&Spec::new(Some(Kind::Manifest), file))
            .unwrap_err()
            .to_string()
    };
    let text = open("m.csv", "image,label\na.png,0\nb.png,1\n./a.png,1\n");
    assert!(
        text.contains("line 4") && text.contains("first on line 2"),
        "{text}"
    );
    let text = open(
        "m.jsonl",
        "{\"image\": \"a.png\"}\n\n{\"image\": \"a.png\"}\n",
    );
    assert!(
        text.contains("line 3") && text.contains("first on line 1"),
        "{text}"
    );
    let text = open(
        "k.jsonl",
        "{\"image\": \"a.png\", \"label\": 0, \"label\": 1}\n",
    );
    assert!(
        text.contains("line 1") && text.contains("`label` is given twice"),
        "{text}"
    );
    let list = write(&root, "list.txt", "a.png\nb.png\n\n./a.png\n");
    let text = read_list(&list).unwrap_err().to_string();
    assert!(
        text.contains("line 4") && text.contains("first on line 1"),
        "{text}"
    );
}
