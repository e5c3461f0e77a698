//! A component that is registered by hand alone, in a program of its own: the registry is that of the process.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::MeanOptions;
use rareclip_core::registry::{self, Registry, Slot};
use rareclip_core::{Choice, Component, MemoryBankFactory};

#[test]
fn a_crate_may_declare_its_components_without_the_macro() {
    const ACME: &[Component] = &[Component::bank::<MeanOptions>("acme", "acme", "1.2.3")];
    registry::register(ACME);
    let found = registry::find(Slot::Bank, "acme").unwrap();
    assert_eq!((found.package, found.version), ("acme", "1.2.3"));
    let choice = Choice::<dyn MemoryBankFactory>::named("acme");
    assert_eq!(choice.resolve().unwrap().blocks(), [1]);
    assert_eq!(choice.completed().unwrap().table()["block"], 1);
    assert!(Registry::of_program().silent().contains("acme"));
}
