//! Declarations: each is of a sound scorer whose options have one thing wrong.

use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{BoxError, ErasedScorer, ScorerFactory, Slot, typetag};
use rareclip_testkit::Broken;
use rareclip_testkit::conformance;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scorer::sound;

/// Options of the sound scorer.
macro_rules! declared {
    ($($name:literal => $options:ty),+) => {$(
        #[typetag::serde(name = $name)]
        impl ScorerFactory for $options {
            fn build(
                &self,
                backbone: &BackboneSpec,
                bank_blocks: &[usize],
            ) -> Result<Box<dyn ErasedScorer>, BoxError> {
                sound().build(backbone, bank_blocks)
            }
        }
    )+};
}

declared!(
    "undescribed" => UndescribedOptions,
    "without-range" => WithoutRangeOptions,
    "unnamed-choice" => UnnamedChoiceOptions,
    "anonymous" => AnonymousOptions,
    "lenient" => LenientOptions,
    "out-of-range" => OutOfRangeOptions,
    "forgetful" => ForgetfulOptions
);

/// An option without a description.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UndescribedOptions {
    #[schemars(range(min = 0.0, max = 1.0))]
    share: f32,
}

/// A number without a range.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WithoutRangeOptions {
    /// A share. Default 0.
    share: f32,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Choice {
    #[default]
    One,
    Other,
}

/// A choice that does not say what is chosen.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UnnamedChoiceOptions {
    /// A choice. Default one.
    choice: Choice,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AnonymousOptions {
    /// A share. Default 0.
    #[schemars(range(min = 0.0, max = 1.0))]
    share: f32,
}

/// Unknown keys are taken.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct LenientOptions {
    /// A share. Default 0.
    #[schemars(range(min = 0.0, max = 1.0))]
    share: f32,
}

/// A default that its own range excludes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OutOfRangeOptions {
    /// A share. Default 0.
    #[schemars(range(min = 0.5, max = 1.0))]
    share: f32,
}

/// An option that is read and never written.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ForgetfulOptions {
    /// A share. Default 0.
    #[schemars(range(min = 0.0, max = 1.0), extend("default" = 0.0))]
    #[serde(skip_serializing)]
    share: f32,
}

fn broken(name: &str) -> Broken {
    let examined = conformance::scorer(name).examine();
    examined.expect_err("the fault is not found")
}

#[test]
fn an_option_without_a_description_is_found() {
    let broken = broken("undescribed");
    assert!(
        broken.found.contains("`share` has no description"),
        "{broken}"
    );
}

#[test]
fn a_number_without_a_range_is_found() {
    let broken = broken("without-range");
    assert!(broken.found.contains("without a range"), "{broken}");
}

#[test]
fn names_without_a_meaning_are_found() {
    let broken = broken("unnamed-choice");
    assert!(broken.found.contains("names means"), "{broken}");
}

#[test]
fn a_component_that_does_not_say_what_it_is_is_found() {
    let broken = broken("anonymous");
    assert!(broken.promise.contains("in a sentence"), "{broken}");
}

#[test]
fn unknown_keys_that_are_accepted_are_found() {
    let broken = broken("lenient");
    assert!(broken.found.contains("deny_unknown_fields"), "{broken}");
}

#[test]
fn defaults_out_of_range_are_found() {
    let broken = broken("out-of-range");
    assert!(broken.promise.contains("defaults are valid"), "{broken}");
}

#[test]
fn an_option_that_is_not_written_is_found() {
    let options = serde_json::json!({ "share": 0.5 });
    let examined = conformance::scorer("forgetful").options(options).examine();
    let broken = examined.expect_err("the fault is not found");
    assert!(broken.promise.contains("written out"), "{broken}");
}

#[test]
fn a_component_that_is_not_there_is_found() {
    let broken = broken("nobody");
    assert!(broken.found.contains("link its crate"), "{broken}");
}

#[test]
fn a_crate_that_registers_nothing_is_found() {
    let broken = conformance::package("nobody").examine().unwrap_err();
    assert!(broken.promise.contains("registers components"), "{broken}");
}

#[test]
fn a_wrong_call_of_the_kit_says_so() {
    let calls = [
        conformance::scorer("testkit").options(serde_json::json!([1])),
        conformance::scorer("testkit").config("[scorer]\ntype = \"faulty\""),
        conformance::scorer("testkit").config("no toml"),
        conformance::scorer("testkit").beside(Slot::Bank, 7.into()),
    ];
    for call in calls {
        let broken = call.examine().unwrap_err();
        assert!(broken.promise.contains("as documented"), "{broken}");
    }
}

#[test]
fn an_example_config_says_what_stands_beside_the_component() {
    let config =
        "[backbone]\ntype = \"testkit\"\nrows = 2\n[scorer]\ntype = \"testkit\"\nimages = 2\n";
    conformance::scorer("testkit").config(config).check();
}
