//! Every component of this crate keeps the contract of its slot.

use rareclip_core::Slot;
use rareclip_musc as _;
use rareclip_testkit::conformance::{bank, package, scorer};
use serde_json::json;

#[test]
fn every_component_keeps_its_contract() {
    package("rareclip-musc")
        .with(bank("mutual"))
        .with(bank("mutual").options(json!({ "blocks": [2], "neighbourhoods": [1], "share": 1.0 })))
        .with(scorer("mutual"))
        .with(scorer("mutual").beside(Slot::Bank, json!({ "type": "mutual" })))
        .check();
}
