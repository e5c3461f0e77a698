//! Folder layouts become samples, and wrong layouts name the first offending path.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

mod dataset_common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use dataset_common::{
    auto, ids, layout_error, names, only, open, open_spec, row, rows, tree, write,
};
use rareclip_datasets::DatasetError;
use rareclip_datasets::{
    Dataset, Kind, PixelTruth, Saturation, Spec, python_shuffle, select, shuffled,
};
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
        "validation/good/001.png",
        "test/good/000.png",
        "test/scratch/10.png",
        "test/scratch/9.png",
        "ground_truth/scratch/10_mask.png",
        "ground_truth/scratch/9.png",
        "license.txt",
        "test/good/Thumbs.db",
        ".git/config",
    ]);
    let category = only(open(&root, Kind::Mvtec));
    assert_eq!(
        category.name,
        root.path().file_name().unwrap().to_string_lossy()
    );
    assert_eq!(
        rows(&root, &category.train),
        [row("train/good/000.png", false, "good", &[])]
    );
    assert_eq!(ids(&category.validation), ["validation/good/001.png"]);
    assert_eq!(
        rows(&root, &category.test),
        [
            row("test/good/000.png", false, "good", &[]),
            row(
                "test/scratch/9.png",
                true,
                "scratch",
                &["ground_truth/scratch/9.png"]
            ),
            row(
                "test/scratch/10.png",
                true,
                "scratch",
                &["ground_truth/scratch/10_mask.png"]
            ),
        ]
    );
}

#[test]
fn mvtec_root_has_one_category_a_folder() {
    let root = tree(&[
        "cable/test/good/0.png",
        "bottle/test/good/0.png",
        "readme.txt",
    ]);
    let dataset = open(&root, Kind::Mvtec);
    assert_eq!(names(&dataset), ["bottle", "cable"]);
    assert_eq!(ids(&dataset.categories[0].test), ["bottle/test/good/0.png"]);
    assert!(dataset.categories[0].train.is_empty());
}

#[test]
fn categories_can_be_chosen_and_the_others_are_not_looked_at() {
    let root = tree(&[
        "bottle/test/good/0.png",
        "cable/images/0.png",
        "tile/test/good/0.png",
    ]);
    let chosen = open_spec("mvtec", &root, "?category=tile,bottle").unwrap();
    assert_eq!(names(&chosen), ["bottle", "tile"]);
    let spec = Spec::new(Some(Kind::Mvtec), root.path()).only(["tile"]);
    assert_eq!(names(&Dataset::open(&spec).unwrap()), ["tile"]);
}

#[test]
fn an_unknown_category_is_answered_with_the_nearest() {
    let root = tree(&["bottle/test/good/0.png", "cable/test/good/0.png"]);
    let error = open_spec("mvtec", &root, "?category=botle").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no category `botle`; did you mean `bottle`?; categories: bottle, cable"
    );
}

#[test]
fn mvtec_without_ground_truth_has_no_masks_and_unknown_defect_pixels() {
    let root = tree(&["test/good/0.png", "test/dent/0.png"]);
    let category = only(open(&root, Kind::Mvtec));
    let [dent, good] = category.test.as_slice() else {
        panic!()
    };
    assert!(dent.mask.is_none());
    assert_eq!(dent.pixel_truth(), PixelTruth::Unknown);
    assert_eq!(good.pixel_truth(), PixelTruth::Normal);
}

#[test]
fn masks_of_normal_classes_may_lie_about() {
    let root = tree(&["test/good/0.png", "ground_truth/good/0.png"]);
    assert!(only(open(&root, Kind::Mvtec)).test[0].mask.is_none());
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
            &["test/good/0.png", "validation/dent/0.png"],
            "validation/dent",
        ),
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
        (
            &[
                "test/dent/0.png",
                "ground_truth/dent/0_mask.png",
                "ground_truth/dent/10_mask.png",
                "ground_truth/dent/9_mask.png",
            ],
            "ground_truth/dent/9_mask.png",
        ),
        (
            &[
                "test/dent/0.png",
                "ground_truth/dent/0_mask.png",
                "ground_truth/cut/0_mask.png",
            ],
            "ground_truth/cut",
        ),
        (
            &["test/dent/0.png", "ground_truth/dent/0/000.png"],
            "ground_truth/dent/0",
        ),
        (&["notes.md"], ""),
    ] {
        let (path, message) = layout_error(Kind::Mvtec, &tree(files));
        assert_eq!(path, offending, "{files:?}");
        assert!(
            message.contains("expected layout:") && message.contains("test/<defect>"),
            "{message}"
        );
    }
}

