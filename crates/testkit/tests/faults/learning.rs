//! Banks that learn from a training pass, and from a whole set.

use std::any::Any;

use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::bank::BankAssessment;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{
    BankStatus, BoxError, ErasedBank, Evidence, FeatureSource, Features, Learning, MemoryBank,
    MemoryBankFactory, Role, typetag,
};
use rareclip_testkit::conformance;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bank::sound;
use crate::refused;

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum PassFault {
    /// Sound.
    #[default]
    None,
    /// Images can be assessed before the training pass has ended.
    FitIsNotNeeded,
    /// The training pass never ends.
    CollectsForEver,
    /// Images that are scored are remembered.
    LearnsFromScored,
    /// An empty training pass can be ended.
    FitsNothing,
}

/// A bank of a training pass, with a fault.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PassOptions {
    /// The fault. Default none.
    fault: PassFault,
}

#[typetag::serde(name = "faulty-pass")]
impl MemoryBankFactory for PassOptions {
    fn blocks(&self) -> Vec<usize> {
        sound().blocks()
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        Ok(Box::new(Pass {
            fault: self.fault,
            inner: sound().build(backbone)?,
            fitted: false,
        }))
    }
}

struct Pass {
    fault: PassFault,
    inner: Box<dyn ErasedBank>,
    fitted: bool,
}

impl State for Pass {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        writer.value("fitted", &self.fitted);
        self.inner.save(writer);
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        self.fitted = reader.value("fitted")?;
        self.inner = self.inner.restore(reader)?;
        Ok(self)
    }
}

impl MemoryBank for Pass {
    type Carry = Box<dyn Any + Send>;

    fn learning(&self) -> Learning {
        Learning::Fit
    }

    fn collect(&mut self, features: &Features) -> Result<(), BoxError> {
        if self.fitted && self.fault != PassFault::CollectsForEver {
            return Err("the training pass has ended".into());
        }
        let assessed = self.inner.assess(features)?;
        self.inner.absorb(features, assessed.carry, Role::Normal)
    }

    fn fit(&mut self) -> Result<(), BoxError> {
        let empty = self.inner.status().images == 0 && self.fault != PassFault::FitsNothing;
        if self.fitted || empty {
            return Err("nothing to fit".into());
        }
        self.fitted = true;
        Ok(())
    }

    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        if !self.fitted && self.fault != PassFault::FitIsNotNeeded {
            return Err("the training pass has not ended".into());
        }
        let BankAssessment { evidence, carry } = self.inner.assess(features)?;
        Ok((evidence, carry))
    }

    fn absorb(&mut self, features: &Features, carry: Self::Carry, _: Role) -> Result<(), BoxError> {
        match self.fault {
            PassFault::LearnsFromScored => self.inner.absorb(features, carry, Role::Query),
            _ => Ok(()),
        }
    }

    fn status(&self) -> BankStatus {
        self.inner.status()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum SetFault {
    /// Sound.
    #[default]
    None,
    /// The evidence comes in the opposite order.
    OrderIsIgnored,
    /// The last image gets none.
    LastIsForgotten,
    /// Images that cannot be read are left out, as if they had nothing rare.
    UnreadableIsNormal,
    /// An image can be assessed alone.
    AloneAsWell,
    /// No image at all makes it panic.
    EmptyPanics,
}

/// A bank of whole sets, with a fault.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SetOptions {
    /// The fault. Default none.
    fault: SetFault,
}

#[typetag::serde(name = "faulty-set")]
impl MemoryBankFactory for SetOptions {
    fn blocks(&self) -> Vec<usize> {
        sound().blocks()
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        sound().build(backbone)?;
        Ok(Box::new(Set {
            fault: self.fault,
            spec: backbone.clone(),
        }))
    }
}

struct Set {
    fault: SetFault,
    spec: BackboneSpec,
}

impl Set {
    /// Image `at` compared with the image after it.
    fn one(&self, images: &dyn FeatureSource, at: usize) -> Result<Evidence, BoxError> {
        let mut bank = sound().build(&self.spec)?;
        let other = images.get((at + 1) % images.len().max(1))?;
        let assessed = bank.assess(&other)?;
        bank.absorb(&other, assessed.carry, Role::Query)?;
        let mut evidence = bank.assess(&*images.get(at)?)?.evidence;
        // Its own tokens have nothing to do with the others, so that the order shows whatever they
        // are.
        evidence.image = images.get(at)?.block(5)?.first().copied();
        evidence.branches[0]
            .scores
            .fill(evidence.image.unwrap_or_default());
        Ok(evidence)
    }
}

impl State for Set {
    fn save<'a>(&'a self, _: &mut SnapshotWriter<'a>) {}

    fn restore(self, _: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        Ok(self)
    }
}

impl MemoryBank for Set {
    type Carry = ();

    fn learning(&self) -> Learning {
        Learning::Batch
    }

    fn assess_batch(&self, images: &dyn FeatureSource) -> Result<Vec<Evidence>, BoxError> {
        if self.fault == SetFault::EmptyPanics {
            assert!(!images.is_empty(), "no image");
        }
        let mut all = Vec::new();
        for at in 0..images.len() {
            match (self.fault, self.one(images, at)) {
                (SetFault::UnreadableIsNormal, Err(_)) if images.get(at).is_err() => {
                    all.push(Evidence::new(Vec::new()));
                }
                (SetFault::UnreadableIsNormal, Err(_))
                    if images.get((at + 1) % images.len()).is_err() =>
                {
                    all.push(Evidence::new(Vec::new()));
                }
                (_, one) => all.push(one?),
            }
        }
        match self.fault {
            SetFault::OrderIsIgnored => all.sort_by(|a, b| {
                let image = |evidence: &Evidence| evidence.image.unwrap_or_default();
                image(a).total_cmp(&image(b))
            }),
            SetFault::LastIsForgotten if all.len() > 3 => drop(all.pop()),
            _ => {}
        }
        Ok(all)
    }

    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        match self.fault {
            SetFault::AloneAsWell => {
                let assessed = sound().build(&self.spec)?.assess(features)?;
                Ok((assessed.evidence, ()))
            }
            _ => Err("this bank looks at whole sets".into()),
        }
    }

    fn absorb(&mut self, _: &Features, (): (), _: Role) -> Result<(), BoxError> {
        Err("this bank looks at whole sets".into())
    }

    fn status(&self) -> BankStatus {
        BankStatus {
            images: 0,
            prototypes: 0,
            bytes: 0,
            capacity_bytes: 0,
        }
    }
}

#[test]
fn sound_banks_pass() {
    conformance::bank("faulty-pass").check();
    conformance::bank("faulty-set").check();
}

refused! { conformance::bank("faulty-pass");
    a_pass_that_need_not_end_is_found: "fit-is-not-needed" => "learns as it declares"
    a_pass_that_never_ends_is_found: "collects-for-ever" => "learns as it declares"
    a_pass_that_learns_from_scored_images_is_found: "learns-from-scored" => "learns as it declares"
    a_pass_without_images_is_found: "fits-nothing" => "learns as it declares"
}

refused! { conformance::bank("faulty-set");
    a_set_in_another_order_is_found: "order-is-ignored" => "in their order"
    a_set_that_loses_an_image_is_found: "last-is-forgotten" => "one evidence for each"
    a_set_that_cannot_be_read_is_found: "unreadable-is-normal" => "cannot be read"
    a_set_of_which_one_can_be_alone_is_found: "alone-as-well" => "learns as it declares"
    a_panic_on_no_image_is_found: "empty-panics" => "one evidence for each"
}
