//! Every component of this crate keeps the contract of its slot.

use rareclip_distribution as _;
use rareclip_testkit::conformance::{bank, package};
use serde_json::json;

#[test]
fn every_component_keeps_its_contract() {
    package("rareclip-distribution")
        .with(bank("gaussian"))
        .with(bank("gaussian").options(json!({ "blocks": [5], "dimensions": 3, "seed": 7 })))
        .with(bank("subspace"))
        .with(bank("subspace").options(json!({ "blocks": [2], "explained_variance": 0.5 })))
        .check();
}
