//! A detector plus the state of one camera and one product.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bank::{BankStatus, Learning};
use crate::scorer::ScoreAssessment;
use crate::snapshot::{Snapshot, SnapshotReader, SnapshotWriter};
use crate::update::UpdateGate;
use crate::{
    BoxError, Calibrator, DetectorConfig, Error, Evidence, FeatureSource, Features, Judgement,
    MemoryBank, PromptHead, Result, Role, ScoreInput, Scored, Scorer, Slot,
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

/// What one image came to in the four rooms.
struct Walked {
    scored: Option<Scored>,
    remembered: bool,
}

/// The state of one stream. Images are pushed in order.
pub struct Stream {
    config: DetectorConfig,
    identity: Value,
    prompt: Option<Arc<dyn PromptHead>>,
    bank: Option<Box<dyn MemoryBank>>,
    gate: UpdateGate,
    scorer: Box<dyn Scorer>,
    calibrator: Calibrator,
    sequence: u64,
    absorbed_queries: u64,
    fitted: bool,
}

impl Stream {
    pub(crate) fn new(
        config: DetectorConfig,
        identity: Value,
        prompt: Option<Arc<dyn PromptHead>>,
        bank: Option<Box<dyn MemoryBank>>,
        gate: UpdateGate,
        scorer: Box<dyn Scorer>,
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

    /// Shows a known normal: it is remembered and gets no score (k-shot, or the training pass of a bank that has one).
    ///
    /// # Errors
    /// [`Error::LateNormal`] after an image to be scored was absorbed or the training pass has ended; otherwise as for
    /// [`push`](Self::push).
    pub fn push_normal(&mut self, features: &Features) -> Result<()> {
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
                self.walk(features, Role::Normal, true, &mut |_, _| {})?;
            }
        }
        self.sequence += 1;
        Ok(())
    }

    /// Ends the training pass of a bank that has one; nothing for other detectors. The first [`push`](Self::push) does it too.
    ///
    /// # Errors
    /// [`Error::NotFitted`] without any known normal, [`Error::Component`] when the bank cannot do with those it has.
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
        Ok(())
    }

    /// Scores a whole set at once, for detectors whose bank learns from it. `each` gets the outcomes in the order of `images`.
    ///
    /// # Errors
    /// [`Error::NoBatch`] for other detectors; otherwise as for [`push`](Self::push), or what `each` returns.
    pub fn score_batch(
        &mut self,
        images: &dyn FeatureSource,
        each: &mut dyn FnMut(usize, Outcome) -> Result<()>,
    ) -> Result<()> {
        let evidence = match &self.bank {
            Some(bank) if bank.learning() == Learning::Batch => bank
                .assess_batch(images)
                .map_err(|error| self.bank_error(error))?,
            _ => return Err(Error::NoBatch),
        };
        // Maps are made twice, so that no more than one is in memory.
        let mut scores = Vec::with_capacity(evidence.len());
        for (at, evidence) in evidence.iter().enumerate() {
            scores.push(self.score_in_batch(images, at, evidence)?.score);
        }
        self.scorer
            .refine_batch(images, &mut scores)
            .map_err(|error| self.scorer_error(error))?;
        for (at, (evidence, score)) in evidence.iter().zip(scores).enumerate() {
            let scored = self.score_in_batch(images, at, evidence)?;
            let scored = Scored { score, ..scored };
            if !scored.is_finite() {
                return Err(Error::NonFinite {
                    what: "score".into(),
                });
            }
            let outcome = self.outcome(scored, PushOptions::FREEZE, false);
            each(at, outcome)?;
        }
        Ok(())
    }

    fn score_in_batch(
        &self,
        images: &dyn FeatureSource,
        at: usize,
        evidence: &Evidence,
    ) -> Result<Scored> {
        let features = images.get(at).map_err(|error| self.bank_error(error))?;
        features.check()?;
        let prior = match &self.prompt {
            Some(prompt) => Some(prompt.prior(&features).map_err(|e| self.prompt_error(e))?),
            None => None,
        };
        let input = ScoreInput {
            features: &features,
            prior: prior.as_ref(),
            evidence: Some(evidence),
            role: Role::Query,
            update: false,
        };
        let assessment = self.scorer.assess(&input);
        let assessment = assessment.map_err(|error| self.scorer_error(error))?;
        assessment
            .scored
            .ok_or_else(|| self.scorer_error("gave no score for a query".into()))
    }

    /// Scores an image and, by `options`, remembers it.
    ///
    /// # Errors
    /// When the features are unusable or a component fails on them; nothing of the image is remembered then.
    pub fn push(&mut self, features: &Features, options: PushOptions) -> Result<Outcome> {
        self.push_observed(features, options, &mut |_, _| {})
    }

    /// [`push`](Self::push), telling `observer` after each room how long the image was in it. A room may be told of twice:
    /// once for its assessment, once for remembering.
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
        let walked = self.walk(features, Role::Query, options.update, observer)?;
        let scored = walked
            .scored
            .ok_or_else(|| self.scorer_error("gave no score for a query".into()))?;
        Ok(self.outcome(scored, options, walked.remembered))
    }

    /// Makes sure that images can be pushed: ends a training pass that is still open, and refuses what needs a whole batch. Every
    /// [`push`](Self::push) does so first.
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

    /// Judges a score and counts the image.
    fn outcome(&mut self, scored: Scored, options: PushOptions, remembered: bool) -> Outcome {
        let judgement = self.calibrator.judge(scored.score);
        let map_scale = self.map_scale();
        let map_median = scored.map.median();
        if options.calibrate {
            self.calibrator.observe(scored.score, map_median);
        }
        let sequence = self.sequence;
        // A peek leaves no trace, not even in the count.
        self.sequence += u64::from(options.update || options.calibrate);
        self.absorbed_queries += u64::from(options.update);
        Outcome {
            sequence,
            scored,
            map_median,
            judgement,
            map_scale,
            remembered,
        }
    }

    /// Prompt head, bank and scorer in turn; both memories change only after both have assessed the image.
    fn walk(
        &mut self,
        features: &Features,
        role: Role,
        update: bool,
        observer: &mut dyn FnMut(Slot, Duration),
    ) -> Result<Walked> {
        features.check()?;
        let start = Instant::now();
        let prior = match &self.prompt {
            Some(prompt) => {
                let prior = prompt.prior(features).map_err(|e| self.prompt_error(e))?;
                observer(Slot::Prompt, start.elapsed());
                Some(prior)
            }
            None => None,
        };

        let start = Instant::now();
        let (evidence, bank_carry) = match &self.bank {
            Some(bank) => {
                let assessment = bank.assess(features).map_err(|e| self.bank_error(e))?;
                observer(Slot::Bank, start.elapsed());
                (Some(assessment.evidence), Some(assessment.carry))
            }
            None => (None, None),
        };

        let start = Instant::now();
        let input = ScoreInput {
            features,
            prior: prior.as_ref(),
            evidence: evidence.as_ref(),
            role,
            update,
        };
        let ScoreAssessment { scored, carry } = self
            .scorer
            .assess(&input)
            .map_err(|e| self.scorer_error(e))?;
        if scored.as_ref().is_some_and(|scored| !scored.is_finite()) {
            return Err(Error::NonFinite {
                what: "score".into(),
            });
        }
        observer(Slot::Scorer, start.elapsed());
        if !update {
            return Ok(Walked {
                scored,
                remembered: false,
            });
        }

        let start = Instant::now();
        let raw_score = scored.as_ref().map(|scored| scored.raw_score);
        let admitted = raw_score.is_none_or(|score| {
            let prior = prior.as_ref().map(|prior| prior.image);
            self.gate.admits(score, prior)
        });
        if let (Some(bank), Some(carry), true) = (&mut self.bank, bank_carry, admitted) {
            if let Err(error) = bank.absorb(features, carry, role) {
                return Err(self.bank_error(error));
            }
            observer(Slot::Bank, start.elapsed());
        }
        let start = Instant::now();
        if let Err(error) = self.scorer.absorb(&input, carry) {
            return Err(self.scorer_error(error));
        }
        observer(Slot::Scorer, start.elapsed());
        if let Some(score) = raw_score {
            self.gate.observe(score);
        }
        Ok(Walked {
            scored,
            remembered: admitted && self.bank.is_some() && self.learning() == Learning::Online,
        })
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

    /// Writes the whole state into `writer`.
    pub fn save_into<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        writer.value("rareclip", env!("CARGO_PKG_VERSION"));
        writer.value("detector", &self.config);
        writer.value("identity", &self.identity);
        writer.value("sequence", &self.sequence);
        writer.value("absorbed_queries", &self.absorbed_queries);
        writer.value("fitted", &self.fitted);
        writer.scoped("update", |writer| self.gate.save(writer));
        writer.scoped("calibration", |writer| self.calibrator.save(writer));
        writer.scoped("scorer", |writer| self.scorer.save(writer));
        if let Some(bank) = &self.bank {
            writer.scoped("bank", |writer| bank.save(writer));
        }
    }

    /// Writes the state to a file, atomically.
    ///
    /// # Errors
    /// [`Error::Snapshot`]; an older file stays whole.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut writer = SnapshotWriter::new();
        self.save_into(&mut writer);
        Ok(writer.write(path)?)
    }

    /// Replaces the state by a saved one. The policy of the calibration stays the present one.
    ///
    /// # Errors
    /// [`Error::Snapshot`] or [`Error::StateMismatch`]. After an error the stream must not be used.
    pub fn load(&mut self, path: &Path) -> Result<()> {
        let snapshot = Snapshot::read(path)?;
        let mut reader = snapshot.reader()?;
        self.load_from(path, &mut reader)
    }

    /// [`load`](Self::load) from entries already read; `path` is for messages.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn load_from(&mut self, path: &Path, reader: &mut SnapshotReader<'_>) -> Result<()> {
        let identity: Value = reader.value("identity")?;
        if identity != self.identity {
            let mut differences = Vec::new();
            difference("", &identity, &self.identity, &mut differences);
            return Err(Error::StateMismatch {
                path: path.to_owned(),
                difference: differences.join(", "),
            });
        }
        self.sequence = reader.value("sequence")?;
        self.absorbed_queries = reader.value("absorbed_queries")?;
        self.fitted = reader.value("fitted")?;
        reader.scoped("update", |reader| self.gate.load(reader))?;
        reader.scoped("calibration", |reader| self.calibrator.load(reader))?;
        let scorer = reader.scoped("scorer", |reader| self.scorer.load(reader));
        scorer.map_err(|error| self.scorer_error(error))?;
        let loaded = match &mut self.bank {
            Some(bank) => reader.scoped("bank", |reader| bank.load(reader)),
            None => Ok(()),
        };
        loaded.map_err(|error| self.bank_error(error))
    }
}

/// Lists where two configs differ, as `key was A, is B`.
fn difference(key: &str, was: &Value, is: &Value, out: &mut Vec<String>) {
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            let keys: std::collections::BTreeSet<_> = was.keys().chain(is.keys()).collect();
            for name in keys {
                let path = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                let missing = Value::Null;
                let (was, is) = (was.get(name), is.get(name));
                difference(&path, was.unwrap_or(&missing), is.unwrap_or(&missing), out);
            }
        }
        _ if was != is => out.push(format!("{key} was {was}, is {is}")),
        _ => {}
    }
}
