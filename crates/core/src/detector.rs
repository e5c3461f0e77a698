//! The composition of the four rooms.

use std::sync::{Arc, Mutex, PoisonError};

use ndarray::ArrayView4;
use serde_json::{Map, Value};

use crate::backbone::BackboneSpec;
use crate::update::UpdateGate;
use crate::{
    Backbone, BoxError, Calibrator, DetectorConfig, Error, Features, Learning, MemoryBankFactory,
    PromptHead, Result, ScorerFactory, Slot, Stream, registry,
};

/// A detector built from its config; streams are opened from it and share its weights.
pub struct Detector {
    config: DetectorConfig,
    identity: Value,
    backbone: Arc<dyn Backbone>,
    prompt: Option<Arc<dyn PromptHead>>,
    bank: Option<Box<dyn MemoryBankFactory>>,
    scorer: Box<dyn ScorerFactory>,
    learning: Learning,
    /// The first stream, which was opened when the detector was built: one that cannot be opened later would be found out
    /// too late.
    first: Mutex<Option<Stream>>,
}

fn component<T>(slot: Slot, name: &str, result: Result<T, BoxError>) -> Result<T> {
    result.map_err(|source| Error::Component {
        slot,
        name: name.to_owned(),
        source,
    })
}

/// The bytes that a component may take of `budget`; 0 if they are unknown and may be.
fn within(
    slot: Slot,
    table: &Map<String, Value>,
    bound: Option<u64>,
    budget: u64,
    trusted: &dyn Fn(Slot) -> bool,
) -> Result<u64> {
    let name = table.get("type").and_then(Value::as_str);
    let name = name.unwrap_or_default().to_owned();
    match bound {
        Some(bound) if bound <= budget => Ok(bound),
        Some(bound) => Err(Error::TooLarge {
            options: sizes(slot, &name),
            slot,
            name,
            bound,
            budget,
        }),
        None if trusted(slot) => Ok(0),
        None => Err(Error::UnknownBound { slot, name }),
    }
}

/// The options of a component that its memory grows with: those marked `x-memory`.
fn sizes(slot: Slot, name: &str) -> String {
    let schema = registry::find(slot, name).map(|one| (one.schema)());
    let properties = schema
        .as_ref()
        .and_then(|schema| schema["properties"].as_object());
    let marked = properties.into_iter().flatten();
    let marked = marked.filter(|(_, option)| option["x-memory"] == true);
    let names: Vec<String> = marked.map(|(name, _)| format!("`{name}`")).collect();
    match names.is_empty() {
        true => "what it remembers".into(),
        false => names.join(", "),
    }
}

impl Detector {
    /// Builds every component that `config` names.
    ///
    /// # Errors
    /// [`Error::Config`] on an unknown component or a wrong option, [`Error::Component`] when one cannot be built.
    pub fn build(config: &DetectorConfig) -> Result<Self> {
        let blocks = config.blocks()?;
        let backbone = component(
            Slot::Backbone,
            config.backbone.name(),
            config.backbone.resolve()?.build(&blocks),
        )?;
        Self::build_on(config, backbone)
    }

    /// Builds every other component that `config` names on a backbone that is there already: one made from the same
    /// `[backbone]` table, which gives at least the [`blocks`](DetectorConfig::blocks) of this config. So detectors share it.
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    pub fn build_on(config: &DetectorConfig, backbone: Arc<dyn Backbone>) -> Result<Self> {
        let config = config.resolved()?;
        let prompt = match &config.prompt {
            Some(choice) => Some(component(
                Slot::Prompt,
                choice.name(),
                choice.resolve()?.build(backbone.spec()),
            )?),
            None => None,
        };
        Self::assemble(config, backbone, prompt)
    }

    /// Builds the bank and the scorer of `config` on the backbone and the prompt head of this detector, whose tables must be
    /// the same in `config`; a config without a prompt head gets none. Loads no weights.
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    pub fn variant(&self, config: &DetectorConfig) -> Result<Self> {
        let config = config.resolved()?;
        let prompt = config.prompt.as_ref().and(self.prompt.clone());
        Self::assemble(config, Arc::clone(&self.backbone), prompt)
    }

