//! A bank to be held to its contract.

use std::sync::Arc;

use rareclip_core::backbone::BackboneSpec;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{BoxError, ErasedBank, Features, Learning, MemoryBankFactory};

use super::super::life::{Step, Subject};
use super::super::living::Living;
use super::super::said::{Carry, Said, of_evidence};
use super::super::setup::Setup;
use super::super::spoilt::{Spoilt, misshapen, non_finite};
use super::super::world::{Shown, World};

/// Known normals of a training pass.
pub(super) const PASS: usize = 4;

/// A bank and its world.
pub(super) struct BankCase {
    pub(super) factory: Arc<dyn MemoryBankFactory>,
    pub(super) world: World,
    pub(super) setup: Setup,
    pub(super) learning: Learning,
}

impl BankCase {
    pub(super) fn new(setup: &Setup) -> Result<Self, String> {
        let factory = setup.options::<dyn MemoryBankFactory>()?;
        let world = World::new(setup)?;
        let bank = factory.build(&world.spec);
        let learning = bank.map_err(|error| error.to_string())?.learning();
        Ok(Self {
            factory,
            world,
            setup: setup.clone(),
            learning,
        })
    }

    /// An empty bank.
    pub(super) fn bank(&self) -> Result<Box<dyn ErasedBank>, String> {
        let bank = self.factory.build(&self.world.spec);
        bank.map_err(|error| format!("building it fails: {error}"))
    }

    /// A bank that has learnt, or can do without.
    pub(super) fn ready(&self) -> Result<Box<dyn ErasedBank>, String> {
        let mut bank = self.bank()?;
        if self.learning == Learning::Fit {
            for image in &self.world.images[..PASS] {
                bank.collect(image)
                    .map_err(|error| format!("collecting an image fails: {error}"))?;
            }
            bank.fit()
                .map_err(|error| format!("ending the training pass fails: {error}"))?;
        }
        Ok(bank)
    }

    pub(super) fn said(&self, evidence: &rareclip_core::Evidence) -> Said {
        of_evidence(evidence, self.world.spec.grid.patches())
    }

    /// The bank as something with a state, shown so many known normals before the other images.
    pub(super) fn subject(&self, normals: usize) -> Result<Subject, String> {
        let mut alone = self.setup.clone();
        alone
            .tables
            .retain(|&slot, _| slot == rareclip_core::Slot::Backbone);
        let shown = self.world.shown(&alone, normals)?;
        let show = (0..shown.len()).map(Step::Show);
        let collect = (0..PASS).map(Step::Collect);
        let (life, speaks_from): (Vec<Step>, usize) = match self.learning {
            Learning::Online => (show.collect(), 0),
            Learning::Fit => (collect.chain([Step::Fit]).chain(show).collect(), PASS + 1),
            Learning::Batch => (Vec::new(), 0),
        };
        let blocks = self.factory.blocks();
        let last = shown[shown.len() - 1].query();
        let with = |all: Vec<Spoilt<Features>>| -> Vec<Spoilt<Shown>> {
            let shown = |features| Shown {
                features,
                ..last.clone()
            };
            let all = all.into_iter();
            all.map(|(what, features)| (what, shown(features)))
                .collect()
        };
        let factory = self.factory.clone();
        let spec = self.world.spec.clone();
        let others: Arc<[Features]> = self.world.images[..3].into();
        Ok(Subject {
            fresh: Box::new(move || BankLife::boxed(&*factory, &spec, &others)),
            life,
            speaks_from,
            misshapen: with(misshapen(&last.features, &blocks)),
            may_ignore: false,
            odd: with(non_finite(&last.features, &blocks)),
            shown,
        })
    }
}

/// A bank of one stream. Where it looks at a whole set, an image is assessed as the first of a set
/// whose `others` stay.
struct BankLife {
    bank: Box<dyn ErasedBank>,
    others: Arc<[Features]>,
    patches: usize,
}

impl BankLife {
    fn boxed(
        factory: &dyn MemoryBankFactory,
        spec: &BackboneSpec,
        others: &Arc<[Features]>,
    ) -> Result<Box<dyn Living>, BoxError> {
        Ok(Box::new(Self {
            bank: factory.build(spec)?,
            others: others.clone(),
            patches: spec.grid.patches(),
        }))
    }
}

impl Living for BankLife {
    fn collect(&mut self, shown: &Shown) -> Result<(), BoxError> {
        self.bank.collect(&shown.features)
    }

    fn fit(&mut self) -> Result<(), BoxError> {
        self.bank.fit()
    }

    fn assess(&self, shown: &Shown, _: bool) -> Result<(Said, Carry), BoxError> {
        if self.bank.learning() != Learning::Batch {
            let assessed = self.bank.assess(&shown.features)?;
            let said = of_evidence(&assessed.evidence, self.patches);
            return Ok((said, assessed.carry));
        }
        let set: Vec<Features> = [std::slice::from_ref(&shown.features), &*self.others].concat();
        let all = self.bank.assess_batch(&set.as_slice())?;
        let first = all.first().ok_or("a set of images gets no evidence")?;
        Ok((of_evidence(first, self.patches), Box::new(())))
    }

    fn absorb(&mut self, shown: &Shown, carry: Carry) -> Result<(), BoxError> {
        // A bank of sets is given no image to absorb, so that it owes no answer.
        if self.bank.learning() == Learning::Batch && carry.is::<()>() {
            return Ok(());
        }
        self.bank.absorb(&shown.features, carry, shown.role)
    }

    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        self.bank.save(writer);
    }

    fn restore(self: Box<Self>, reader: &SnapshotReader<'_>) -> Result<Box<dyn Living>, BoxError> {
        let bank = self.bank.restore(reader)?;
        Ok(Box::new(Self { bank, ..*self }))
    }
}
