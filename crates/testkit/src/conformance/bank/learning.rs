//! What a bank declares, and whether it is true.

use std::borrow::Cow;
use std::path::Path;

use rareclip_core::snapshot::{Snapshot, SnapshotWriter};
use rareclip_core::{
    BoxError, ErasedBank, Evidence, FeatureSource, Features, Learning, Role, UpdatePolicy,
};

use super::case::{BankCase, PASS};
use crate::broken::{Held, Promise, refused, told};
use crate::conformance::said::Said;

pub(super) const ALL: &[Promise<BankCase>] = &[
    Promise {
        says: "it learns as it declares: online, from a training pass, or from a whole set",
        holds: learns_as_declared,
    },
    Promise {
        says: "an empty memory finds nothing rare",
        holds: empty_is_zero,
    },
    Promise {
        says: "the blocks it declares are all it reads",
        holds: declared_blocks_suffice,
    },
    Promise {
        says: "a backbone without its blocks is refused",
        holds: other_backbones_are_refused,
    },
    Promise {
        says: "a set of images gets one evidence for each, in their order",
        holds: sets,
    },
    Promise {
        says: "an image of a set that cannot be read is an error",
        holds: unreadable,
    },
    Promise {
        says: "its update policy is the one of its options",
        holds: update_policy,
    },
];

/// The state of a bank, as far as others can see.
pub(super) fn state(bank: &dyn ErasedBank) -> Result<Vec<u8>, String> {
    let mut writer = SnapshotWriter::new();
    bank.save(&mut writer);
    writer.to_bytes().map_err(|error| error.to_string())
}

/// Puts such a state into a bank.
pub(super) fn restore(
    bank: Box<dyn ErasedBank>,
    state: Vec<u8>,
) -> Result<Box<dyn ErasedBank>, BoxError> {
    let snapshot = Snapshot::from_bytes(Path::new("state"), state)?;
    bank.restore(&snapshot.reader()?)
}

/// That a step is refused and changes nothing.
fn idle<T>(
    bank: &mut dyn ErasedBank,
    what: &str,
    step: impl FnOnce(&mut dyn ErasedBank) -> Result<T, BoxError>,
) -> Held {
    let before = state(bank)?;
    refused(step(bank), what)?;
    match state(bank)? == before {
        true => Ok(()),
        false => Err(format!("{what} is refused and changes the state")),
    }
}

fn learns_as_declared(case: &BankCase) -> Held {
    let images = case.world.images.as_slice();
    let mut bank = case.bank()?;
    let bank = &mut *bank;
    if case.learning != Learning::Batch {
        idle(bank, "a whole set", |bank| bank.assess_batch(&images))?;
    }
    if case.learning != Learning::Fit {
        idle(bank, "an image of a training pass", |bank| {
            bank.collect(&images[0])
        })?;
        return idle(bank, "the end of a training pass", |bank| bank.fit()).and_then(
            |()| match case.learning {
                Learning::Batch => idle(bank, "an image alone", |bank| bank.assess(&images[0])),
                _ => Ok(()),
            },
        );
    }
    idle(bank, "an image before the training pass", |bank| {
        bank.assess(&images[0])
    })?;
    idle(
        bank,
        "the end of a training pass without an image",
        |bank| bank.fit(),
    )?;
    let mut bank = case.ready()?;
    let bank = &mut *bank;
    idle(bank, "a second end of the training pass", |bank| bank.fit())?;
    idle(bank, "an image after the training pass", |bank| {
        bank.collect(&images[0])
    })?;
    let before = state(bank)?;
    let assessed = bank.assess(&images[5]).map_err(told("assessing"))?;
    bank.absorb(&images[5], assessed.carry, Role::Query)
        .map_err(told("absorbing"))?;
    match state(bank)? == before {
        true => Ok(()),
        false => Err("it learns from known normals, and from an image that was scored".into()),
    }
}

fn empty_is_zero(case: &BankCase) -> Held {
    if case.learning != Learning::Online {
        return Ok(());
    }
    let bank = case.bank()?;
    for image in &case.world.images {
        let assessed = bank.assess(image).map_err(told("assessing"))?;
        let branches = assessed.evidence.branches.iter();
        let mut values = branches.flat_map(|branch| &branch.scores);
        if let Some(value) = values.find(|value| **value != 0.0) {
            return Err(format!("a patch has score {value}"));
        }
    }
    Ok(())
}

/// The same image without the blocks that a bank does not declare.
fn reduced(features: &Features, blocks: &[usize]) -> Features {
    let mut reduced = features.clone();
    reduced.tokens.retain(|block, _| blocks.contains(block));
    reduced
}

