//! The {{noun}} `{{name}}` keeps the contract of its slot.
#![allow(missing_docs)]

use rareclip_testkit::conformance;

#[test]
fn it_keeps_the_contract_of_its_slot() {
    {{crate}}::register();
    conformance::{{slot}}("{{name}}").check();
}
