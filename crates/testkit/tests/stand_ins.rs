//! What the kit puts beside a component under test keeps its own contract.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use rareclip_testkit::conformance;

#[test]
fn the_backbone_keeps_its_contract() {
    conformance::backbone("testkit").check();
}

#[test]
fn the_prompt_head_keeps_its_contract() {
    conformance::prompt("testkit").check();
}

#[test]
fn the_bank_keeps_its_contract() {
    conformance::bank("testkit").check();
}

#[test]
fn the_scorer_keeps_its_contract() {
    conformance::scorer("testkit").check();
}