#[test]
fn mpdd_needs_masks() {
    let files = ["tubes/test/good/0.png", "tubes/test/anomalous/0.png"];
    let (path, _) = layout_error(Kind::Mpdd, &tree(&files));
    assert_eq!(path, "tubes/ground_truth");
    let root = tree(&[&files[..], &["tubes/ground_truth/anomalous/0_mask.png"]].concat());
    let category = only(open(&root, Kind::Mpdd));
    assert_eq!(category.name, "tubes");
    assert_eq!(category.test.len(), 2);
}

#[test]
fn btad_has_ok_and_ko_with_masks_of_the_same_stem() {
    let root = tree(&[
        "01/train/ok/0000.bmp",
        "01/test/ok/0001.bmp",
        "01/test/ko/0002.bmp",
        "01/ground_truth/ko/0002.png",
        "03/train/ok/0000.bmp",
        "03/test/ok/0001.bmp",
        "03/test/ko/0002.bmp",
        "03/ground_truth/ko/0002.bmp",
    ]);
    let dataset = open(&root, Kind::Btad);
    assert_eq!(names(&dataset), ["01", "03"]);
    assert_eq!(
        rows(&root, &dataset.categories[0].train),
        [row("01/train/ok/0000.bmp", false, "good", &[])]
    );
    assert_eq!(
        rows(&root, &dataset.categories[1].test),
        [
            row(
                "03/test/ko/0002.bmp",
                true,
                "ko",
                &["03/ground_truth/ko/0002.bmp"]
            ),
            row("03/test/ok/0001.bmp", false, "good", &[]),
        ]
    );
}

const AD2: [&str; 7] = [
    "can/train/good/000.png",
    "can/validation/good/000.png",
    "can/test_public/good/000.png",
    "can/test_public/bad/000.png",
    "can/test_public/ground_truth/bad/000_mask.png",
    "can/test_private/000.png",
    "can/test_private_mixed/001.png",
];

#[test]
fn mvtec_ad2_scores_the_public_test_images() {
    let root = tree(&AD2);
    let can = only(open(&root, Kind::MvtecAd2));
    assert_eq!(ids(&can.train), ["can/train/good/000.png"]);
    assert_eq!(ids(&can.validation), ["can/validation/good/000.png"]);
    let mask = "can/test_public/ground_truth/bad/000_mask.png";
    assert_eq!(
        rows(&root, &can.test),
        [
            row("can/test_public/bad/000.png", true, "bad", &[mask]),
            row("can/test_public/good/000.png", false, "good", &[]),
        ]
    );
}

#[test]
fn mvtec_ad2_private_test_images_are_unlabelled() {
    let root = tree(&AD2);
    for (option, id) in [
        ("private", "can/test_private/000.png"),
        ("private-mixed", "can/test_private_mixed/001.png"),
    ] {
        let can = only(open_spec("mvtec-ad2", &root, &format!("?test={option}")).unwrap());
        assert_eq!(rows(&root, &can.test), [row(id, None, "unlabelled", &[])]);
        assert_eq!(can.test[0].pixel_truth(), PixelTruth::Unknown);
    }
}

#[test]
fn wrong_mvtec_ad2_layouts_name_the_first_offending_path() {
    for (files, offending) in [
        (&["can/train/good/0.png"][..], "can/test_public"),
        (
            &["can/test_public/good/0.png", "can/test_public/bad/0.png"],
            "can/test_public/ground_truth",
        ),
    ] {
        assert_eq!(layout_error(Kind::MvtecAd2, &tree(files)).0, offending);
    }
}

