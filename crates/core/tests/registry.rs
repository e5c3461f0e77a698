//! How components get into a program.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{COMPONENTS, LargestOptions, MeanOptions};
use rareclip_core::{Choice, Component, MemoryBankFactory, Registry, ScorerFactory};

fn names(registry: &Registry) -> Vec<String> {
    let all = registry.components();
    all.iter()
        .map(|one| format!("{}/{}", one.slot, one.name))
        .collect()
}

#[test]
fn a_linked_crate_is_registered_without_a_call() {
    assert_eq!(
        names(&Registry::of_program()),
        ["backbone/gray", "bank/mean", "scorer/largest"]
    );
    assert!(Registry::of_program().silent().is_empty());
}

#[test]
fn registering_by_hand_as_well_is_no_clash() {
    let before = names(&Registry::of_program());
    common::register();
    common::register();
    assert_eq!(names(&Registry::of_program()), before);
    assert!(Registry::of_program().clashes().is_empty());
}

#[test]
fn where_no_constructor_runs_a_config_finds_what_was_registered_by_hand() {
    let nothing = Registry::by_hand(&[]);
    let bank = Choice::<dyn MemoryBankFactory>::named("mean");
    let message = bank.resolve_in(&nothing).unwrap_err().to_string();
    assert!(message.contains("no bank component"), "{message}");

    let by_hand = Registry::by_hand(&[COMPONENTS]);
    assert_eq!(bank.resolve_in(&by_hand).unwrap().blocks(), [1]);
    let scorer = Choice::<dyn ScorerFactory>::named("largest");
    assert!(scorer.resolve_in(&by_hand).unwrap().blocks().is_empty());
    let silent: Vec<&str> = by_hand.silent().into_iter().collect();
    assert_eq!(silent, [env!("CARGO_PKG_NAME")]);
}

#[test]
fn two_crates_with_one_name_clash_by_name() {
    const ACME: &[Component] = &[Component::scorer::<LargestOptions>(
        "largest", "acme", "1.2.3",
    )];
    let registry = Registry::by_hand(&[COMPONENTS, ACME]);
    let clashes = registry.clashes();
    let [clash] = clashes.as_slice() else {
        panic!("{clashes:?}")
    };
    for part in ["scorer `largest`", "acme 1.2.3", env!("CARGO_PKG_NAME")] {
        assert!(clash.contains(part), "{part} is missing in {clash}");
    }
}

#[test]
fn two_versions_of_one_crate_clash() {
    const OLD: &[Component] = &[Component::bank::<MeanOptions>("acme", "acme", "0.1.0")];
    const NEW: &[Component] = &[Component::bank::<MeanOptions>("acme", "acme", "0.2.0")];
    let clashes = Registry::by_hand(&[OLD, NEW]).clashes().join("");
    assert!(
        clashes.contains("acme 0.1.0") && clashes.contains("acme 0.2.0"),
        "{clashes}"
    );
}
