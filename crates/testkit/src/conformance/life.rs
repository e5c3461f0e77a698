//! What holds of everything that has a state: banks and scorers.

use std::fmt;

use rareclip_core::BoxError;

use super::living::Living;
use super::said::Said;
use super::spoilt::Spoilt;
use super::state::{Entries, damaged, entries, joined, restore, saved};
use super::world::Shown;
use crate::broken::{Held, Promise, refused, told};

/// A step in the life of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// An image of the training pass.
    Collect(usize),
    /// The end of the training pass.
    Fit,
    /// An image that is assessed and absorbed.
    Show(usize),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collect(image) => write!(f, "collecting image {image}"),
            Self::Fit => write!(f, "ending the training pass"),
            Self::Show(image) => write!(f, "showing image {image}"),
        }
    }
}

/// How a component with a state is made, and what is shown to it.
pub(super) struct Subject {
    pub(super) fresh: Box<dyn Fn() -> Result<Box<dyn Living>, BoxError>>,
    pub(super) shown: Vec<Shown>,
    pub(super) life: Vec<Step>,
    /// Steps before the first image can be assessed.
    pub(super) speaks_from: usize,
    /// Inputs of another shape, each of which is refused or, where `may_ignore`, makes no
    /// difference.
    pub(super) misshapen: Vec<Spoilt<Shown>>,
    pub(super) may_ignore: bool,
    /// Inputs that are refused or give finite results.
    pub(super) odd: Vec<Spoilt<Shown>>,
}

/// Takes a step; what is said of it, where anything is.
pub(super) fn take(
    living: &mut dyn Living,
    step: Step,
    shown: &[Shown],
) -> Result<Option<Said>, BoxError> {
    match step {
        Step::Collect(image) => living.collect(&shown[image]).map(|()| None),
        Step::Fit => living.fit().map(|()| None),
        Step::Show(image) => {
            let (said, carry) = living.assess(&shown[image], true)?;
            living.absorb(&shown[image], carry)?;
            Ok(Some(said))
        }
    }
}

impl Subject {
    pub(super) fn new_one(&self) -> Result<Box<dyn Living>, String> {
        (self.fresh)().map_err(told("building it"))
    }

    fn take(&self, living: &mut dyn Living, step: Step) -> Result<Option<Said>, String> {
        take(living, step, &self.shown).map_err(told(step))
    }

    /// One that has lived for so many steps.
    fn aged(&self, steps: usize) -> Result<Box<dyn Living>, String> {
        let mut living = self.new_one()?;
        for &step in &self.life[..steps] {
            self.take(&mut *living, step)?;
        }
        Ok(living)
    }

    /// What is said of every image where nothing is remembered.
    fn all(&self, living: &dyn Living) -> Result<Vec<Said>, String> {
        let shown = self.shown.iter().map(Shown::query);
        let said = shown.map(|shown| living.assess(&shown, false).map(|(said, _)| said));
        let said: Result<_, _> = said.collect();
        said.map_err(told("assessing an image"))
    }

    fn speaks(&self, steps: usize) -> bool {
        steps >= self.speaks_from
    }

    /// The image that spoilt ones are made of.
    fn last(&self) -> Shown {
        self.shown[self.shown.len() - 1].query()
    }
}

pub(super) const ALL: &[Promise<Subject>] = &[
    Promise {
        says: "what it says of an image has the declared shape and is finite",
        holds: sound,
    },
    Promise {
        says: "the same images give the same results and the same state, to the bit",
        holds: deterministic,
    },
    Promise {
        says: "two that were built from the same options share no memory",
        holds: apart,
    },
    Promise {
        says: "an image that is assessed and not absorbed leaves no trace",
        holds: no_trace,
    },
    Promise {
        says: "saved at any point and restored, it goes on as if it had never stopped, to the bit",
        holds: goes_on,
    },
    Promise {
        says: "a restored state replaces all that was there",
        holds: replaces,
    },
    Promise {
        says: "a state that lacks an entry is refused",
        holds: lacking,
    },
    Promise {
        says: "a state with a damaged entry is refused, or harmless",
        holds: harmless,
    },
    Promise {
        says: "an assessment made before another image was absorbed is taken, or refused and leaves the state as it is",
        holds: stale,
    },
    Promise {
        says: "inputs of another shape are refused and leave the state as it is",
        holds: misshapen,
    },
    Promise {
        says: "NaN, infinities and missing inputs are refused, or what comes of them is finite",
        holds: odd,
    },
];

fn sound(subject: &Subject) -> Held {
    let mut living = subject.new_one()?;
    for (number, &step) in subject.life.iter().enumerate() {
        if subject.speaks(number) {
            subject.all(&*living)?.iter().try_for_each(Said::sound)?;
        }
        if let Some(said) = subject.take(&mut *living, step)? {
            said.sound()?;
        }
    }
    match subject.speaks(subject.life.len()) {
        true => subject.all(&*living)?.iter().try_for_each(Said::sound),
        false => Ok(()),
    }
}

