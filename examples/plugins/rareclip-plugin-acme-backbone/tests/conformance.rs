//! The backbone `acme-backbone` keeps the contract of its slot.
#![allow(missing_docs)]

use rareclip_testkit::conformance;

#[test]
fn it_keeps_the_contract_of_its_slot() {
    rareclip_plugin_acme_backbone::register();
    conformance::backbone("acme-backbone").check();
}
