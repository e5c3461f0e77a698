//! How full a bank is, and what it says of its searches.

use rareclip_core::{BankStatus, ErasedBank, Learning, Role};

use super::case::{BankCase, PASS};
use crate::broken::{Held, Promise, refused, told};
use crate::conformance::spoilt::misshapen;

pub(super) const ALL: &[Promise<BankCase>] = &[
    Promise {
        says: "it never holds more bytes than it said beforehand",
        holds: capacity,
    },
    Promise {
        says: "the bytes that its options declare before it is built are never exceeded",
        holds: declared_capacity,
    },
    Promise {
        says: "it counts the images it has absorbed",
        holds: counts,
    },
    Promise {
        says: "a restored bank is as full as the saved one",
        holds: restored_is_as_full,
    },
    Promise {
        says: "the recall of its index is a share, and asking for it leaves no trace",
        holds: recall,
    },
    Promise {
        says: "a known normal after other images is taken, or refused and leaves the state as it is",
        holds: late_normals,
    },
];

/// What an empty bank is called at each step of its life.
type Each<'a> = &'a mut dyn FnMut(&dyn ErasedBank, u64) -> Held;

/// Leads a bank through its life, longer than the others so that it runs over; `each` is told how
/// many images it should have absorbed.
fn live(case: &BankCase, each: Each<'_>) -> Held {
    let mut bank = case.bank()?;
    each(&*bank, 0)?;
    let mut absorbed = 0;
    if case.learning == Learning::Batch {
        return Ok(());
    }
    if case.learning == Learning::Fit {
        for image in &case.world.images[..PASS] {
            bank.collect(image).map_err(told("collecting"))?;
            absorbed += 1;
            each(&*bank, absorbed)?;
        }
        bank.fit().map_err(told("ending the training pass"))?;
        each(&*bank, absorbed)?;
    }
    let images = case.world.images.iter();
    for image in images.cycle().take(3 * case.world.images.len()) {
        let assessed = bank.assess(image).map_err(told("assessing"))?;
        let absorbing = bank.absorb(image, assessed.carry, Role::Query);
        absorbing.map_err(told("absorbing"))?;
        absorbed += u64::from(case.learning == Learning::Online);
        each(&*bank, absorbed)?;
    }
    Ok(())
}

fn capacity(case: &BankCase) -> Held {
    let mut foretold = case.bank()?.status().capacity_bytes;
    live(case, &mut |bank, images| {
        let BankStatus {
            bytes,
            capacity_bytes,
            ..
        } = bank.status();
        if bytes > capacity_bytes || capacity_bytes > foretold {
            return Err(format!(
                "after {images} images it holds {bytes} bytes of {capacity_bytes}, {foretold} before"
            ));
        }
        foretold = capacity_bytes;
        Ok(())
    })
}

/// A bank that cannot declare it is not held to it.
fn declared_capacity(case: &BankCase) -> Held {
    let declared = case.factory.capacity_bytes(&case.world.spec);
    let Some(declared) = declared.map_err(told("computing its capacity"))? else {
        return Ok(());
    };
    live(case, &mut |bank, images| {
        let status = bank.status();
        let most = u64::try_from(status.bytes.max(status.capacity_bytes)).unwrap_or(u64::MAX);
        match most <= declared {
            true => Ok(()),
            false => Err(format!(
                "after {images} images it has {status:?}, its options declare {declared} bytes"
            )),
        }
    })
}

fn counts(case: &BankCase) -> Held {
    live(case, &mut |bank, images| {
        let found = bank.status().images;
        match found == images {
            true => Ok(()),
            false => Err(format!("after {images} images it says {found}")),
        }
    })
}

fn restored_is_as_full(case: &BankCase) -> Held {
    live(case, &mut |bank, images| {
        let state = super::learning::state(bank)?;
        let other = super::learning::restore(case.bank()?, state).map_err(told("restoring"))?;
        let (one, other) = (bank.status(), other.status());
        // Buffers that outlive an image count as bytes, and are no state.
        let full = |status: &BankStatus| (status.images, status.prototypes, status.capacity_bytes);
        match full(&one) == full(&other) && other.bytes <= one.bytes {
            true => Ok(()),
            false => Err(format!("after {images} images {one:?}, restored {other:?}")),
        }
    })
}

fn recall(case: &BankCase) -> Held {
    if case.learning == Learning::Batch {
        return Ok(());
    }
    let blocks = case.factory.blocks();
    let image = &case.world.images[4];
    live(case, &mut |bank, _| {
        let before = super::learning::state(bank)?;
        for stride in [0, 1, 7, usize::MAX] {
            // Before there is anything to search, an error will do.
            let recall = bank.recall(image, stride).unwrap_or_default();
            if recall.is_some_and(|recall| recall.found > recall.wanted) {
                return Err(format!("with stride {stride} it is {recall:?}"));
            }
        }
        match super::learning::state(bank)? == before {
            true => Ok(()),
            false => Err("asking for it changes the state".into()),
        }
    })?;
    let bank = case.ready()?;
    if bank
        .recall(image, 1)
        .map_err(told("asking for it"))?
        .is_none()
    {
        return Ok(());
    }
    let spoilt = misshapen(image, &blocks);
    spoilt
        .iter()
        .try_for_each(|(what, image)| refused(bank.recall(image, 1), what))
}

fn late_normals(case: &BankCase) -> Held {
    if case.learning == Learning::Batch {
        return Ok(());
    }
    let mut bank = case.ready()?;
    for (number, image) in case.world.images.iter().enumerate() {
        let role = if number % 2 == 0 {
            Role::Query
        } else {
            Role::Normal
        };
        let assessed = bank.assess(image).map_err(told("assessing"))?;
        let before = super::learning::state(&*bank)?;
        if let Err(error) = bank.absorb(image, assessed.carry, role) {
            refused::<()>(Err(error), "a known normal")?;
            if role == Role::Query || super::learning::state(&*bank)? != before {
                return Err(format!(
                    "image {number} is refused as {role:?} and leaves a trace"
                ));
            }
        }
    }
    Ok(())
}
