//! The bank `process`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::bank::{BankStatus, ErasedBank, MemoryBank, MemoryBankFactory};
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{
    BoxError, Evidence, FeatureSource, Features, Learning, Role, Slot, UpdatePolicy, typetag,
};
use serde::Deserialize;

use crate::error::ProcessError;
use crate::frame::Frame;
use crate::memory::Memory;
use crate::options::{BankOptions, open_request, widths};
use crate::session::{Opening, Session};
use crate::snapshot;
use crate::wire::{Carry, Reads, read_evidence, role};

#[typetag::serde(name = "process")]
impl MemoryBankFactory for BankOptions {
    fn blocks(&self) -> Vec<usize> {
        self.blocks.clone()
    }

    fn update(&self) -> UpdatePolicy {
        self.update.clone()
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        let blocks = widths(self.blocks.iter().copied(), backbone)?;
        let opening = Opening {
            slot: Slot::Bank,
            component: self.component.clone(),
            options: self.options.clone(),
            request: open_request(backbone, &blocks)?,
        };
        let session = Session::open(self.run_bank()?, opening)?;
        let opened = session.opened();
        let learning = match opened.field("learning").as_str() {
            Some("online") => Learning::Online,
            Some("fit") => Learning::Fit,
            Some("batch") => Learning::Batch,
            _ => {
                let found = opened.field("learning");
                let problem = format!("`learning` is {found}, expected `online`, `fit` or `batch`");
                return Err(session.wrong_answer("open", problem).into());
            }
        };
        let status = read_status(opened).map_err(|error| session.wrong_answer("open", error))?;
        Ok(Box::new(ProcessBank {
            reads: Reads::new(backbone, blocks),
            learning,
            fitted: false,
            status,
            session: Mutex::new(session),
        }))
    }
}

/// How full the host says the bank is.
#[derive(Debug, Clone, Copy, Deserialize)]
struct HostStatus {
    images: u64,
    prototypes: usize,
    bytes: usize,
    capacity_bytes: usize,
}

fn read_status(answer: &Frame) -> Result<HostStatus, String> {
    let status: HostStatus = answer.parse("status").map_err(|error| error.to_string())?;
    if status.bytes > status.capacity_bytes {
        return Err(format!(
            "it holds {} bytes, more than its `capacity_bytes` of {}",
            status.bytes, status.capacity_bytes
        ));
    }
    Ok(status)
}

/// A bank in another process.
struct ProcessBank {
    reads: Reads,
    learning: Learning,
    /// Whether the training pass of a bank that has one is over.
    fitted: bool,
    status: HostStatus,
    session: Mutex<Session>,
}

impl ProcessBank {
    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self, name: &str, features: &Features) -> Result<Frame, BoxError> {
        let mut request = Frame::request(name);
        self.reads.write(&mut request, features)?;
        Ok(request)
    }

    fn change(&mut self, request: Frame) -> Result<(), BoxError> {
        let status = self.session().change(request, read_status)?;
        self.status = status;
        Ok(())
    }

    /// An error where the bank does not learn so.
    fn learns(&self, learning: Learning, asked: &'static str) -> Result<(), ProcessError> {
        if self.learning == learning {
            return Ok(());
        }
        Err(ProcessError::Learning {
            who: self.session().identity(),
            asked,
            learning: self.learning,
        })
    }

    /// An error where the training pass is over.
    fn in_training(&self) -> Result<(), ProcessError> {
        match self.fitted {
            true => Err(ProcessError::AlreadyFitted),
            false => Ok(()),
        }
    }

    /// Shows a whole set and asks for the evidence of each of its images.
    fn batch(
        &self,
        session: &mut Session,
        images: &dyn FeatureSource,
    ) -> Result<Vec<Evidence>, BoxError> {
        session.ask(&Frame::request("batch").with("images", images.len()))?;
        let mut patches = Vec::with_capacity(images.len());
        for at in 0..images.len() {
            let features = images.get(at)?;
            patches.push(features.grid.patches());
            session.ask(&self.request("batch_image", &features)?.with("at", at))?;
        }
        let ask = |(at, patches)| {
            let answer = session.ask(&Frame::request("batch_evidence").with("at", at))?;
            let evidence = read_evidence(&answer, patches);
            evidence.map_err(|problem| session.wrong_answer("batch_evidence", problem).into())
        };
        patches.into_iter().enumerate().map(ask).collect()
    }
}

impl State for ProcessBank {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        writer.value("fitted", &self.fitted);
        snapshot::write(&mut self.session(), writer);
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        let fitted = reader.value("fitted")?;
        let mut session = self.session();
        let answer = snapshot::read(&mut session, reader)?;
        let status = read_status(&answer).map_err(|error| session.wrong_answer("load", error))?;
        drop(session);
        self.status = status;
        self.fitted = fitted;
        Ok(self)
    }
}

impl MemoryBank for ProcessBank {
    type Carry = Carry;

    fn learning(&self) -> Learning {
        self.learning
    }

    fn collect(&mut self, features: &Features) -> Result<(), BoxError> {
        self.learns(Learning::Fit, "collect")?;
        self.in_training()?;
        let request = self.request("collect", features)?;
        self.change(request)
    }

    fn fit(&mut self) -> Result<(), BoxError> {
        self.learns(Learning::Fit, "fit")?;
        self.in_training()?;
        if self.status.images == 0 {
            return Err(ProcessError::NoNormals.into());
        }
        self.change(Frame::request("fit"))?;
        self.fitted = true;
        Ok(())
    }

    fn assess_batch(&self, images: &dyn FeatureSource) -> Result<Vec<Evidence>, BoxError> {
        self.learns(Learning::Batch, "batch")?;
        let mut session = self.session();
        let before = session.failures();
        let evidence = self.batch(&mut session, images);
        // A new host knows nothing of the set: it is shown from the beginning, once.
        match evidence {
            Err(_) if session.failures() > before && session.is_running() => {
                self.batch(&mut session, images)
            }
            evidence => evidence,
        }
    }

    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        if self.learning == Learning::Batch {
            self.learns(Learning::Online, "assess")?;
        }
        if self.learning == Learning::Fit && !self.fitted {
            return Err(ProcessError::NotFitted.into());
        }
        let request = self.request("assess", features)?;
        let mut session = self.session();
        let answer = session.ask(&request)?;
        let evidence = read_evidence(&answer, features.grid.patches())
            .map_err(|problem| session.wrong_answer("assess", problem))?;
        Ok((evidence, Carry::of(session.identity(), &answer)))
    }

    fn absorb(
        &mut self,
        features: &Features,
        carry: Self::Carry,
        shown: Role,
    ) -> Result<(), BoxError> {
        let component = self.session().identity();
        if self.learning != Learning::Online {
            return Ok(carry.write(&component, &mut Frame::new())?);
        }
        let mut request = self.request("absorb", features)?.with("role", role(shown));
        carry.write(&component, &mut request)?;
        self.change(request)
    }

    fn status(&self) -> BankStatus {
        let HostStatus {
            images,
            prototypes,
            bytes,
            capacity_bytes,
        } = self.status;
        let held = bytes.saturating_add(self.session().memory().bytes());
        let capacity = capacity_bytes.saturating_add(Memory::capacity_bytes(capacity_bytes));
        BankStatus {
            images,
            prototypes,
            bytes: held,
            capacity_bytes: capacity.max(held),
        }
    }
}
