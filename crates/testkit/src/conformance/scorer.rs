//! The contract of a scorer.

use std::borrow::Cow;
use std::sync::Arc;

use rareclip_core::backbone::BackboneSpec;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{
    BoxError, ErasedScorer, FeatureSource, Features, MemoryBankFactory, Role, ScorerFactory, Slot,
};

use super::life::{self, Step, Subject};
use super::living::Living;
use super::said::{Carry, Said, of_scored};
use super::setup::Setup;
use super::small;
use super::spoilt::{
    Spoilt, misshapen, misshapen_inputs, missing_inputs, non_finite, non_finite_inputs,
};
use super::world::{NORMALS, Shown, World};
use crate::broken::{Broken, Held, Promise, keep, kept, refused, told};

/// A scorer and its world.
struct ScorerCase {
    factory: Arc<dyn ScorerFactory>,
    world: World,
    setup: Setup,
    /// Blocks that the bank beside it reads.
    bank_blocks: Vec<usize>,
}

/// Holds the scorer of `setup` to its contract.
pub(super) fn examine(setup: &Setup) -> Result<(), Broken> {
    let component = setup.component();
    let case = kept(&component, super::setup::CAN_BE_BUILT, || {
        ScorerCase::new(setup)
    })?;
    for normals in [NORMALS, 0] {
        let says = "the kit can show it images";
        let subject = kept(&component, says, || case.subject(normals))?;
        keep(&component, &subject, life::ALL)?;
    }
    keep(&component, &case, PROMISES)?;
    small::worlds(setup, |small| ScorerCase::new(small)?.subject(NORMALS))
}

impl ScorerCase {
    fn new(setup: &Setup) -> Result<Self, String> {
        let factory = setup.options::<dyn ScorerFactory>()?;
        let world = World::new(setup)?;
        let bank_blocks = match setup.has(Slot::Bank) {
            true => setup.options::<dyn MemoryBankFactory>()?.blocks(),
            false => Vec::new(),
        };
        let case = Self {
            factory,
            world,
            setup: setup.clone(),
            bank_blocks,
        };
        case.scorer().map(|_| case)
    }

    /// A scorer that has seen nothing.
    fn scorer(&self) -> Result<Box<dyn ErasedScorer>, String> {
        let built = self.factory.build(&self.world.spec, &self.bank_blocks);
        built.map_err(|error| error.to_string())
    }

    /// The blocks it may read: its own and those of the bank.
    fn blocks(&self) -> Vec<usize> {
        [self.factory.blocks(), self.bank_blocks.clone()].concat()
    }

    fn shown(&self, normals: usize) -> Result<Vec<Shown>, String> {
        self.world.shown(&self.setup, normals)
    }

    /// The scorer as something with a state, shown so many known normals before the other images.
    fn subject(&self, normals: usize) -> Result<Subject, String> {
        let shown = self.shown(normals)?;
        let last = shown[shown.len() - 1].query();
        let blocks = self.blocks();
        let with = |all: Vec<Spoilt<Features>>| {
            let shown = |features| Shown {
                features,
                ..last.clone()
            };
            let all = all.into_iter();
            all.map(move |(what, features)| (what, shown(features)))
                .collect::<Vec<_>>()
        };
        let factory = self.factory.clone();
        let (spec, bank_blocks) = (self.world.spec.clone(), self.bank_blocks.clone());
        Ok(Subject {
            fresh: Box::new(move || ScorerLife::boxed(&*factory, &spec, &bank_blocks)),
            life: (0..shown.len()).map(Step::Show).collect(),
            speaks_from: 0,
            misshapen: [
                with(misshapen(&last.features, &blocks)),
                misshapen_inputs(&last),
            ]
            .concat(),
            may_ignore: true,
            odd: [
                with(non_finite(&last.features, &blocks)),
                non_finite_inputs(&last),
                missing_inputs(&last),
            ]
            .concat(),
            shown,
        })
    }
}

/// A scorer of one stream.
struct ScorerLife {
    scorer: Box<dyn ErasedScorer>,
    side: usize,
}

impl ScorerLife {
    fn boxed(
        factory: &dyn ScorerFactory,
        spec: &BackboneSpec,
        bank_blocks: &[usize],
    ) -> Result<Box<dyn Living>, BoxError> {
        Ok(Box::new(Self {
            scorer: factory.build(spec, bank_blocks)?,
            side: spec.input.side,
        }))
    }
}

impl Living for ScorerLife {
    fn collect(&mut self, _: &Shown) -> Result<(), BoxError> {
        Err("a scorer has no training pass".into())
    }

    fn fit(&mut self) -> Result<(), BoxError> {
        Err("a scorer has no training pass".into())
    }