/// Evidence of every image of `images`, by whichever way the bank looks at them.
fn evidence(bank: &mut dyn ErasedBank, images: &[Features]) -> Result<Vec<Evidence>, BoxError> {
    if bank.learning() == Learning::Batch {
        return bank.assess_batch(&images);
    }
    let mut all = Vec::new();
    for image in images {
        let assessed = bank.assess(image)?;
        bank.absorb(image, assessed.carry, Role::Query)?;
        all.push(assessed.evidence);
    }
    Ok(all)
}

fn declared_blocks_suffice(case: &BankCase) -> Held {
    let blocks = case.factory.blocks();
    let images = case.world.images.iter();
    let reduced: Vec<Features> = images.map(|image| reduced(image, &blocks)).collect();
    let mut bank = case.bank()?;
    if case.learning == Learning::Fit {
        for image in &reduced[..PASS] {
            bank.collect(image).map_err(told("collecting"))?;
        }
        bank.fit().map_err(told("ending the training pass"))?;
    }
    let reduced = evidence(&mut *bank, &reduced)
        .map_err(told(format!("an image with blocks {blocks:?} alone")))?;
    let whole = evidence(&mut *case.ready()?, &case.world.images).map_err(told("assessing"))?;
    let pairs = whole.iter().zip(&reduced);
    pairs.into_iter().try_for_each(|(one, other)| {
        let when = "with the declared blocks alone";
        case.said(one).same(&case.said(other), when)
    })
}

fn other_backbones_are_refused(case: &BankCase) -> Held {
    let blocks = case.factory.blocks();
    for block in &blocks {
        let mut spec = case.world.spec.clone();
        spec.blocks.retain(|(other, _)| other != block);
        let built = case.factory.build(&spec);
        refused(
            built.map(|_| ()),
            format!("a backbone without block {block}"),
        )?;
    }
    Ok(())
}

fn sets(case: &BankCase) -> Held {
    if case.learning != Learning::Batch {
        return Ok(());
    }
    let bank = case.bank()?;
    let images = &case.world.images;
    let assess = |images: &[Features]| bank.assess_batch(&images);
    for count in [0, 1, 2] {
        match assess(&images[..count]) {
            Ok(all) if all.len() == count => {}
            Ok(all) => return Err(format!("{count} images get {} evidence", all.len())),
            Err(error) => refused::<()>(Err(error), format!("a set of {count} images"))?,
        }
    }
    let all = assess(images).map_err(told("assessing a set"))?;
    if all.len() != images.len() {
        return Err(format!(
            "{} images get {} evidence",
            images.len(),
            all.len()
        ));
    }
    // Sums may be taken in another order, so that the results are close and no more.
    let turned: Vec<Features> = images.iter().rev().cloned().collect();
    let turned = assess(&turned).map_err(told("assessing a set"))?;
    let said: Vec<Said> = all.iter().map(|one| case.said(one)).collect();
    for (image, other) in turned.iter().rev().enumerate() {
        said[image].sound()?;
        let distance = said[image].distance(&case.said(other));
        if distance > 1e-3 {
            return Err(format!(
                "with the set in the opposite order, image {image} is another by {distance}"
            ));
        }
    }
    Ok(())
}

/// A set with an image that is gone.
struct Gone<'a>(&'a [Features], usize);

impl FeatureSource for Gone<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, at: usize) -> Result<Cow<'_, Features>, BoxError> {
        match at == self.1 {
            true => Err("the file is gone".into()),
            false => self
                .0
                .get(at)
                .map(Cow::Borrowed)
                .ok_or_else(|| "no such image".into()),
        }
    }
}

fn unreadable(case: &BankCase) -> Held {
    if case.learning != Learning::Batch {
        return Ok(());
    }
    let bank = case.bank()?;
    for image in [0, 3, case.world.images.len() - 1] {
        let set = Gone(&case.world.images, image);
        refused(
            bank.assess_batch(&set),
            format!("a set without image {image}"),
        )?;
    }
    Ok(())
}

fn update_policy(case: &BankCase) -> Held {
    let component = case.setup.declaration()?;
    let schema = component.schema();
    if schema["properties"]["update"].is_null() {
        return match case.factory.update() == UpdatePolicy::Always {
            true => Ok(()),
            false => Err("it has a policy of its own and no option `update`".into()),
        };
    }
    let policy = UpdatePolicy::Budget { images: 3 };
    let mut setup = case.setup.clone();
    let table = setup.tables.entry(setup.slot).or_default();
    table.insert(
        "update".into(),
        serde_json::json!({ "type": "budget", "images": 3 }),
    );
    let found = setup
        .options::<dyn rareclip_core::MemoryBankFactory>()?
        .update();
    match found == policy {
        true => Ok(()),
        false => Err(format!(
            "with `update` a budget of 3 images it declares {found:?}"
        )),
    }
}
