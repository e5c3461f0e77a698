//! The kit refuses components that break a promise: one fault each, seeded into a sound one.
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

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
    backbone "faulty" => backbone::FaultyOptions;
    prompt "faulty" => prompt::FaultyOptions;
    bank "faulty" => bank::FaultyOptions;
    bank "faulty-pass" => learning::PassOptions;
    bank "faulty-set" => learning::SetOptions;
    scorer "faulty" => scorer::FaultyOptions;
    scorer "undescribed" => declared::UndescribedOptions;
    scorer "without-range" => declared::WithoutRangeOptions;
    scorer "unnamed-choice" => declared::UnnamedChoiceOptions;
    scorer "anonymous" => declared::AnonymousOptions;
    scorer "lenient" => declared::LenientOptions;
    scorer "out-of-range" => declared::OutOfRangeOptions;
    scorer "forgetful" => declared::ForgetfulOptions;
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
