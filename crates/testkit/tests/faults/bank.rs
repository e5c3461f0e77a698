//! A bank that learns online.

use std::any::Any;
use std::sync::Arc;

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{
    BankStatus, BoxError, ErasedBank, Evidence, Features, MemoryBank, MemoryBankFactory, Role,
    UpdatePolicy, typetag,
};
use rareclip_testkit::conformance;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::refused;

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    /// Sound.
    #[default]
    None,
    /// Assessing counts, and the count shows.
    TraceOfAssessment,
    /// A number of its own is not saved.
    StateForgets,
    /// A missing entry is taken for its default.
    MissingIsAccepted,
    /// A damaged entry makes it panic.
    DamagePanics,
    /// Restoring adds to what is there.
    LoadAdds,
    /// More bytes than foretold.
    OverCapacity,
    /// More bytes than the options declare.
    DeclaresTooLittle,
    /// Images are not counted.
    CountStandsStill,
    /// A restored bank is empty by its own account.
    RestoredIsEmpty,
    /// A patch short.
    ShortRarity,
    /// NaN in, NaN out.
    NanLeaves,
    /// Whatever the grid.
    TurnedGrid,
    /// A refused assessment counts.
    RefusalLeavesTrace,
    /// An image of one colour makes it panic.
    BlackPanics,
    /// A block that is not declared is read.
    ReadsMore,
    /// A backbone without the block is accepted.
    AnyBackbone,
    /// The policy of the options is not the one declared.
    OtherPolicy,
    /// There is no policy but that of the options, and none is asked for.
    EmptyIsRare,
    /// A training pass is accepted and does nothing.
    CollectsAnyway,
    /// The results depend on how many banks there have been.
    SharedMemory,
    /// The results depend on what nobody knows.
    Random,
    /// In a grid of one patch it panics.
    OnePatchPanics,
    /// Asking for the recall leaves a trace.
    RecallLeavesTrace,
    /// A late known normal is refused after it was counted.
    LateNormalCounts,
}

/// A bank with a fault.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FaultyOptions {
    /// The fault. Default none.
    fault: Fault,
    /// Which scored images are remembered. Default always.
    update: UpdatePolicy,
}

/// Banks built, and draws of chance.
static BUILT: AtomicU32 = AtomicU32::new(0);

/// A sound bank.
pub(crate) fn sound() -> Arc<dyn MemoryBankFactory> {
    <dyn MemoryBankFactory>::from_table(crate::sound_table()).unwrap()
}

#[typetag::serde(name = "faulty")]
impl MemoryBankFactory for FaultyOptions {
    fn blocks(&self) -> Vec<usize> {
        sound().blocks()
    }

    fn update(&self) -> UpdatePolicy {
        match self.fault {
            Fault::OtherPolicy => UpdatePolicy::Always,
            _ => self.update.clone(),
        }
    }

    fn capacity_bytes(&self, backbone: &BackboneSpec) -> Result<Option<u64>, BoxError> {
        match self.fault {
            Fault::DeclaresTooLittle => Ok(Some(1)),
            _ => sound().capacity_bytes(backbone),
        }
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        let mut spec = backbone.clone();
        if self.fault == Fault::AnyBackbone {
            spec.blocks = vec![(5, 8)];
        }
        Ok(Box::new(Faulty {
            fault: self.fault,
            inner: sound().build(&spec)?,
            spec,
            count: Cell::new(0.0),
            warm: BUILT.load(Ordering::Relaxed) as f32,
            loaded: false,
        }))
    }
}

struct Faulty {
    fault: Fault,
    inner: Box<dyn ErasedBank>,
    spec: BackboneSpec,
    count: Cell<f32>,
    warm: f32,
    loaded: bool,
}

impl Faulty {
    fn add(&self, value: f32) {
        self.count.set(self.count.get() + value);
    }
}

impl State for Faulty {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        if self.fault != Fault::StateForgets {
            writer.value("count", &self.count.get());
        }
        self.inner.save(writer);
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        let count: Result<f32, _> = reader.value("count");
        match self.fault {
            Fault::StateForgets => {}
            Fault::MissingIsAccepted => self.count.set(count.unwrap_or_default()),
            Fault::DamagePanics => {
                let text = reader.value::<serde_json::Value>("count")?;
                self.count.set(text.as_f64().unwrap() as f32);
            }
            Fault::LoadAdds => self.add(count?),
            _ => self.count.set(count?),
        }
        self.loaded = true;
        self.inner = self.inner.restore(reader)?;
        Ok(self)
    }
}

impl MemoryBank for Faulty {
    type Carry = Box<dyn Any + Send>;