    fn assess(&self, shown: &Shown, update: bool) -> Result<(Said, Carry), BoxError> {
        let assessed = self.scorer.assess(&shown.input(update))?;
        let query = shown.role == Role::Query;
        let said = of_scored(assessed.scored.as_ref(), self.side, query);
        Ok((said, assessed.carry))
    }

    fn absorb(&mut self, shown: &Shown, carry: Carry) -> Result<(), BoxError> {
        self.scorer.absorb(&shown.input(true), carry)
    }

    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        self.scorer.save(writer);
    }

    fn restore(self: Box<Self>, reader: &SnapshotReader<'_>) -> Result<Box<dyn Living>, BoxError> {
        let scorer = self.scorer.restore(reader)?;
        Ok(Box::new(Self { scorer, ..*self }))
    }
}

const PROMISES: &[Promise<ScorerCase>] = &[
    Promise {
        says: "its nominal range is a range",
        holds: nominal_range,
    },
    Promise {
        says: "its blocks and those of the bank are all it reads",
        holds: declared_blocks_suffice,
    },
    Promise {
        says: "a backbone without its blocks is refused",
        holds: other_backbones_are_refused,
    },
    Promise {
        says: "the memory it reports is no more after it was restored",
        holds: restored_is_as_large,
    },
    Promise {
        says: "the bytes that its options declare before it is built are never exceeded by scored images",
        holds: declared_capacity,
    },
    Promise {
        says: "refining the scores of a set gives one finite score for each image, in their order, and leaves no trace",
        holds: refines,
    },
    Promise {
        says: "a set that cannot be refined is an error and keeps its scores",
        holds: refines_all_or_nothing,
    },
];

fn nominal_range(case: &ScorerCase) -> Held {
    let (low, high) = case.scorer()?.nominal_range();
    match low.is_finite() && high.is_finite() && low < high {
        true => Ok(()),
        false => Err(format!("it is {low} to {high}")),
    }
}

/// What is said of a stream of images.
fn stream(case: &ScorerCase, shown: &[Shown]) -> Result<Vec<Said>, BoxError> {
    let mut living = ScorerLife::boxed(&*case.factory, &case.world.spec, &case.bank_blocks)?;
    let mut all = Vec::new();
    for shown in shown {
        let (said, carry) = living.assess(shown, true)?;
        living.absorb(shown, carry)?;
        all.push(said);
    }
    Ok(all)
}

fn declared_blocks_suffice(case: &ScorerCase) -> Held {
    let blocks = case.blocks();
    let whole = case.shown(NORMALS)?;
    let mut reduced = whole.clone();
    for shown in &mut reduced {
        shown
            .features
            .tokens
            .retain(|block, _| blocks.contains(block));
    }
    let whole = stream(case, &whole).map_err(told("scoring a stream"))?;
    let reduced = stream(case, &reduced);
    let reduced = reduced.map_err(told(format!("an image with blocks {blocks:?} alone")))?;
    let pairs = whole.iter().zip(&reduced);
    pairs
        .into_iter()
        .try_for_each(|(one, other)| one.same(other, "with the declared blocks alone"))
}

fn other_backbones_are_refused(case: &ScorerCase) -> Held {
    for block in case.factory.blocks() {
        let mut spec = case.world.spec.clone();
        spec.blocks.retain(|(other, _)| *other != block);
        let built = case.factory.build(&spec, &case.bank_blocks);
        refused(
            built.map(|_| ()),
            format!("a backbone without block {block}"),
        )?;
    }
    Ok(())
}

fn restored_is_as_large(case: &ScorerCase) -> Held {
    let mut scorer = case.scorer()?;
    for shown in case.shown(NORMALS)? {
        let assessed = scorer
            .assess(&shown.input(true))
            .map_err(told("assessing"))?;
        let absorbing = scorer.absorb(&shown.input(true), assessed.carry);
        absorbing.map_err(told("absorbing"))?;
        let mut writer = SnapshotWriter::new();
        scorer.save(&mut writer);
        let state = writer.to_bytes().map_err(|error| error.to_string())?;
        let snapshot = rareclip_core::snapshot::Snapshot::from_bytes("state".as_ref(), state);
        let snapshot = snapshot.map_err(|error| error.to_string())?;
        let reader = snapshot.reader().map_err(|error| error.to_string())?;
        let other = case.scorer()?.restore(&reader);
        let other = other.map_err(told("restoring"))?;
        let (one, other) = (scorer.bytes(), other.bytes());
        // Buffers that outlive an image count as bytes, and are no state.
        if other > one {
            return Err(format!("it says {one} bytes, restored {other}"));
        }
    }
    Ok(())
}

