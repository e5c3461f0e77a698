//! Data sets whose splits stand in a file: VisA, Real-IAD, ELPV, manifests.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

mod dataset_common;

use dataset_common::{
    auto, ids, layout_error, names, only, open, open_spec, row, rows, tree, write,
};
use rareclip_datasets::DatasetError;
use rareclip_datasets::{Dataset, Kind, Spec};
use tempfile::TempDir;

const VISA: [&str; 6] = [
    "candle/Data/Images/Normal/0836.JPG",
    "candle/Data/Images/Normal/0007.JPG",
    "candle/Data/Images/Anomaly/000.JPG",
    "candle/Data/Masks/Anomaly/000.png",
    "pcb1/Data/Images/Normal/0001.JPG",
    "LICENSE-DATASET",
];
const VISA_CSV: &str = "object,split,label,image,mask
candle,train,normal,candle/Data/Images/Normal/0836.JPG,
candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png
candle,test,normal,candle/Data/Images/Normal/0007.JPG,
pcb1,test,normal,pcb1/Data/Images/Normal/0001.JPG,
";

fn visa(csv: &str) -> TempDir {
    let root = tree(&VISA);
    write(&root, "split_csv/1cls.csv", csv);
    root
}

/// File (its name), line and column of a mistake in a table, and the message.
fn row_error(error: DatasetError) -> (String, u64, String, String) {
    let message = error.to_string();
    let DatasetError::Row {
        file, line, column, ..
    } = error
    else {
        panic!("{message}");
    };
    let file = file.file_name().unwrap().to_string_lossy().into_owned();
    assert!(message.contains(&format!("line {line}, column `{column}`")));
    (file, line, column, message)
}

#[test]
fn visa_as_published_is_read_by_its_split_in_its_order() {
    let root = visa(VISA_CSV);
    for dataset in [open(&root, Kind::Visa), auto(root.path()).unwrap()] {
        assert_eq!(names(&dataset), ["candle", "pcb1"]);
        let candle = &dataset.categories[0];
        assert_eq!(
            rows(&root, &candle.train),
            [row(
                "candle/Data/Images/Normal/0836.JPG",
                false,
                "good",
                &[]
            )]
        );
        assert_eq!(
            rows(&root, &candle.test),
            [
                row(
                    "candle/Data/Images/Anomaly/000.JPG",
                    true,
                    "anomalous",
                    &["candle/Data/Masks/Anomaly/000.png"]
                ),
                row("candle/Data/Images/Normal/0007.JPG", false, "good", &[]),
            ]
        );
    }
}

#[test]
fn one_category_of_visa_as_published_finds_the_split_above_it() {
    let root = visa(VISA_CSV);
    let dataset = auto(&root.path().join("pcb1")).unwrap();
    assert_eq!(
        (dataset.kind, dataset.root.as_path()),
        (Kind::Visa, root.path())
    );
    let pcb1 = only(dataset);
    assert_eq!(pcb1.name, "pcb1");
    assert_eq!(ids(&pcb1.test), ["pcb1/Data/Images/Normal/0001.JPG"]);
}

#[test]
fn split_visa_is_read_with_and_without_its_folder_1cls() {
    let files = |prefix: &str| {
        [
            "candle/train/good/0836.JPG",
            "candle/test/good/0007.JPG",
            "candle/test/bad/000.JPG",
            "candle/ground_truth/bad/000.png",
        ]
        .map(|file| format!("{prefix}{file}"))
    };
    for prefix in ["", "1cls/"] {
        let files = files(prefix);
        let root = tree(&files.each_ref().map(String::as_str));
        let candle = only(open(&root, Kind::Visa));
        assert_eq!(candle.name, "candle");
        assert_eq!(
            rows(&root, &candle.test),
            [
                row(&files[2], true, "bad", &[&files[3]]),
                row(&files[1], false, "good", &[]),
            ]
        );
    }
}

