//! The kit refuses components that break a promise: one fault each, seeded into a sound one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at a fault"
)]

mod backbone;
mod bank;
mod declared;
mod learning;
mod prompt;
mod scorer;

use rareclip_testkit::Broken;
use rareclip_testkit::conformance::Conformance;
use serde_json::json;

rareclip_core::register! {
    backbone backbone::FaultyOptions;
    prompt prompt::FaultyOptions;
    bank bank::FaultyOptions;
    bank learning::PassOptions;
    bank learning::SetOptions;
    scorer scorer::FaultyOptions;
    scorer declared::UndescribedOptions;
    scorer declared::WithoutRangeOptions;
    scorer declared::UnnamedChoiceOptions;
    scorer declared::AnonymousOptions;
    scorer declared::LenientOptions;
    scorer declared::OutOfRangeOptions;
    scorer declared::ForgetfulOptions;
}

/// What is broken in a component with this fault.
fn broken(component: Conformance, fault: &str) -> Broken {
    let examined = component.options(json!({ "fault": fault })).examine();
    examined.expect_err("the fault is not found")
}

/// A test for each fault: it is found under the promise whose text holds `promise`.
macro_rules! refused {
    ($component:expr; $($name:ident: $fault:literal => $promise:literal)*) => {
        $(#[test]
        fn $name() {
            let broken = crate::broken($component, $fault);
            assert!(broken.promise.contains($promise), "{broken}");
        })*
    };
}
pub(crate) use refused;

/// The table of the kit's own, sound component in a slot.
fn sound_table() -> serde_json::Map<String, serde_json::Value> {
    serde_json::Map::from_iter([("type".to_owned(), "testkit".into())])
}