const LOCO: [&str; 8] = [
    "pushpins/train/good/000.png",
    "pushpins/validation/good/000.png",
    "pushpins/test/good/000.png",
    "pushpins/test/logical_anomalies/000.png",
    "pushpins/test/structural_anomalies/000.png",
    "pushpins/ground_truth/logical_anomalies/000/000.png",
    "pushpins/ground_truth/logical_anomalies/000/001.png",
    "pushpins/ground_truth/structural_anomalies/000/000.png",
];

#[test]
fn loco_merges_the_masks_of_an_image_and_knows_saturation_areas() {
    let root = tree(&LOCO);
    write(
        &root,
        "pushpins/defects_config.json",
        r#"[{"defect_name": "missing_pushpin", "pixel_value": 254, "saturation_threshold": 6300, "relative_saturation": false},
            {"defect_name": "broken", "pixel_value": 253, "saturation_threshold": 0.5, "relative_saturation": true}]"#,
    );
    let category = only(open(&root, Kind::MvtecLoco));
    let masks = "pushpins/ground_truth";
    assert_eq!(
        rows(&root, &category.test),
        [
            row("pushpins/test/good/000.png", false, "good", &[]),
            row(
                "pushpins/test/logical_anomalies/000.png",
                true,
                "logical_anomalies",
                &[
                    &format!("{masks}/logical_anomalies/000/000.png"),
                    &format!("{masks}/logical_anomalies/000/001.png"),
                ]
            ),
            row(
                "pushpins/test/structural_anomalies/000.png",
                true,
                "structural_anomalies",
                &[&format!("{masks}/structural_anomalies/000/000.png")]
            ),
        ]
    );
    let saturation = |defect: &str, pixel_value, threshold, relative| Saturation {
        defect: defect.to_owned(),
        pixel_value,
        threshold,
        relative,
    };
    assert_eq!(
        category.saturations,
        [
            saturation("missing_pushpin", 254, 6300.0, false),
            saturation("broken", 253, 0.5, true)
        ]
    );
}

#[test]
fn wrong_loco_layouts_name_the_first_offending_path() {
    let with = |changes: &[&str]| {
        let files: Vec<&str> = LOCO.into_iter().chain(changes.iter().copied()).collect();
        tree(&files)
    };
    let masks = "pushpins/ground_truth/logical_anomalies";
    let image = "pushpins/test/logical_anomalies/001.png";
    assert_eq!(layout_error(Kind::MvtecLoco, &with(&[image])).0, image);
    let orphan = format!("{masks}/002");
    let (path, message) = layout_error(Kind::MvtecLoco, &with(&[&format!("{orphan}/000.png")]));
    assert_eq!(path, orphan);
    assert!(message.contains("a mask without an image"), "{message}");
    let flat = format!("{masks}/000.png");
    assert_eq!(layout_error(Kind::MvtecLoco, &with(&[&flat])).0, flat);
    let empty = format!("{masks}/001");
    let root = with(&[image, &format!("{empty}/readme.txt")]);
    assert_eq!(layout_error(Kind::MvtecLoco, &root).0, empty);
}

#[test]
fn a_damaged_saturation_file_is_named_with_the_line() {
    let root = tree(&LOCO);
    let file = write(
        &root,
        "pushpins/defects_config.json",
        "[\n{\"pixel_value\": 300}]",
    );
    let error = auto(root.path()).unwrap_err();
    assert!(
        matches!(&error, DatasetError::Json { file: found, place, .. } if *found == file && place == "line 2"),
        "{error}"
    );
}

#[test]
fn plain_folder_takes_normal_names_and_calls_the_rest_defects() {
    let root = tree(&["OK/1.jpg", "cut/1.JPG", "ground_truth/cut/1.png"]);
    assert_eq!(
        rows(&root, &only(open(&root, Kind::Folder)).test),
        [
            row("OK/1.jpg", false, "good", &[]),
            row("cut/1.JPG", true, "cut", &["ground_truth/cut/1.png"]),
        ]
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
        (
            &["good/0.png", "ground_truth/cut/0.png"],
            "ground_truth/cut",
        ),
    ] {
        let (path, message) = layout_error(Kind::Folder, &tree(files));
        assert_eq!(path, offending, "{files:?}");
        assert!(message.contains("<root>/good/<image>"), "{message}");
    }
}