#[test]
fn a_wrong_split_of_visa_names_line_and_column() {
    let line = |line: &str| format!("object,split,label,image,mask\n{line}\n");
    let image = "pcb1/Data/Images/Normal/0001.JPG";
    for (csv, bad_line, bad_column) in [
        ("object,split,label,image\n".to_owned(), 1, "mask"),
        (line(&format!("pcb1,valid,normal,{image},")), 2, "split"),
        (line(&format!("pcb1,test,good,{image},")), 2, "label"),
        (line("pcb1,test,normal,pcb1/0.JPG,"), 2, "image"),
        (line(&format!("pcb1,test,anomaly,{image},")), 2, "mask"),
        (
            line(&format!("pcb1,test,anomaly,{image},{image}.png")),
            2,
            "mask",
        ),
        (line("pcb1,test,normal,../x.JPG,"), 2, "image"),
        (
            line(&format!(
                "pcb1,test,normal,{image},\npcb1,train,normal,{image},"
            )),
            3,
            "image",
        ),
        (line("pcb1,test"), 2, "(whole line)"),
    ] {
        let root = visa(&csv);
        let error = Dataset::open(&Spec::new(Some(Kind::Visa), root.path())).unwrap_err();
        let (file, found_line, column, message) = row_error(error);
        assert_eq!(
            (file.as_str(), found_line, column.as_str()),
            ("1cls.csv", bad_line, bad_column),
            "{message}"
        );
    }
}

#[test]
fn a_category_without_test_images_is_refused() {
    let root = visa(
        "object,split,label,image,mask\npcb1,train,normal,pcb1/Data/Images/Normal/0001.JPG,\n",
    );
    let (path, message) = layout_error(Kind::Visa, &root);
    assert_eq!(path, "pcb1");
    assert!(message.contains("no test images"), "{message}");
}

const REAL_IAD: [&str; 4] = [
    "realiad_512/toy/OK/S0001/toy_0001_OK_C1_20230922.jpg",
    "realiad_512/toy/OK/S0001/toy_0001_OK_C2_20230922.jpg",
    "realiad_512/toy/NG/HS/S0002/toy_0002_NG_HS_C1_20230923.jpg",
    "realiad_512/toy/NG/HS/S0002/toy_0002_NG_HS_C1_20230923_mask.png",
];
const REAL_IAD_JSON: &str = r#"{
  "meta": {"prefix": "toy/", "normal_class": "OK", "pre_transform": {}},
  "train": [{"category": "toy", "anomaly_class": "OK", "image_path": "OK/S0001/toy_0001_OK_C1_20230922.jpg", "mask_path": null}],
  "test": [
    {"category": "toy", "anomaly_class": "OK", "image_path": "OK/S0001/toy_0001_OK_C2_20230922.jpg", "mask_path": null},
    {"category": "toy", "anomaly_class": "HS", "image_path": "NG/HS/S0002/toy_0002_NG_HS_C1_20230923.jpg",
     "mask_path": "NG/HS/S0002/toy_0002_NG_HS_C1_20230923_mask.png"}
  ]
}"#;

fn real_iad(folder: &str, json: &str) -> TempDir {
    let root = tree(&REAL_IAD);
    write(&root, &format!("{folder}/toy.json"), json);
    root
}

#[test]
fn real_iad_is_read_by_its_json_splits() {
    for folder in ["realiad_jsons", "realiad_jsons/realiad_jsons"] {
        let root = real_iad(folder, REAL_IAD_JSON);
        let dataset = auto(root.path()).unwrap();
        assert_eq!(dataset.kind, Kind::RealIad);
        let toy = only(dataset);
        assert_eq!(toy.name, "toy");
        assert_eq!(
            rows(&root, &toy.train),
            [row(REAL_IAD[0], false, "good", &[])]
        );
        assert_eq!(
            rows(&root, &toy.test),
            [
                row(REAL_IAD[1], false, "good", &[]),
                row(REAL_IAD[2], true, "HS", &[REAL_IAD[3]]),
            ]
        );
    }
}

#[test]
fn real_iad_without_a_prefix_takes_the_name_of_the_category() {
    let root = real_iad(
        "realiad_jsons",
        &REAL_IAD_JSON.replace("\"prefix\": \"toy/\", ", ""),
    );
    assert_eq!(only(open(&root, Kind::RealIad)).test.len(), 2);
}

#[test]
fn real_iad_takes_one_view_or_another_split() {
    let root = real_iad("realiad_jsons", REAL_IAD_JSON);
    let single = REAL_IAD_JSON
        .replace("_C2_", "_C1_")
        .replace("\"train\": [{", "\"none\": [{");
    write(&root, "realiad_jsons/realiad_jsons_sv/toy.json", &single);
    let view = only(open_spec("real-iad", &root, "?view=C1").unwrap());
    assert_eq!((view.train.len(), ids(&view.test)), (1, vec![REAL_IAD[2]]));
    let other = only(open_spec("real-iad", &root, "?json=realiad_jsons_sv").unwrap());
    assert_eq!(ids(&other.test), [REAL_IAD[0], REAL_IAD[2]]);
    assert!(other.train.is_empty());
}

