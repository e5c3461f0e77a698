//! The components of this crate keep the contract of their slots: an author outside `crates/` needs
//! no more than this.
#![allow(missing_docs, reason = "test code")]

use rareclip_testkit::conformance::package;
use rareclip_tests as _;

#[test]
fn every_component_keeps_its_contract() {
    package("rareclip-tests").check();
}
