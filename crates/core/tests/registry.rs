//! How components get into a program.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod common;

use rareclip_core::{MemoryBankFactory, ScorerFactory, registry};
use serde_json::json;

fn names() -> Vec<String> {
    let all = registry::components().iter();
    all.map(|one| format!("{}/{}", one.slot, one.name))
        .collect()
}

#[test]
fn a_linked_crate_is_registered_without_a_call() {
    assert_eq!(names(), ["backbone/gray", "bank/mean", "scorer/largest"]);
}

#[test]
fn a_required_crate_that_is_linked_is_not_missing() {
    common::register();
    common::register();
    assert!(registry::missing().is_empty());
    assert!(registry::clashes().is_empty());
    assert_eq!(names().len(), 3);
}

#[test]
fn a_table_becomes_the_component_whose_name_is_its_type() {
    let table = json!({ "block": 3, "type": "mean" });
    let bank = <dyn MemoryBankFactory>::from_table(table.as_object().unwrap().clone()).unwrap();
    assert_eq!((bank.name(), bank.blocks()), ("mean", vec![3]));
    let written = bank.table().unwrap();
    assert_eq!(written["keep"]["type"], "all");
    assert_eq!(
        *<dyn MemoryBankFactory>::from_table(written).unwrap(),
        *bank
    );
}

#[test]
fn a_component_that_the_program_does_not_have_is_refused_with_the_nearest() {
    let table = json!({ "type": "larges" }).as_object().unwrap().clone();
    let message = <dyn ScorerFactory>::from_table(table)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("scorer.type: found \"larges\""),
        "{message}"
    );
    assert!(message.contains("did you mean `largest`?"), "{message}");
}