#[test]
fn several_sizes_of_real_iad_must_be_chosen_from() {
    let root = real_iad("realiad_jsons", REAL_IAD_JSON);
    write(&root, "realiad_256/toy/readme.txt", "");
    let (path, message) = layout_error(Kind::RealIad, &root);
    assert_eq!(path, "realiad_512");
    assert!(message.contains("?images=NAME"), "{message}");
    let chosen = open_spec("real-iad", &root, "?images=realiad_512&category=toy").unwrap();
    assert_eq!(only(chosen).test.len(), 2);
}

#[test]
fn a_wrong_split_of_real_iad_names_the_entry() {
    for (from, to, place) in [
        (
            "S0001/toy_0001_OK_C2",
            "S0009/toy_0001_OK_C2",
            "test[0].image_path",
        ),
        ("_mask.png\"", "_musk.png\"", "test[1].mask_path"),
        (
            "\"NG/HS/S0002/toy_0002_NG_HS_C1_20230923_mask.png\"",
            "null",
            "test[1].mask_path",
        ),
        ("OK/S0001/toy_0001_OK_C1", "../x", "train[0].image_path"),
        ("_OK_C2_", "_OK_C1_", "test[0].image_path"),
        ("\"image_path\"", "\"image\"", "line 3"),
    ] {
        let root = real_iad("realiad_jsons", &REAL_IAD_JSON.replacen(from, to, 1));
        let error = auto(root.path()).unwrap_err();
        assert!(
            matches!(&error, DatasetError::Json { file, place: found, .. } if file.ends_with("toy.json") && found == place),
            "{error}"
        );
    }
    let (path, _) = layout_error(Kind::RealIad, &tree(&REAL_IAD));
    assert_eq!(path, "realiad_jsons");
    let root = tree(&[]);
    write(&root, "realiad_jsons/toy.json", REAL_IAD_JSON);
    assert_eq!(layout_error(Kind::RealIad, &root).0, "realiad_1024");
}

fn elpv(labels: &str) -> TempDir {
    let root = tree(&[
        "images/cell0001.png",
        "images/cell0002.png",
        "images/cell0003.png",
        "images/cell0004.png",
    ]);
    write(&root, "labels.csv", labels);
    root
}

const ELPV: &str = "images/cell0001.png  1.0                 mono
images/cell0002.png  0.0                 mono
images/cell0003.png  0.3333333333333333  poly
images/cell0004.png  0.6666666666666666  poly
";

#[test]
fn elpv_cells_are_anomalous_from_a_probability_of_one_half() {
    let root = elpv(ELPV);
    let dataset = auto(root.path()).unwrap();
    assert_eq!(
        (dataset.kind, names(&dataset)),
        (Kind::Elpv, vec!["mono", "poly"])
    );
    assert_eq!(
        rows(&root, &dataset.categories[0].test),
        [
            row("images/cell0001.png", true, "defect-1.00", &[]),
            row("images/cell0002.png", false, "good", &[]),
        ]
    );
    let poly = only(open_spec("elpv", &root, "?category=poly").unwrap());
    assert_eq!(
        rows(&root, &poly.test),
        [
            row("images/cell0003.png", false, "good", &[]),
            row("images/cell0004.png", true, "defect-0.67", &[]),
        ]
    );
}

#[test]
fn wrong_elpv_labels_name_line_and_column() {
    for (line, column) in [
        ("images/cell0003.png 0.5", "(whole line)"),
        ("images/cell0003.png 1.5 poly", "probability"),
        ("images/cell0003.png nan poly", "probability"),
        ("images/cell0003.png 0.5 thin", "type"),
        ("images/cell0009.png 0.5 poly", "image"),
        ("images/cell0001.png 0.5 poly", "image"),
    ] {
        let root = elpv(&format!("images/cell0001.png 0 mono\n\n{line}\n"));
        let (file, found, bad_column, message) = row_error(auto(root.path()).unwrap_err());
        assert_eq!(
            (file.as_str(), found, bad_column.as_str()),
            ("labels.csv", 3, column),
            "{message}"
        );
    }
    assert_eq!(
        layout_error(Kind::Elpv, &tree(&["images/0.png"])).0,
        "labels.csv"
    );
}

const MANIFEST_IMAGES: [&str; 5] = ["a/0.png", "a/1.png", "a/2.png", "b/0.png", "m/1.png"];

fn manifest(name: &str, text: &str) -> (TempDir, Result<Dataset, DatasetError>) {
    let root = tree(&MANIFEST_IMAGES);
    let file = write(&root, name, text);
    let dataset = Dataset::open(&Spec::new(None, file));
    (root, dataset)
}

