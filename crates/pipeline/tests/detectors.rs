//! Detectors that share a backbone.
#![allow(clippy::unwrap_used, reason = "a test may end")]

use std::sync::Arc;

use rareclip_core::DetectorConfig;
use rareclip_pipeline::{DetectorSet, Error};
use serde_json::json;

// The small components of core's tests: backbone `gray` has the runtime option `threads`.
#[path = "../../core/tests/common/mod.rs"]
mod common;

fn config(offset: f32, threads: usize) -> DetectorConfig {
    let table = json!({
        "backbone": { "type": "gray", "offset": offset, "threads": threads },
        "bank": { "type": "mean" },
        "scorer": { "type": "largest" },
    });
    DetectorConfig::from_value(table, &|_| None).unwrap()
}

#[test]
fn detectors_with_equal_backbones_share_one() {
    let (a, b, c) = (config(0.0, 2), config(1.0, 2), config(0.0, 2));
    let set = DetectorSet::build([("a", &a), ("b", &b), ("c", &c)]).unwrap();
    assert_eq!(set.backbones.len(), 2);
    let places: Vec<usize> = set.members.iter().map(|member| member.backbone).collect();
    assert_eq!(places, [0, 1, 0]);
    let [first, _, third] = &set.members[..] else {
        panic!("three detectors were given")
    };
    assert!(Arc::ptr_eq(
        first.detector.backbone(),
        third.detector.backbone()
    ));
    assert_eq!(set.backbones[0].label, "a");
}

#[test]
fn runtime_options_that_differ_on_a_shared_backbone_are_refused() {
    let (a, b) = (config(0.0, 2), config(0.0, 4));
    let error = DetectorSet::build([("a", &a), ("b", &b)]).err().unwrap();
    assert!(matches!(error, Error::RuntimeConflict { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("`a`") && text.contains("`b`"),
        "no names: {text}"
    );
    assert!(text.contains("`backbone.threads` is 2"), "{text}");
    assert!(text.contains("4 in `b`"), "{text}");
}

#[test]
fn runtime_options_may_differ_where_nothing_is_shared() {
    let (a, b) = (config(0.0, 2), config(1.0, 4));
    let set = DetectorSet::build([("a", &a), ("b", &b)]).unwrap();
    assert_eq!(set.backbones.len(), 2);
}
