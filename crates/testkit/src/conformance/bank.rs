//! The contract of a bank.

mod case;
mod learning;
mod memory;

use self::case::BankCase;
use super::life;
use super::setup::Setup;
use super::small;
use super::world::NORMALS;
use crate::broken::{Broken, keep, kept};

/// Holds the bank of `setup` to its contract.
pub(super) fn examine(setup: &Setup) -> Result<(), Broken> {
    let component = setup.component();
    let case = kept(&component, super::setup::CAN_BE_BUILT, || {
        BankCase::new(setup)
    })?;
    let says = "the kit can show it images";
    for normals in [NORMALS, 0] {
        let subject = kept(&component, says, || case.subject(normals))?;
        keep(&component, &subject, life::ALL)?;
    }
    keep(&component, &case, learning::ALL)?;
    keep(&component, &case, memory::ALL)?;
    small::worlds(setup, |small| {
        let case = BankCase::new(small)?;
        case.subject(NORMALS)
    })
}
