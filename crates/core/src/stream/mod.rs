//! A detector plus the state of one camera and one product.

mod batch;
mod state;
mod walk;

pub use walk::Assessed;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::bank::{BankStatus, Learning};
use crate::index::Recall;
use crate::update::UpdateGate;
use crate::{
    BoxError, Calibrator, DetectorConfig, ErasedBank, ErasedScorer, Error, Features, Judgement,
    PromptHead, Result, Role, Scored, Slot,
};

/// What happens to the stream when an image is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushOptions {
    /// Whether bank and scorer absorb the image.
    pub update: bool,
    /// Whether the calibration counts its score.
    pub calibrate: bool,
}

impl PushOptions {
    /// Remember everything: the normal way of a stream.
    pub const LEARN: Self = Self {
        update: true,
        calibrate: true,
    };
    /// A frozen memory whose calibration still counts scores.
    pub const FREEZE: Self = Self {
        update: false,
        calibrate: true,
    };
    /// Leave no trace at all.
    pub const PEEK: Self = Self {
        update: false,
        calibrate: false,
    };
}

/// What a stream says of one image.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Images shown to the stream before this one, scored or not; peeks are not counted.
    pub sequence: u64,
    /// Map and scores.
    pub scored: Scored,
    /// The median of the map: what most of the image looked like.
    pub map_median: f32,
    /// Verdict, p-value and threshold as they were before this image was counted.
    pub judgement: Judgement,
    /// The fixed scale for the map, `(low, high)`.
    pub map_scale: (f32, f32),
    /// Whether the bank remembered the image: asked to, and its update policy agreed.
    pub remembered: bool,
}

/// The state of one stream. Images are pushed in order.
pub struct Stream {
    config: DetectorConfig,
    identity: Value,
    prompt: Option<Arc<dyn PromptHead>>,
    bank: Option<Box<dyn ErasedBank>>,
    gate: UpdateGate,
    scorer: Box<dyn ErasedScorer>,
    calibrator: Calibrator,
    sequence: u64,
    absorbed_queries: u64,
    fitted: bool,
    /// How often this stream has changed since it was opened: an assessment holds for one state
    /// only.
    changes: u64,
    /// What left the memory with a part of an image: nothing is scored or saved any more.
    poisoned: Option<String>,
}

impl Stream {
    pub(crate) fn new(
        config: DetectorConfig,
        identity: Value,
        prompt: Option<Arc<dyn PromptHead>>,
        bank: Option<Box<dyn ErasedBank>>,
        gate: UpdateGate,
        scorer: Box<dyn ErasedScorer>,
        calibrator: Calibrator,
    ) -> Self {
        Self {
            config,
            identity,
            prompt,
            bank,
            gate,
            scorer,
            calibrator,
            sequence: 0,
            absorbed_queries: 0,
            fitted: false,
            changes: 0,
            poisoned: None,
        }
    }

    /// Images shown so far, without those that left no trace.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How full the bank is, where there is one.
    pub fn bank_status(&self) -> Option<BankStatus> {
        self.bank.as_ref().map(|bank| bank.status())
    }

    /// How many of the true nearest vectors the bank's index finds for every `stride`-th patch of
    /// an image; `None` where it searches exactly or has nothing to search.
    ///
    /// # Errors
    /// [`Error::Component`] when the bank cannot look at the features.
    pub fn recall(&self, features: &Features, stride: usize) -> Result<Option<Recall>> {
        let recall = self.bank.as_ref().map(|bank| bank.recall(features, stride));
        let recall = recall.transpose().map_err(|error| self.bank_error(error))?;
        Ok(recall.flatten())
    }

    /// Bytes that bank and scorer hold at present.
    pub fn bytes(&self) -> usize {
        let bank = self.bank_status().map_or(0, |status| status.bytes);
        bank + self.scorer.bytes()
    }

    /// The calibration.
    pub fn calibrator(&self) -> &Calibrator {
        &self.calibrator
    }

    /// The calibration, to change its policy or its normals.
    pub fn calibrator_mut(&mut self) -> &mut Calibrator {
        &mut self.calibrator
    }

    /// The fixed scale for maps in force, `(low, high)`.
    pub fn map_scale(&self) -> (f32, f32) {
        self.calibrator
            .map_scale()
            .unwrap_or_else(|| self.scorer.nominal_range())
    }

    /// What the stream learns from: its bank's [`Learning`]; without a bank, the images themselves.
    pub fn learning(&self) -> Learning {
        self.bank
            .as_ref()
            .map_or(Learning::Online, |bank| bank.learning())
    }

