//! Every component of this crate keeps the contract of its slot.

use rareclip_core::Slot;
use rareclip_index_exact as _;
use rareclip_neighbours as _;
use rareclip_testkit::conformance::{bank, package, scorer};
use serde_json::json;

#[test]
fn every_component_keeps_its_contract_as_it_comes() {
    package("rareclip-neighbours").check();
}

#[test]
fn patches_keep_their_contract_with_more_neighbours_and_branches() {
    let options = json!({ "blocks": [2, 9], "neighbourhoods": [1, 3], "neighbours": 5 });
    bank("patches").options(options).check();
}

#[test]
fn every_kind_of_coreset_keeps_its_contract() {
    for options in [
        json!({ "share": 1.0 }),
        json!({ "share": 0.1, "blocks": [1], "neighbourhood": 1 }),
        json!({ "reweight_neighbours": 3, "projection": 4 }),
        json!({ "reweight_neighbours": 0, "projection": 0 }),
    ] {
        bank("coreset").options(options).check();
    }
}

#[test]
fn the_scorer_keeps_its_contract_beside_every_bank() {
    for name in ["patches", "coreset", "images", "windows"] {
        let beside = json!({ "type": name });
        scorer("nearest-neighbour")
            .beside(Slot::Bank, beside)
            .check();
    }
    for options in [
        json!({ "image_score": "patches", "top_share": 0.0 }),
        json!({ "top_share": 1.0, "blur_sigma": 0.0 }),
    ] {
        scorer("nearest-neighbour").options(options).check();
    }
}
