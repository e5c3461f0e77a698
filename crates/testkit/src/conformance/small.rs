//! Small worlds: one patch, a token of one number, hardly an image. A component may say that it
//! cannot work there.

use super::life::{Step, Subject, take};
use super::setup::{Setup, Sizes};
use super::state::{restore, saved};
use crate::broken::{Broken, Held, kept, refused, told};

/// Shows a component around in every small world. `subject` makes it there, or says why it cannot
/// be.
pub(super) fn worlds(
    setup: &Setup,
    subject: impl Fn(&Setup) -> Result<Subject, String>,
) -> Result<(), Broken> {
    let says =
        "in a grid of one patch, and on tokens of one number, it works or says why it does not";
    for sizes in Sizes::SMALL {
        let Some(small) = setup.sized(sizes) else {
            continue;
        };
        kept(&setup.component(), says, || match subject(&small) {
            Ok(subject) => modest(&subject),
            Err(reason) if reason.trim().is_empty() => Err("it does not say why".into()),
            Err(_) => Ok(()),
        })
        .map_err(|broken| Broken {
            found: format!("{} ({sizes:?})", broken.found),
            ..broken
        })?;
    }
    Ok(())
}

/// A life in which every step may be refused, as long as a refusal leaves the state as it is.
fn modest(subject: &Subject) -> Held {
    let mut living = subject.new_one()?;
    // A training pass that ends after each image, until that is enough.
    let ends = |&step: &Step| match step {
        Step::Collect(_) => vec![step, Step::Fit],
        Step::Fit => Vec::new(),
        Step::Show(_) => vec![step],
    };
    for step in subject.life.iter().flat_map(ends) {
        let before = saved(&*living)?;
        match take(&mut *living, step, &subject.shown) {
            Ok(said) => said.iter().try_for_each(super::said::Said::sound)?,
            Err(error) => {
                refused::<()>(Err(error), step)?;
                if saved(&*living)? != before {
                    return Err(format!("{step} is refused and changes the state"));
                }
            }
        }
    }
    if let Some(shown) = subject.shown.last() {
        match living.assess(&shown.query(), false) {
            Ok((said, _)) => said.sound()?,
            Err(error) => refused::<()>(Err(error), "an image")?,
        }
    }
    let state = saved(&*living)?;
    let other = subject.new_one()?;
    let other = restore(other, &state).map_err(told("restoring its state"))?;
    match saved(&*other)? == state {
        true => Ok(()),
        false => Err("its state is another after it was restored".into()),
    }
}