/// That two say the same of every image and would save the same.
fn same(subject: &Subject, one: &dyn Living, other: &dyn Living, steps: usize, when: &str) -> Held {
    if subject.speaks(steps) {
        let (one, other) = (subject.all(one)?, subject.all(other)?);
        let pairs = one.iter().zip(&other);
        pairs.into_iter().try_for_each(|(a, b)| a.same(b, when))?;
    }
    same_state(&saved(one)?, &saved(other)?, when)
}

/// That two states are the same, or in which entry they differ.
fn same_state(one: &[u8], other: &[u8], when: &str) -> Held {
    if one == other {
        return Ok(());
    }
    let (one, other) = (entries(one)?, entries(other)?);
    let names = one.keys().chain(other.keys());
    let differs = names
        .into_iter()
        .find(|&name| one.get(name) != other.get(name));
    let name = differs.map_or("an order", String::as_str);
    Err(format!("the state differs in `{name}` {when}"))
}

fn deterministic(subject: &Subject) -> Held {
    let (mut one, mut other) = (subject.new_one()?, subject.new_one()?);
    for (number, &step) in subject.life.iter().enumerate() {
        let a = subject.take(&mut *one, step)?;
        let b = subject.take(&mut *other, step)?;
        let when = format!("after {step}, the second time");
        if let (Some(a), Some(b)) = (a, b) {
            a.same(&b, &when)?;
        }
        same(subject, &*one, &*other, number + 1, &when)?;
    }
    same(subject, &*one, &*other, subject.life.len(), "at the end")
}

fn apart(subject: &Subject) -> Held {
    let bystander = subject.new_one()?;
    let before = saved(&*bystander)?;
    subject.aged(subject.life.len())?;
    let fresh = subject.new_one()?;
    let when = "after another has seen images";
    same_state(&before, &saved(&*bystander)?, when)?;
    same(subject, &*bystander, &*fresh, 0, when)
}

fn no_trace(subject: &Subject) -> Held {
    let (mut asked, mut silent) = (subject.new_one()?, subject.new_one()?);
    for steps in 0..=subject.life.len() {
        if subject.speaks(steps) {
            let before = saved(&*asked)?;
            for shown in &subject.shown {
                let assess = |update| asked.assess(shown, update).map(|(said, _)| said);
                let said = told("assessing an image");
                let (one, two) = (assess(false).map_err(&said)?, assess(false).map_err(&said)?);
                one.same(&two, "when an image is assessed twice")?;
                assess(true).map_err(&said)?;
            }
            same_state(
                &before,
                &saved(&*asked)?,
                "after images were assessed alone",
            )?;
        }
        let Some(&step) = subject.life.get(steps) else {
            break;
        };
        let one = subject.take(&mut *asked, step)?;
        let other = subject.take(&mut *silent, step)?;
        let when = format!("{step}, with and without others assessed in between");
        if let (Some(one), Some(other)) = (one, other) {
            one.same(&other, &when)?;
        }
        same_state(&saved(&*asked)?, &saved(&*silent)?, &when)?;
    }
    Ok(())
}

fn goes_on(subject: &Subject) -> Held {
    for start in 0..=subject.life.len() {
        let mut never_stopped = subject.aged(start)?;
        let other = subject.new_one()?;
        let restoring = told(format!("restoring the state of step {start}"));
        let mut other = restore(other, &saved(&*never_stopped)?).map_err(restoring)?;
        let when = format!("right after it was restored at step {start}");
        same(subject, &*never_stopped, &*other, start, &when)?;
        for (number, &step) in subject.life.iter().enumerate().skip(start) {
            let when = format!("{step}, restored at step {start}");
            let a = subject.take(&mut *never_stopped, step)?;
            let b = subject
                .take(&mut *other, step)
                .map_err(|error| format!("{error}; {when}"))?;
            if let (Some(a), Some(b)) = (a, b) {
                a.same(&b, &when)?;
            }
            same(subject, &*never_stopped, &*other, number + 1, &when)?;
        }
    }
    Ok(())
}

fn replaces(subject: &Subject) -> Held {
    for start in 0..=subject.life.len() {
        let expected = subject.aged(start)?;
        let used = subject.aged(subject.life.len())?;
        let restoring = told(format!("restoring step {start} into one that was used"));
        let used = restore(used, &saved(&*expected)?).map_err(restoring)?;
        let when = format!("in one that was used before step {start} was restored");
        same(subject, &*expected, &*used, start, &when)?;
    }
    Ok(())
}

/// The points at which a state is taken apart: early, in the middle, and at the end.
fn points(subject: &Subject) -> [usize; 3] {
    let end = subject.life.len();
    [end.min(1), end / 2, end]
}

/// A fresh component with these entries, or that it refuses them.
fn with_entries(subject: &Subject, entries: &Entries) -> Result<Option<Box<dyn Living>>, String> {
    match restore(subject.new_one()?, &joined(entries)?) {
        Ok(living) => Ok(Some(living)),
        Err(error) => refused::<()>(Err(error), "a state").map(|()| None),
    }
}