/// A scorer that cannot declare it is not held to it.
fn declared_capacity(case: &ScorerCase) -> Held {
    let declared = case
        .factory
        .capacity_bytes(&case.world.spec, &case.bank_blocks);
    let Some(declared) = declared.map_err(told("computing its capacity"))? else {
        return Ok(());
    };
    let mut scorer = case.scorer()?;
    for shown in case.shown(0)? {
        let assessed = scorer.assess(&shown.input(true));
        let carry = assessed.map_err(told("assessing"))?.carry;
        let absorbing = scorer.absorb(&shown.input(true), carry);
        absorbing.map_err(told("absorbing"))?;
        let held = scorer.bytes();
        if u64::try_from(held).unwrap_or(u64::MAX) > declared {
            return Err(format!(
                "it holds {held} bytes, its options declare {declared}"
            ));
        }
    }
    Ok(())
}

/// One score for each image. The image that comes twice has one score, so that it does not matter
/// which of the two is taken for the nearer one.
fn scores(count: usize) -> Vec<f32> {
    let images = (0..count).map(|image| if image == 5 { 3 } else { image });
    images
        .map(|image| 0.1 + (image * image) as f32 * 0.05)
        .collect()
}

fn refine(
    scorer: &dyn ErasedScorer,
    images: &[Features],
    scores: &[f32],
) -> Result<Vec<f32>, BoxError> {
    let mut scores = scores.to_vec();
    scorer.refine_batch(&images, &mut scores)?;
    Ok(scores)
}

fn refines(case: &ScorerCase) -> Held {
    let scorer = case.scorer()?;
    let images = &case.world.images;
    let scores = scores(images.len());
    for count in 0..=images.len() {
        let refined = refine(&*scorer, &images[..count], &scores[..count]);
        let refined = refined.map_err(told(format!("refining {count} scores")))?;
        if let Some(score) = refined.iter().find(|score| !score.is_finite()) {
            return Err(format!("a score of {count} becomes {score}"));
        }
        let again = refine(&*scorer, &images[..count], &scores[..count]);
        if again.map_err(told("refining again"))? != refined {
            return Err(format!(
                "{count} scores are refined otherwise the second time"
            ));
        }
    }
    let turned: Vec<Features> = images.iter().rev().cloned().collect();
    let turned_scores: Vec<f32> = scores.iter().rev().copied().collect();
    let one = refine(&*scorer, images, &scores).map_err(told("refining"))?;
    let other = refine(&*scorer, &turned, &turned_scores).map_err(told("refining"))?;
    let pairs = one.iter().zip(other.iter().rev());
    for (image, (one, other)) in pairs.enumerate() {
        // Sums may be taken in another order.
        if (one - other).abs() > 1e-4 * one.abs().max(1.0) {
            return Err(format!(
                "with the set in the opposite order, image {image} scores {other}, not {one}"
            ));
        }
    }
    Ok(())
}

/// A set of which no image can be read.
struct Gone(usize);

impl FeatureSource for Gone {
    fn len(&self) -> usize {
        self.0
    }

    fn get(&self, _: usize) -> Result<Cow<'_, Features>, BoxError> {
        Err("the file is gone".into())
    }
}

fn refines_all_or_nothing(case: &ScorerCase) -> Held {
    let scorer = case.scorer()?;
    let images = &case.world.images;
    let before = scores(images.len());
    let mut short = scores(images.len() - 1);
    let mut all: Vec<Spoilt<Vec<Features>>> = Vec::new();
    for (what, features) in misshapen(&images[2], &[]) {
        let mut set = images.clone();
        set[2] = features;
        all.push((what, set));
    }
    for (what, set) in &all {
        let mut after = before.clone();
        let result = scorer.refine_batch(&set.as_slice(), &mut after);
        kept_or_finite(result, &before, &after, what)?;
    }
    let mut after = before.clone();
    let result = scorer.refine_batch(&Gone(images.len()), &mut after);
    kept_or_finite(result, &before, &after, "images that cannot be read")?;
    let kept = short.clone();
    let result = scorer.refine_batch(&images.as_slice(), &mut short);
    kept_or_finite(result, &kept, &short, "a score too few")
}

/// That an error left the scores as they were, and success left them finite.
fn kept_or_finite(result: Result<(), BoxError>, before: &[f32], after: &[f32], what: &str) -> Held {
    match result {
        Err(error) => {
            refused::<()>(Err(error), what)?;
            match before == after {
                true => Ok(()),
                false => Err(format!("{what} is refused and changes the scores")),
            }
        }
        Ok(()) if after.iter().all(|score| score.is_finite()) => Ok(()),
        Ok(()) => Err(format!("{what} gives scores that are not finite")),
    }
}