#[test]
fn a_csv_manifest_has_labels_masks_splits_categories_and_defects() {
    let (root, dataset) = manifest(
        "parts.csv",
        "\u{feff}Image, label, mask, split, category, defect, camera\n\
         a/2.png, normal, , train, lid, , left\n\
         ./a/1.png, 1, m/1.png, test, lid, dent, left\n\
         a\\0.png, 0, , , lid, good,\n\
         b/0.png, , , , , ,\n",
    );
    let dataset = dataset.unwrap();
    assert_eq!(
        (dataset.kind, dataset.root.as_path()),
        (Kind::Manifest, root.path())
    );
    assert_eq!(names(&dataset), ["lid", "parts"]);
    let [lid, parts] = dataset.categories.as_slice() else {
        panic!()
    };
    assert_eq!(
        rows(&root, &lid.train),
        [row("a/2.png", false, "good", &[])]
    );
    assert_eq!(
        rows(&root, &lid.test),
        [
            row("a/1.png", true, "dent", &["m/1.png"]),
            row("a/0.png", false, "good", &[]),
        ]
    );
    assert_eq!(
        rows(&root, &parts.test),
        [row("b/0.png", None, "unlabelled", &[])]
    );
}

#[test]
fn a_jsonl_manifest_has_the_same_keys() {
    let (root, dataset) = manifest(
        "parts.jsonl",
        r#"{"image": "a/0.png", "label": 0}

{"image": "a/1.png", "label": true, "mask": "m/1.png", "note": [1]}
{"image": "a/2.png", "split": "val", "label": "normal", "mask": null}
{"image": "b/0.png", "mask": "m/1.png"}
"#,
    );
    let parts = only(dataset.unwrap());
    assert_eq!(
        rows(&root, &parts.test),
        [
            row("a/0.png", false, "good", &[]),
            row("a/1.png", true, "anomalous", &["m/1.png"]),
            row("b/0.png", true, "anomalous", &["m/1.png"]),
        ]
    );
    assert_eq!(ids(&parts.validation), ["a/2.png"]);
}

#[test]
fn wrong_manifests_name_line_and_column() {
    let csv = |line: &str| format!("image,label,mask,split,defect\na/0.png,0,,,\n{line}\n");
    for (name, text, line, column) in [
        ("m.csv", "img,label\na/0.png,0\n".to_owned(), 1, "image"),
        ("m.csv", "image,lable\na/0.png,0\n".to_owned(), 1, "lable"),
        (
            "m.csv",
            "image,label,label\na/0.png,0,0\n".to_owned(),
            1,
            "label",
        ),
        ("m.csv", csv("a/1.png,maybe,,,"), 3, "label"),
        ("m.csv", csv("a/9.png,0,,,"), 3, "image"),
        ("m.csv", csv(",0,,,"), 3, "image"),
        ("m.csv", csv("../x.png,0,,,"), 3, "image"),
        ("m.csv", csv("/etc/hosts,0,,,"), 3, "image"),
        ("m.csv", csv("a/0.png,0,,,"), 3, "image"),
        ("m.csv", csv("a/1.png,1,m/2.png,,"), 3, "mask"),
        ("m.csv", csv("a/1.png,0,m/1.png,,"), 3, "mask"),
        ("m.csv", csv("a/1.png,0,,late,"), 3, "split"),
        ("m.csv", csv("a/1.png,1,,train,"), 3, "split"),
        ("m.csv", csv("a/1.png,0,,,dent"), 3, "defect"),
        ("m.csv", csv("a/1.png,1,,,good"), 3, "defect"),
        ("m.csv", csv("a/1.png,0"), 3, "(whole line)"),
        (
            "m.jsonl",
            "{\"image\": \"a/0.png\"}\n[1]".to_owned(),
            2,
            "(whole line)",
        ),
        ("m.jsonl", "{\"image\": [1]}".to_owned(), 1, "image"),
        ("m.jsonl", "{\"label\": 0}".to_owned(), 1, "image"),
        (
            "m.jsonl",
            "{\"image\": \"a/0.png\", \"masks\": \"\"}".to_owned(),
            1,
            "masks",
        ),
    ] {
        let (_root, result) = manifest(name, &text);
        let (file, found, bad_column, message) = row_error(result.unwrap_err());
        assert_eq!(
            (file.as_str(), found, bad_column.as_str()),
            (name, line, column),
            "{message}"
        );
    }
}

#[test]
fn a_manifest_that_names_no_test_images_is_refused() {
    for text in ["image\n", "image,split\na/0.png,train\n"] {
        let (_root, result) = manifest("m.csv", text);
        assert!(matches!(result, Err(DatasetError::Layout { .. })));
    }
}