#[test]
fn images_without_labels_are_found_in_subfolders_in_natural_order() {
    let root = tree(&["img10.png", "img2.png", "b/0.png", "notes.md", ".x/0.png"]);
    assert_eq!(
        rows(&root, &only(open(&root, Kind::Images)).test),
        ["b/0.png", "img2.png", "img10.png"].map(|id| row(id, None, "unlabelled", &[]))
    );
    assert_eq!(layout_error(Kind::Images, &tree(&["a/notes.md"])).0, "");
}

#[test]
fn a_missing_root_is_an_io_error_with_its_path() {
    for kind in [None, Some(Kind::Mvtec), Some(Kind::Images)] {
        let error = Dataset::open(&Spec::new(kind, "no/such/folder")).unwrap_err();
        assert!(
            matches!(&error, DatasetError::Io { path, .. } if path == Path::new("no/such/folder")),
            "{error}"
        );
    }
}

#[test]
fn a_list_selects_and_orders() {
    let root = tree(&["test/good/0.png", "test/good/1.png", "test/cut/2.png"]);
    let list = write(
        &root,
        "list.txt",
        "\u{feff}./test/good/1.png\r\n\r\ntest\\cut\\2.png\n",
    );
    let samples = only(open(&root, Kind::Mvtec)).test;
    assert_eq!(
        ids(&select(&samples, &list).unwrap()),
        ["test/good/1.png", "test/cut/2.png"]
    );
}

#[test]
fn a_bad_list_names_the_line() {
    let root = tree(&["test/good/0.png"]);
    let samples = only(open(&root, Kind::Mvtec)).test;
    for (text, bad_line) in [
        ("test/good/0.png\n\ntest/good/9.png\n", 3),
        ("test/good/0.png\ntest/good/0.png\n", 2),
        ("\n", 1),
    ] {
        let list = write(&root, "list.txt", text);
        let error = select(&samples, &list).unwrap_err();
        assert!(
            matches!(error, DatasetError::ListEntry { line, .. } if line == bad_line),
            "{error}"
        );
    }
}

#[test]
fn magnetic_tile_has_its_documented_counts() {
    let Some(shared) = shared("magnetic_tile_has_its_documented_counts") else {
        return;
    };
    let dataset = auto(&shared.join("data/magnetic-tile")).unwrap();
    assert_eq!(dataset.kind, Kind::Mvtec);
    let category = only(dataset);
    assert_eq!(category.name, "magnetic-tile");
    assert_eq!((category.train.len(), category.test.len()), (60, 238));
    let mut counts = BTreeMap::<&str, usize>::new();
    for sample in &category.test {
        *counts.entry(&sample.defect).or_default() += 1;
        assert_eq!(
            !sample.mask.is_none(),
            sample.label == Some(true),
            "{}",
            sample.id
        );
        assert!(sample.mask.files().iter().all(|mask| mask.is_file()));
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
    let test = only(auto(&root).unwrap()).test;
    for seed in 0..3 {
        let list = root.join(format!("order-seed{seed}.txt"));
        assert_eq!(select(&test, &list).unwrap(), shuffled(&test, seed));
    }
}

#[test]
fn a_saturation_that_no_region_can_have_is_named_with_its_place() {
    for (threshold, relative) in [("0", false), ("-5", false), ("1.5", true), ("0.0", true)] {
        let root = tree(&LOCO);
        let entry = |threshold: &str, relative: bool| {
            format!(
                r#"{{"defect_name": "a", "pixel_value": 254, "saturation_threshold": {threshold}, "relative_saturation": {relative}}}"#
            )
        };
        let text = format!("[{}, {}]", entry("1", true), entry(threshold, relative));
        std::fs::write(root.path().join("pushpins/defects_config.json"), text).unwrap();
        let error = Dataset::open(&Spec::new(Some(Kind::MvtecLoco), root.path())).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("defects_config.json, [1].saturation_threshold"),
            "{text}"
        );
    }
}