    /// Checks that a stream of `config` on this backbone stays within `budget` bytes, without building anything. `trusted`
    /// tells the slots whose bound may be unknown.
    ///
    /// # Errors
    /// [`Error::TooLarge`] or [`Error::UnknownBound`]; [`Error::Component`] if the options do not fit the backbone.
    pub fn check_memory(
        config: &DetectorConfig,
        backbone: &BackboneSpec,
        budget: u64,
        trusted: &dyn Fn(Slot) -> bool,
    ) -> Result<()> {
        let mut left = budget;
        let mut bank_blocks = Vec::new();
        if let Some(choice) = &config.bank {
            let bank = choice.resolve()?;
            bank_blocks = bank.blocks();
            let bound = component(Slot::Bank, choice.name(), bank.capacity_bytes(backbone))?;
            left -= within(Slot::Bank, choice.table(), bound, left, trusted)?;
        }
        let choice = &config.scorer;
        let bound = choice.resolve()?.capacity_bytes(backbone, &bank_blocks);
        let bound = component(Slot::Scorer, choice.name(), bound)?;
        within(Slot::Scorer, choice.table(), bound, left, trusted).map(drop)
    }

    fn assemble(
        config: DetectorConfig,
        backbone: Arc<dyn Backbone>,
        prompt: Option<Arc<dyn PromptHead>>,
    ) -> Result<Self> {
        let bank = config
            .bank
            .as_ref()
            .map(|choice| choice.resolve())
            .transpose()?;
        let scorer = config.scorer.resolve()?;
        let mut identity = config.identity()?;
        identity["backbone"]["weights"] = backbone.spec().weights.clone().into();
        if let Some(prompt) = &prompt {
            identity["prompt"]["weights_sha256"] = prompt.weights().into();
        }
        let detector = Self {
            config,
            identity,
            backbone,
            prompt,
            bank,
            scorer,
            learning: Learning::Online,
            first: Mutex::default(),
        };
        let first = detector.new_stream()?;
        Ok(Self {
            learning: first.learning(),
            first: Mutex::new(Some(first)),
            ..detector
        })
    }

    /// What its streams learn from.
    pub fn learning(&self) -> Learning {
        self.learning
    }

    /// Gives up the stream that is kept since the detector was built, with the memory that it reserves.
    pub fn release(&self) {
        let first = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(first);
    }

    /// The config, with every default written out.
    pub fn config(&self) -> &DetectorConfig {
        &self.config
    }

    /// What decides the scores; state continues only under the same.
    pub fn identity(&self) -> &Value {
        &self.identity
    }

    /// What the backbone takes and gives.
    pub fn spec(&self) -> &BackboneSpec {
        self.backbone.spec()
    }

    /// The backbone.
    pub fn backbone(&self) -> &Arc<dyn Backbone> {
        &self.backbone
    }

    /// Encodes `images` `[batch, 3, side, side]`, normalised as the [`BackboneSpec`] says.
    ///
    /// # Errors
    /// [`Error::Component`] when the backbone fails, [`Error::NonFinite`] or [`Error::Shape`] when what it gave is unusable.
    pub fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>> {
        let result = self.backbone.encode(images);
        let features = component(Slot::Backbone, self.config.backbone.name(), result)?;
        features.iter().try_for_each(Features::check)?;
        Ok(features)
    }

    /// Opens a stream with an empty memory.
    ///
    /// # Errors
    /// [`Error::Component`] when a bank or scorer does not fit the backbone.
    pub fn open_stream(&self) -> Result<Stream> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        match first.take() {
            Some(stream) => Ok(stream),
            None => {
                drop(first);
                self.new_stream()
            }
        }
    }

    fn new_stream(&self) -> Result<Stream> {
        let spec = self.backbone.spec();
        let bank = match (&self.bank, &self.config.bank) {
            (Some(bank), Some(choice)) => {
                Some(component(Slot::Bank, choice.name(), bank.build(spec))?)
            }
            _ => None,
        };
        let policy = self
            .bank
            .as_ref()
            .map(|bank| bank.update())
            .unwrap_or_default();
        let bank_blocks = self
            .bank
            .as_ref()
            .map(|bank| bank.blocks())
            .unwrap_or_default();
        let scorer = self.scorer.build(spec, &bank_blocks);
        let scorer = component(Slot::Scorer, self.config.scorer.name(), scorer)?;
        Ok(Stream::new(
            self.config.clone(),
            self.identity.clone(),
            self.prompt.clone(),
            bank,
            UpdateGate::new(policy),
            scorer,
            Calibrator::new(self.config.calibration.clone()),
        ))
    }
}
