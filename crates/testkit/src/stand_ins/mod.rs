//! Components that the kit puts beside the one under test, each named `testkit` in its slot. They
//! are small, need no weights and keep the whole contract.

mod backbone;
mod bank;
mod index;
mod name;
mod prompt;
mod scorer;

pub(crate) use backbone::BackboneOptions;
use bank::BankOptions;
use index::IndexOptions;
pub(crate) use name::NAME;
use prompt::PromptOptions;
use scorer::ScorerOptions;

rareclip_core::register! {
    backbone BackboneOptions;
    prompt PromptOptions;
    bank BankOptions;
    scorer ScorerOptions;
    index IndexOptions;
}
