//! Folder layouts become samples, and wrong layouts name the first offending path.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rareclip_eval::EvalError;
use rareclip_eval::dataset::{Category, Dataset, Layout, Sample, python_shuffle, select, shuffled};
use tempfile::TempDir;

/// A folder with empty files; readers never look inside them.
fn tree(files: &[&str]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
    root
}

fn ids(samples: &[Sample]) -> Vec<&str> {
    samples.iter().map(|sample| sample.id.as_str()).collect()
}

fn only(dataset: Dataset) -> Category {
    let [category] = dataset.categories.try_into().unwrap();
    category
}

/// The offending path, relative to `root`, and the whole message.
fn layout_error(root: &Path) -> (String, String) {
    let error = Dataset::open(root).unwrap_err();
    let message = error.to_string();
    let EvalError::Layout { path, .. } = error else {
        panic!("{message}");
    };
    (
        path.strip_prefix(root)
            .unwrap()
            .to_string_lossy()
            .replace('\\', "/"),
        message,
    )
}

use rareclip_testkit::shared;

#[test]
fn python_shuffle_matches_every_golden_case() {
    #[derive(serde::Deserialize)]
    struct Case {
        seed: u64,
        n: usize,
        order: Vec<usize>,
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/dataset_order/python_shuffle.json");
    let cases: Vec<Case> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(cases.len(), 30);
    for case in cases {
        assert_eq!(
            python_shuffle(case.seed, case.n),
            case.order,
            "seed {} n {}",
            case.seed,
            case.n
        );
    }
}

#[test]
fn python_shuffle_takes_seeds_of_more_than_32_bits() {
    assert_eq!(python_shuffle(1 << 40, 8), [6, 7, 4, 3, 0, 5, 2, 1]);
    assert_eq!(python_shuffle(u64::MAX, 8), [5, 7, 3, 6, 4, 2, 1, 0]);
}

#[test]
fn mvtec_category_has_train_test_and_masks() {
    let root = tree(&[
        "train/good/000.png",
        "test/good/000.png",
        "test/scratch/10.png",
        "test/scratch/9.png",
        "ground_truth/scratch/10_mask.png",
        "ground_truth/scratch/9.png",
        "license.txt",
        "test/good/Thumbs.db",
        ".git/config",
    ]);
    let dataset = Dataset::open(root.path()).unwrap();
    assert_eq!(dataset.layout, Layout::Mvtec);
    let category = only(dataset);
    assert_eq!(
        category.name,
        root.path().file_name().unwrap().to_string_lossy()
    );
    assert_eq!(ids(&category.train), ["train/good/000.png"]);
    assert_eq!(
        ids(&category.test),
        [
            "test/good/000.png",
            "test/scratch/9.png",
            "test/scratch/10.png"
        ]
    );
    let [good, nine, ten] = category.test.as_slice() else {
        panic!()
    };
    assert_eq!(
        (good.label, good.kind.as_str(), &good.mask),
        (Some(false), "good", &None)
    );
    assert_eq!((nine.label, nine.kind.as_str()), (Some(true), "scratch"));
    assert_eq!(nine.path, root.path().join("test/scratch/9.png"));
    assert_eq!(
        nine.mask,
        Some(root.path().join("ground_truth/scratch/9.png"))
    );
    assert_eq!(
        ten.mask,
        Some(root.path().join("ground_truth/scratch/10_mask.png"))
    );
}

#[test]
fn mvtec_root_has_one_category_a_folder() {
    let root = tree(&[
        "cable/test/good/0.png",
        "bottle/test/good/0.png",
        "readme.txt",
    ]);
    let dataset = Dataset::open(root.path()).unwrap();
    let names: Vec<&str> = dataset.categories.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["bottle", "cable"]);
    assert_eq!(ids(&dataset.categories[0].test), ["bottle/test/good/0.png"]);
    assert!(dataset.categories[0].train.is_empty());
}

#[test]
fn a_set_without_ground_truth_has_no_masks() {
    let root = tree(&["test/good/0.png", "test/dent/0.png"]);
    assert!(
        only(Dataset::open(root.path()).unwrap())
            .test
            .iter()
            .all(|s| s.mask.is_none())
    );
}

#[test]
fn wrong_mvtec_layouts_name_the_first_offending_path() {
    for (files, offending) in [
        (&["train/good/0.png"][..], "test"),
        (&["a/test/good/0.png", "b/images/0.png"], "b/test"),
        (&["test/0.png", "test/good/0.png"], "test/0.png"),
        (&["test/good/0.txt"], "test/good"),
        (&["test/good/deep/0.png"], "test/good/deep"),
        (&["test/readme.txt"], "test"),
        (&["test/good/0.png", "train/dent/0.png"], "train/dent"),
        (
            &["test/dent/0.png", "ground_truth/cut/0.png"],
            "ground_truth/dent",
        ),
        (
            &[
                "test/dent/0.png",
                "test/dent/1.png",
                "ground_truth/dent/0_mask.png",
            ],
            "test/dent/1.png",
        ),
    ] {
        let (path, message) = layout_error(tree(files).path());
        assert_eq!(path, offending, "{files:?}");
        assert!(
            message.contains("expected layout:") && message.contains("test/<defect>"),
            "{message}"
        );
    }
}