    fn collect(&mut self, _: &Features) -> Result<(), BoxError> {
        match self.fault {
            Fault::CollectsAnyway => Ok(()),
            _ => Err("this bank has no training pass".into()),
        }
    }

    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        let mut features = features.clone();
        let black = features
            .tokens
            .values()
            .flatten()
            .all(|&value| value == 0.0);
        let one_patch = self.spec.grid.patches() == 1;
        match self.fault {
            Fault::BlackPanics if black => panic!("nothing to see"),
            Fault::OnePatchPanics if one_patch => panic!("no neighbour"),
            Fault::TurnedGrid => features.grid = self.spec.grid,
            Fault::ReadsMore => drop(features.block(3)?),
            _ => {}
        }
        let nan = features
            .tokens
            .values()
            .flatten()
            .any(|value| value.is_nan());
        if self.fault == Fault::NanLeaves && nan {
            for tokens in features.tokens.values_mut() {
                tokens.fill(1.0);
            }
        }
        let mut assessed = self.inner.assess(&features)?;
        let rarity = &mut assessed.evidence.branches[0].scores;
        match self.fault {
            Fault::TraceOfAssessment => self.add(1.0),
            Fault::NanLeaves if nan => rarity.fill(f32::NAN),
            Fault::ShortRarity => *rarity = rarity.iter().skip(1).copied().collect(),
            Fault::EmptyIsRare => *rarity += 1.0,
            Fault::SharedMemory => *rarity += self.warm,
            Fault::Random => *rarity += BUILT.fetch_add(1, Ordering::Relaxed) as f32,
            _ => {}
        }
        if matches!(self.fault, Fault::TraceOfAssessment | Fault::StateForgets) {
            *rarity *= 1.0 + self.count.get();
        }
        Ok((assessed.evidence, assessed.carry))
    }

    fn absorb(
        &mut self,
        features: &Features,
        carry: Self::Carry,
        role: Role,
    ) -> Result<(), BoxError> {
        self.add(1.0);
        if self.fault == Fault::SharedMemory && self.count.get() == 5.0 {
            BUILT.fetch_add(1, Ordering::Relaxed);
        }
        let images = self.inner.status().images;
        let result = self.inner.absorb(features, carry, role);
        result.inspect_err(|_| {
            // A refusal is to leave no trace, and here it does.
            let late = role == Role::Normal && images > 0;
            if self.fault != Fault::RefusalLeavesTrace
                && !(self.fault == Fault::LateNormalCounts && late)
            {
                self.add(-1.0);
            }
        })
    }

    fn recall(
        &self,
        _: &Features,
        _: usize,
    ) -> Result<Option<rareclip_core::index::Recall>, BoxError> {
        if self.fault == Fault::RecallLeavesTrace {
            self.add(1.0);
        }
        Ok(None)
    }

    fn status(&self) -> BankStatus {
        let mut status = self.inner.status();
        match self.fault {
            Fault::OverCapacity => status.capacity_bytes /= 2,
            Fault::CountStandsStill => status.images = 0,
            Fault::RestoredIsEmpty if self.loaded => status.prototypes = 0,
            _ => {}
        }
        status
    }
}

#[test]
fn a_sound_bank_passes() {
    conformance::bank("faulty").check();
}

refused! { conformance::bank("faulty");
    an_assessment_that_leaves_a_trace_is_found: "trace-of-assessment" => "leaves no trace"
    a_number_that_is_not_saved_is_found: "state-forgets" => "never stopped"
    a_missing_entry_that_is_accepted_is_found: "missing-is-accepted" => "lacks an entry"
    a_panic_on_a_damaged_entry_is_found: "damage-panics" => "damaged entry"
    a_state_that_adds_up_is_found: "load-adds" => "replaces all"
    too_many_bytes_are_found: "over-capacity" => "more bytes than it said"
    more_bytes_than_the_options_declare_are_found: "declares-too-little" => "options declare"
    images_that_are_not_counted_are_found: "count-stands-still" => "counts the images"
    a_restored_bank_that_says_it_is_empty_is_found: "restored-is-empty" => "as full as"
    a_patch_that_is_missing_is_found: "short-rarity" => "declared shape"
    nan_that_comes_through_is_found: "nan-leaves" => "NaN"
    a_turned_grid_that_is_accepted_is_found: "turned-grid" => "another shape"
    a_trace_of_a_refusal_is_found: "refusal-leaves-trace" => "before another image was absorbed"
    a_block_that_is_not_declared_is_found: "reads-more" => "all it reads"
    a_backbone_that_does_not_fit_is_found: "any-backbone" => "without its blocks"
    a_policy_of_its_own_is_found: "other-policy" => "update policy"
    rarity_of_an_empty_memory_is_found: "empty-is-rare" => "empty memory"
    a_training_pass_that_is_not_declared_is_found: "collects-anyway" => "learns as it declares"
    memory_that_banks_share_is_found: "shared-memory" => "share no memory"
    chance_is_found: "random" => "same images"
    a_panic_in_a_small_world_is_found: "one-patch-panics" => "one patch"
    a_trace_of_a_recall_is_found: "recall-leaves-trace" => "recall"
    a_known_normal_that_counts_and_is_refused_is_found: "late-normal-counts" => "known normal after"
}

#[test]
fn a_panic_breaks_the_promise_under_which_it_happens() {
    let broken = crate::broken(conformance::bank("faulty"), "black-panics");
    assert!(
        broken.found.contains("it panics: nothing to see"),
        "{broken}"
    );
}
