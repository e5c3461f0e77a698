//! Every component of this crate keeps the contract of its slot.

use rareclip_core::Slot;
use rareclip_index_exact as _;
use rareclip_rarity as _;
use rareclip_testkit::conformance::{bank, package, scorer};
use serde_json::json;

#[test]
fn every_component_keeps_its_contract_as_it_comes() {
    package("rareclip-rarity").check();
}

#[test]
fn prototypes_keep_their_contract_whatever_the_sampler() {
    for sampler in ["sequential-coreset", "greedy-coreset", "random", "k-means"] {
        let options = json!({
            "blocks": [2], "capacity": 1.5, "keep_images": 3, "sampler": { "type": sampler },
        });
        bank("prototype").options(options).check();
    }
}

#[test]
fn prototypes_keep_their_contract_without_calibration_and_with_a_policy() {
    let options = json!({
        "blocks": [1, 4], "neighbourhoods": [1], "capacity": 0.5, "neighbours": 1, "looseness": -1.0,
        "update": { "type": "every-nth", "n": 2 },
    });
    bank("prototype").options(options).check();
}

#[test]
fn whole_images_keep_their_contract_when_they_leave() {
    let options = json!({ "blocks": [2], "keep_images": 3, "image_share": 1.0 });
    bank("prototype-direct").options(options).check();
}

#[test]
fn the_scorer_keeps_its_contract_with_and_without_words() {
    let options = json!({ "keep_images": 4, "rescoring": { "period": 2 } });
    scorer("rarity").options(options.clone()).check();
    scorer("rarity")
        .options(options)
        .without(Slot::Prompt)
        .check();
    let bank = json!({ "type": "prototype", "blocks": [2, 3], "capacity": 1.0 });
    scorer("rarity").beside(Slot::Bank, bank).check();
}