fn lacking(subject: &Subject) -> Held {
    for steps in points(subject) {
        let state = saved(&*subject.aged(steps)?)?;
        let whole = entries(&state)?;
        for name in whole.keys() {
            let mut rest = whole.clone();
            rest.remove(name);
            // What is written for people to read may be missing.
            if let Some(living) = with_entries(subject, &rest)? {
                let when = format!("and a state without `{name}` is accepted");
                same_state(&state, &saved(&*living)?, &when)?;
            }
        }
    }
    Ok(())
}

fn harmless(subject: &Subject) -> Held {
    for steps in points(subject) {
        let state = saved(&*subject.aged(steps)?)?;
        let whole = entries(&state)?;
        for (name, entry) in &whole {
            for (other, hopeless) in damaged(entry) {
                let mut with = whole.clone();
                with.insert(name.clone(), other);
                let Some(mut living) = with_entries(subject, &with)? else {
                    continue;
                };
                if hopeless {
                    let when = format!("and a state with another type of `{name}` is accepted");
                    same_state(&state, &saved(&*living)?, &when)?;
                }
                survives(subject, &mut *living, steps)
                    .map_err(|found| format!("with `{name}` damaged: {found}"))?;
            }
        }
    }
    Ok(())
}

/// That a component says what is finite, or says that it cannot.
fn survives(subject: &Subject, living: &mut dyn Living, steps: usize) -> Held {
    for shown in &subject.shown {
        match living.assess(&shown.query(), false) {
            Ok((said, _)) => said.sound()?,
            Err(error) => refused::<()>(Err(error), "an image")?,
        }
    }
    if let Some(&step) = subject.life.get(steps)
        && let Err(error) = take(living, step, &subject.shown)
    {
        refused::<()>(Err(error), step)?;
    }
    saved(living).map(|_| ())
}

fn stale(subject: &Subject) -> Held {
    let Some(Step::Show(last)) = subject.life.last().copied() else {
        return Ok(());
    };
    let mut living = subject.aged(subject.life.len() - 1)?;
    let (one, other) = (
        &subject.shown[last],
        &subject.shown[subject.shown.len() / 2],
    );
    let said = told("assessing an image");
    let (_, early) = living.assess(other, true).map_err(&said)?;
    let (_, carry) = living.assess(one, true).map_err(&said)?;
    living
        .absorb(one, carry)
        .map_err(told("absorbing an image"))?;
    let before = saved(&*living)?;
    match living.absorb(other, early) {
        Ok(()) => saved(&*living).map(|_| ()),
        Err(error) => {
            refused::<()>(Err(error), "a stale assessment")?;
            same_state(
                &before,
                &saved(&*living)?,
                "after a stale assessment was refused",
            )
        }
    }
}

fn misshapen(subject: &Subject) -> Held {
    for steps in [0, subject.life.len()] {
        let mut living = subject.aged(steps)?;
        let before = saved(&*living)?;
        for (what, shown) in &subject.misshapen {
            if let Some(Step::Collect(_)) = subject.life.get(steps) {
                refused(living.collect(shown), what)?;
            }
            match living.assess(shown, true) {
                Ok((said, _)) if subject.may_ignore && subject.speaks(steps) => {
                    let (clean, _) = living
                        .assess(&subject.last(), true)
                        .map_err(told("assessing an image"))?;
                    clean.same(&said, &format!("with {what}, which is accepted"))?;
                }
                result => refused(result, what)?,
            }
            same_state(&before, &saved(&*living)?, &format!("after {what}"))?;
        }
    }
    Ok(())
}

fn odd(subject: &Subject) -> Held {
    let steps = subject.life.len();
    let state = saved(&*subject.aged(steps)?)?;
    for (what, shown) in &subject.odd {
        let mut living = restore(subject.new_one()?, &state).map_err(told("restoring a state"))?;
        let there = |found: String| format!("with {what}: {found}");
        match living.assess(shown, true) {
            Err(error) => refused::<()>(Err(error), what)?,
            Ok((said, carry)) => {
                said.sound().map_err(there)?;
                if let Err(error) = living.absorb(shown, carry) {
                    refused::<()>(Err(error), what)?;
                    same_state(&state, &saved(&*living)?, &format!("after {what}"))?;
                }
                survives(subject, &mut *living, steps).map_err(there)?;
            }
        }
        let mut learning = subject.new_one()?;
        for &step in subject.life.iter().take_while(|step| **step != Step::Fit) {
            subject.take(&mut *learning, step)?;
        }
        if subject.life.contains(&Step::Fit) && learning.collect(shown).is_ok() {
            match learning.fit() {
                Ok(()) => survives(subject, &mut *learning, steps).map_err(there)?,
                Err(error) => refused::<()>(Err(error), what)?,
            }
        }
    }
    Ok(())
}
