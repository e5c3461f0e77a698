//! The scorer `process`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ndarray::{Array2, ArrayView1};
use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{
    AnomalyMap, Blur, BoxError, ErasedScorer, Grid, Role, ScoreInput, Scored, Scorer,
    ScorerFactory, Slot, typetag,
};
use serde::Deserialize;

use crate::frame::Frame;
use crate::options::{ScorerOptions, open_request, widths};
use crate::session::{Opening, Session};
use crate::snapshot;
use crate::wire::{Carry, Reads, finite, number, role, write_evidence, write_prior};

#[typetag::serde(name = "process")]
impl ScorerFactory for ScorerOptions {
    fn blocks(&self) -> Vec<usize> {
        self.blocks.clone()
    }

    fn build(
        &self,
        backbone: &BackboneSpec,
        bank_blocks: &[usize],
    ) -> Result<Box<dyn ErasedScorer>, BoxError> {
        let wanted = self.blocks.iter().chain(bank_blocks).copied();
        let blocks = widths(wanted, backbone)?;
        let opening = Opening {
            slot: Slot::Scorer,
            component: self.component.clone(),
            options: self.options.clone(),
            request: open_request(backbone, &blocks)?,
        };
        let session = Session::open(self.run()?, opening)?;
        let wrong = |problem: String| session.wrong_answer("open", problem);
        let [low, high]: [f32; 2] = session
            .opened()
            .parse("nominal_range")
            .map_err(|error| wrong(error.to_string()))?;
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(wrong(format!("`nominal_range` is {low} to {high}")).into());
        }
        let bytes = read_bytes(session.opened()).map_err(wrong)?;
        Ok(Box::new(ProcessScorer {
            reads: Reads::new(backbone, blocks),
            side: backbone.input.side,
            range: (low, high),
            bytes,
            session: Mutex::new(session),
        }))
    }
}

/// The bytes that the host says the scorer holds.
fn read_bytes(answer: &Frame) -> Result<usize, String> {
    #[derive(Deserialize)]
    struct Status {
        bytes: usize,
    }
    let status = answer.parse::<Status>("status");
    Ok(status.map_err(|error| error.to_string())?.bytes)
}

/// A scorer in another process.
struct ProcessScorer {
    reads: Reads,
    side: usize,
    range: (f32, f32),
    bytes: usize,
    session: Mutex<Session>,
}

impl ProcessScorer {
    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self, name: &str, input: &ScoreInput<'_>) -> Result<Frame, BoxError> {
        let mut request = Frame::request(name)
            .with("role", role(input.role))
            .with("update", input.update);
        self.reads.write(&mut request, input.features)?;
        let patches = input.features.grid.patches();
        if let Some(prior) = input.prior {
            write_prior(&mut request, prior, patches)?;
        }
        if let Some(evidence) = input.evidence {
            write_evidence(&mut request, evidence, patches)?;
        }
        Ok(request)
    }

    /// Map and scores of an answer. The map comes whole, or as a value per patch with the blur it
    /// is to get.
    fn scored(&self, answer: &Frame, grid: Grid) -> Result<Scored, String> {
        let map = if answer.has("map") {
            let values = finite(answer, "map", &[self.side, self.side])?;
            let values = Array2::from_shape_vec((self.side, self.side), values);
            AnomalyMap {
                values: values.map_err(|error| error.to_string())?,
            }
        } else {
            let values = finite(answer, "patches", &[grid.patches()])?;
            let blur = match answer.field("blur").is_null() {
                true => None,
                false => Some(read_blur(answer)?),
            };
            let values = ArrayView1::from(values.as_slice());
            AnomalyMap::from_patches(values, grid, self.side, blur)
                .map_err(|error| error.to_string())?
        };
        let score = number(answer, "score")?;
        let raw_score = match answer.field("raw_score").is_null() {
            true => score,
            false => number(answer, "raw_score")?,
        };
        let scored = Scored {
            map,
            raw_score,
            score,
        };
        // Values that are finite may overflow when the map is enlarged.
        match scored.is_finite() {
            true => Ok(scored),
            false => Err("the map holds infinite values once it is enlarged".into()),
        }
    }
}

fn read_blur(answer: &Frame) -> Result<Blur, String> {
    #[derive(Deserialize)]
    struct Fields {
        kernel: usize,
        sigma: f32,
    }
    let Fields { kernel, sigma } = answer.parse("blur").map_err(|error| error.to_string())?;
    Ok(Blur { kernel, sigma })
}

impl State for ProcessScorer {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        snapshot::write(&mut self.session(), writer);
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        let mut session = self.session();
        let answer = snapshot::read(&mut session, reader)?;
        let bytes = read_bytes(&answer).map_err(|error| session.wrong_answer("load", error))?;
        drop(session);
        self.bytes = bytes;
        Ok(self)
    }
}

impl Scorer for ProcessScorer {
    type Carry = Carry;

    fn assess(&self, input: &ScoreInput<'_>) -> Result<(Option<Scored>, Self::Carry), BoxError> {
        let request = self.request("assess", input)?;
        let mut session = self.session();
        let answer = session.ask(&request)?;
        let scored = match input.role {
            Role::Normal => None,
            Role::Query => Some(
                self.scored(&answer, input.features.grid)
                    .map_err(|problem| session.wrong_answer("assess", problem))?,
            ),
        };
        Ok((scored, Carry::of(session.identity(), &answer)))
    }

    fn absorb(&mut self, input: &ScoreInput<'_>, carry: Self::Carry) -> Result<(), BoxError> {
        let mut session = self.session();
        if session.is_stateless() {
            return Ok(carry.write(&session.identity(), &mut Frame::new())?);
        }
        let mut request = self.request("absorb", input)?;
        carry.write(&session.identity(), &mut request)?;
        let bytes = session.change(request, read_bytes)?;
        drop(session);
        self.bytes = bytes;
        Ok(())
    }

    fn nominal_range(&self) -> (f32, f32) {
        self.range
    }

    fn bytes(&self) -> usize {
        self.bytes.saturating_add(self.session().memory().bytes())
    }
}
