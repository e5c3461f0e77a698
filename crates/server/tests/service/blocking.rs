//! A scorer for tests that never ends where it is told so.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex};

use ndarray::Array2;
use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::scorer::ScorerFactory;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{
    AnomalyMap, BoxError, ErasedScorer, ScoreInput, Scored, Scorer, register, typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

register! {
    scorer BlockingOptions;
}

/// The scorers that hang at their next image, by name, until they are let go.
static HANGING: (Mutex<BTreeSet<String>>, Condvar) = (Mutex::new(BTreeSet::new()), Condvar::new());

/// From now on images of the scorer `name` do not end.
pub(crate) fn hang(name: &str) {
    HANGING.0.lock().unwrap().insert(name.to_owned());
}

/// Images of the scorer `name` end again.
pub(crate) fn let_go(name: &str) {
    HANGING.0.lock().unwrap().remove(name);
    HANGING.1.notify_all();
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BlockingOptions {
    /// By which [`hang`] knows it.
    name: String,
}

#[typetag::serde(name = "blocking")]
impl ScorerFactory for BlockingOptions {
    fn blocks(&self) -> Vec<usize> {
        vec![1]
    }

    fn build(
        &self,
        backbone: &BackboneSpec,
        _: &[usize],
    ) -> Result<Box<dyn ErasedScorer>, BoxError> {
        Ok(Box::new(Blocking {
            name: self.name.clone(),
            side: backbone.input.side,
            seen: 0,
        }))
    }
}

struct Blocking {
    name: String,
    side: usize,
    seen: u64,
}

impl State for Blocking {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        writer.value("seen", &self.seen);
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        self.seen = reader.value("seen")?;
        Ok(self)
    }
}

impl Scorer for Blocking {
    type Carry = ();

    fn assess(&self, _: &ScoreInput<'_>) -> Result<(Option<Scored>, Self::Carry), BoxError> {
        let mut hanging = HANGING.0.lock().unwrap();
        while hanging.contains(&self.name) {
            hanging = HANGING.1.wait(hanging).unwrap();
        }
        let scored = Scored {
            map: AnomalyMap {
                values: Array2::zeros((self.side, self.side)),
            },
            raw_score: 0.5,
            score: 0.5,
        };
        Ok((Some(scored), ()))
    }

    fn absorb(&mut self, _: &ScoreInput<'_>, (): ()) -> Result<(), BoxError> {
        self.seen += 1;
        Ok(())
    }

    fn nominal_range(&self) -> (f32, f32) {
        (0.0, 1.0)
    }

    fn bytes(&self) -> usize {
        std::mem::size_of::<Self>()
    }
}
