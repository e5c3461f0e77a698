//! Every component of this crate keeps the contract of its slot.

use rareclip_baselines as _;
use rareclip_core::Slot;
use rareclip_testkit::conformance::{Conformance, backbone, package, scorer};
use serde_json::json;

/// The scorer beside the thumbnails it reads.
fn statistic(statistic: &str, sign: &str) -> Conformance {
    let thumbnail = json!({ "type": "thumbnail", "image_size": 32, "cell": 8 });
    scorer("statistic")
        .options(json!({ "statistic": statistic, "sign": sign }))
        .beside(Slot::Backbone, thumbnail)
        .without(Slot::Prompt)
        .without(Slot::Bank)
}

#[test]
fn every_component_keeps_its_contract() {
    package("rareclip-baselines")
        .with(backbone("thumbnail").options(json!({ "image_size": 32, "cell": 8 })))
        .with(backbone("thumbnail").options(json!({ "image_size": 5, "cell": 5 })))
        .with(statistic("brightness", "higher"))
        .with(statistic("contrast", "lower"))
        .with(statistic("file-size", "higher"))
        .with(statistic("random", "lower"))
        .check();
}
