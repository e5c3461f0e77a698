//! The index `acme-index` keeps the contract of its slot.
#![allow(missing_docs)]

use rareclip_testkit::conformance;

#[test]
fn it_keeps_the_contract_of_its_slot() {
    rareclip_plugin_acme_index::register();
    conformance::index("acme-index").check();
}
