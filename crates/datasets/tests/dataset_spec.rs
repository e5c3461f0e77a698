//! What a data set is called, and how its kind is recognised.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod dataset_common;

use std::collections::BTreeSet;
use std::path::Path;

use dataset_common::{auto, open_spec, tree};
use proptest::prelude::*;
use rareclip_datasets::DatasetError;
use rareclip_datasets::{Kind, Options, PUBLISHED, Spec, TestSet};

#[test]
fn a_spec_has_kind_path_and_options() {
    let spec: Spec = "real-iad:/data/x?category=toy,usb&view=3&json=sv&images=realiad_256"
        .parse()
        .unwrap();
    assert_eq!(
        (spec.kind, spec.path.as_path()),
        (Some(Kind::RealIad), Path::new("/data/x"))
    );
    let options = Options {
        categories: vec!["toy".into(), "usb".into()],
        test: TestSet::Public,
        json: Some("sv".into()),
        images: Some("realiad_256".into()),
        view: Some(3),
    };
    assert_eq!(spec.options, options);
}

#[test]
fn bare_paths_and_auto_have_no_kind() {
    for text in ["auto:data", "data"] {
        assert_eq!(text.parse::<Spec>().unwrap(), Spec::new(None, "data"));
    }
    for text in [r"C:\data", "./a:b/c"] {
        assert_eq!(text.parse::<Spec>().unwrap(), Spec::new(None, text));
    }
}

#[test]
fn wrong_specs_say_what_is_wrong() {
    for (spec, words) in [
        (
            "mvtek:data",
            "there is no kind `mvtek`; did you mean `mvtec`?",
        ),
        ("mvtec:", "names no folder or file"),
        (
            "mvtec:data?categories=a",
            "there is no option `categories`; did you mean `category`?",
        ),
        ("mvtec:data?a", "`a` behind the `?` is no `option=value`"),
        ("real-iad:data?view=6", "view=6: expected 1 to 5"),
        (
            "real-iad:data?json=../x",
            "json=../x: expected the name of a folder",
        ),
        (
            "mvtec-ad2:data?test=secret",
            "expected public, private or private-mixed",
        ),
    ] {
        let message = spec.parse::<Spec>().unwrap_err().to_string();
        assert!(
            message.contains(words) && message.contains(spec),
            "{message}"
        );
    }
}

#[test]
fn options_of_other_kinds_are_refused() {
    let root = tree(&["test/good/0.png"]);
    let error = open_spec("mvtec", &root, "?view=1").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the option `view` is one of real-iad, not of mvtec"),
        "{error}"
    );
}

#[test]
fn the_kind_is_recognised_by_the_layout() {
    for (files, kind) in [
        (&["test/good/0.png"][..], Kind::Mvtec),
        (&["a/train/good/0.png", "a/test/good/0.png"], Kind::Mvtec),
        (&["a/test_public/good/0.png"], Kind::MvtecAd2),
        (
            &[
                "a/test/logical_anomalies/0.png",
                "a/ground_truth/logical_anomalies/0/0.png",
            ],
            Kind::MvtecLoco,
        ),
        (
            &["01/test/ko/0.bmp", "01/ground_truth/ko/0.png"],
            Kind::Btad,
        ),
        (&["1cls/candle/test/good/0.JPG"], Kind::Visa),
        (&["good/0.png", "dent/0.png"], Kind::Folder),
        (&["0.png", "notes.md"], Kind::Images),
    ] {
        assert_eq!(auto(tree(files).path()).unwrap().kind, kind, "{files:?}");
    }
}

#[test]
fn what_is_not_recognised_is_named() {
    for files in [&["monday/0.png"][..], &["notes.md"]] {
        let root = tree(files);
        let error = auto(root.path()).unwrap_err();
        assert!(
            matches!(&error, DatasetError::Unrecognised { path, .. } if path == root.path()),
            "{error}"
        );
    }
    let root = tree(&["notes.md"]);
    let error = auto(&root.path().join("notes.md")).unwrap_err();
    assert!(
        error.to_string().contains("neither in .csv nor in .jsonl"),
        "{error}"
    );
}

#[test]
fn kinds_and_published_sets_have_names_of_their_own() {
    let kinds: BTreeSet<&str> = Kind::ALL.map(Kind::name).into();
    assert_eq!(kinds.len(), Kind::ALL.len());
    for kind in Kind::ALL {
        assert_eq!(Kind::of_name(kind.name()), Some(kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
    let names: BTreeSet<&str> = PUBLISHED.map(|set| set.name).into();
    assert_eq!(names.len(), PUBLISHED.len());
    for set in PUBLISHED {
        let spec = set.spec();
        // Where a pulled one lies is known to the program alone.
        let pulled = set.steps.is_empty() && spec.starts_with(set.kind.name());
        let parsed = spec.parse::<Spec>();
        let named = parsed.is_ok_and(|spec| spec.kind == Some(set.kind));
        assert!(pulled || named, "{spec}");
    }
}

proptest! {
    #[test]
    fn no_spec_makes_the_parser_panic(text in "(mvtec|visa|[a-z:?=&/.,]){0,12}") {
        let _ = text.parse::<Spec>();
    }
}