#[test]
fn plain_folder_takes_normal_names_and_calls_the_rest_defects() {
    let root = tree(&["OK/1.jpg", "cut/1.JPG", "ground_truth/cut/1.png"]);
    let dataset = Dataset::open(root.path()).unwrap();
    assert_eq!(dataset.layout, Layout::Folder);
    let category = only(dataset);
    assert_eq!(ids(&category.test), ["OK/1.jpg", "cut/1.JPG"]);
    assert_eq!(
        (category.test[0].label, category.test[0].kind.as_str()),
        (Some(false), "good")
    );
    assert_eq!(
        (category.test[1].label, category.test[1].kind.as_str()),
        (Some(true), "cut")
    );
    assert_eq!(
        category.test[1].mask,
        Some(root.path().join("ground_truth/cut/1.png"))
    );
}

#[test]
fn flat_folder_is_unlabelled_and_naturally_sorted() {
    let root = tree(&["img10.png", "img2.png", "notes.md"]);
    let category = only(Dataset::open(root.path()).unwrap());
    assert_eq!(ids(&category.test), ["img2.png", "img10.png"]);
    assert!(
        category
            .test
            .iter()
            .all(|s| s.label.is_none() && s.kind == "unlabelled")
    );
}

#[test]
fn wrong_plain_folders_name_the_first_offending_path() {
    for (files, offending) in [
        (&["good/0.png", "1.png"][..], "1.png"),
        (&["monday/0.png", "tuesday/0.png"], "monday"),
        (&["notes.md"], ""),
        (&["good/0.png", "cut/deep/0.png"], "cut/deep"),
        (
            &["good/0.png", "cut/0.png", "ground_truth/good/0.png"],
            "ground_truth/cut",
        ),
    ] {
        let (path, message) = layout_error(tree(files).path());
        assert_eq!(path, offending, "{files:?}");
        assert!(message.contains("<root>/good/<image>"), "{message}");
    }
}

#[test]
fn a_missing_root_is_an_io_error_with_its_path() {
    let error = Dataset::open(Path::new("no/such/folder")).unwrap_err();
    assert!(
        matches!(&error, EvalError::Io { path, .. } if path == Path::new("no/such/folder")),
        "{error}"
    );
}

#[test]
fn a_list_selects_and_orders() {
    let root = tree(&["test/good/0.png", "test/good/1.png", "test/cut/2.png"]);
    let list = root.path().join("list.txt");
    fs::write(&list, "\u{feff}./test/good/1.png\r\n\r\ntest\\cut\\2.png\n").unwrap();
    let samples = only(Dataset::open(root.path()).unwrap()).test;
    assert_eq!(
        ids(&select(&samples, &list).unwrap()),
        ["test/good/1.png", "test/cut/2.png"]
    );
}

#[test]
fn a_bad_list_names_the_line() {
    let root = tree(&["test/good/0.png"]);
    let list = root.path().join("list.txt");
    let samples = only(Dataset::open(root.path()).unwrap()).test;
    for (text, bad_line) in [
        ("test/good/0.png\n\ntest/good/9.png\n", 3),
        ("test/good/0.png\ntest/good/0.png\n", 2),
        ("\n", 1),
    ] {
        fs::write(&list, text).unwrap();
        let error = select(&samples, &list).unwrap_err();
        assert!(
            matches!(error, EvalError::ListEntry { line, .. } if line == bad_line),
            "{error}"
        );
    }
}

#[test]
fn magnetic_tile_has_its_documented_counts() {
    let Some(shared) = shared("magnetic_tile_has_its_documented_counts") else {
        return;
    };
    let category = only(Dataset::open(&shared.join("data/magnetic-tile")).unwrap());
    assert_eq!((category.train.len(), category.test.len()), (60, 238));
    let mut counts = BTreeMap::<&str, usize>::new();
    for sample in &category.test {
        *counts.entry(&sample.kind).or_default() += 1;
        assert_eq!(
            sample.mask.is_some(),
            sample.label == Some(true),
            "{}",
            sample.id
        );
        assert!(sample.mask.iter().all(|mask| mask.is_file()));
    }
    let expected = [
        ("blowhole", 30),
        ("break", 30),
        ("crack", 30),
        ("fray", 18),
        ("good", 100),
        ("uneven", 30),
    ];
    assert_eq!(counts, BTreeMap::from(expected));
}

#[test]
fn magnetic_tile_orders_are_the_seeded_shuffles_of_its_test_images() {
    let test_name = "magnetic_tile_orders_are_the_seeded_shuffles_of_its_test_images";
    let Some(shared) = shared(test_name) else {
        return;
    };
    let root = shared.join("data/magnetic-tile");
    let test = only(Dataset::open(&root).unwrap()).test;
    for seed in 0..3 {
        let list = root.join(format!("order-seed{seed}.txt"));
        assert_eq!(select(&test, &list).unwrap(), shuffled(&test, seed));
    }
}