    /// Shows a known normal: it is remembered and gets no score (k-shot, or the training pass of a
    /// bank that has one).
    ///
    /// # Errors
    /// [`Error::LateNormal`] after an image to be scored was absorbed or the training pass has
    /// ended; otherwise as for [`push`](Self::push).
    pub fn push_normal(&mut self, features: &Features) -> Result<()> {
        self.whole()?;
        if self.absorbed_queries > 0 || self.fitted {
            return Err(Error::LateNormal {
                absorbed: self.absorbed_queries,
            });
        }
        match &mut self.bank {
            Some(bank) if bank.learning() == Learning::Fit => {
                features.check()?;
                if let Err(error) = bank.collect(features) {
                    return Err(self.bank_error(error));
                }
            }
            _ => {
                let walked = self.walk(features, Role::Normal, true, &mut |_, _| {})?;
                self.remember(features, Role::Normal, walked, &mut |_, _| {})?;
            }
        }
        self.sequence += 1;
        self.changes += 1;
        Ok(())
    }

    /// Ends the training pass of a bank that has one; nothing for other detectors. The first
    /// [`push`](Self::push) does it too.
    ///
    /// # Errors
    /// [`Error::NotFitted`] without any known normal, [`Error::Component`] when the bank cannot do
    /// with those it has.
    pub fn fit(&mut self) -> Result<()> {
        let Some(bank) = &mut self.bank else {
            return Ok(());
        };
        if self.fitted || bank.learning() != Learning::Fit {
            return Ok(());
        }
        if self.sequence == 0 {
            return Err(Error::NotFitted {
                bank: self.bank_name(),
            });
        }
        if let Err(error) = bank.fit() {
            return Err(self.bank_error(error));
        }
        self.fitted = true;
        self.changes += 1;
        Ok(())
    }

    /// Scores an image and, by `options`, remembers it.
    ///
    /// # Errors
    /// When the features are unusable or a component fails on them; nothing of the image is
    /// remembered then.
    pub fn push(&mut self, features: &Features, options: PushOptions) -> Result<Outcome> {
        self.push_observed(features, options, &mut |_, _| {})
    }

    /// [`push`](Self::push), telling `observer` after each room how long the image was in it. A
    /// room may be told of twice: once for its assessment, once for remembering.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub fn push_observed(
        &mut self,
        features: &Features,
        options: PushOptions,
        observer: &mut dyn FnMut(Slot, Duration),
    ) -> Result<Outcome> {
        self.ready()?;
        let assessed = self.assess(features, options, observer)?;
        self.absorb(features, assessed, observer)
    }

    /// Whether an image can be assessed as the stream is, without a training pass or a whole batch
    /// first.
    pub fn can_score(&self) -> bool {
        match self.learning() {
            Learning::Online => true,
            Learning::Fit => self.fitted,
            Learning::Batch => false,
        }
    }

    /// Makes sure that images can be pushed: ends a training pass that is still open, and refuses
    /// what needs a whole batch. Every [`push`](Self::push) does so first.
    ///
    /// # Errors
    /// As for [`fit`](Self::fit), and [`Error::NeedsBatch`].
    pub fn ready(&mut self) -> Result<()> {
        match self.learning() {
            Learning::Online => Ok(()),
            Learning::Fit => self.fit(),
            Learning::Batch => Err(Error::NeedsBatch {
                bank: self.bank_name(),
            }),
        }
    }

    /// An error where a component failed while it remembered an image.
    fn whole(&self) -> Result<()> {
        match &self.poisoned {
            None => Ok(()),
            Some(cause) => Err(Error::Poisoned {
                cause: cause.clone(),
            }),
        }
    }

    /// Notes that the memory took in a part of an image, and gives back why.
    fn poison(&mut self, error: Error) -> Error {
        self.poisoned = Some(error.to_string());
        self.changes += 1;
        error
    }

    fn component_error(&self, slot: Slot, name: &str, source: BoxError) -> Error {
        Error::Component {
            slot,
            name: name.to_owned(),
            source,
        }
    }

    fn prompt_error(&self, source: BoxError) -> Error {
        let name = self
            .config
            .prompt
            .as_ref()
            .map_or("", |choice| choice.name());
        self.component_error(Slot::Prompt, name, source)
    }

    fn bank_name(&self) -> String {
        let name = self.config.bank.as_ref().map(|choice| choice.name());
        name.unwrap_or_default().to_owned()
    }

    fn bank_error(&self, source: BoxError) -> Error {
        self.component_error(Slot::Bank, &self.bank_name(), source)
    }

    fn scorer_error(&self, source: BoxError) -> Error {
        self.component_error(Slot::Scorer, self.config.scorer.name(), source)
    }
}
