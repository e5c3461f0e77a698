//! The composition of the four slots.

use std::sync::{Arc, Mutex, PoisonError};

use ndarray::ArrayView4;
use serde_json::Value;

use crate::backbone::BackboneSpec;
use crate::update::UpdateGate;
use crate::{
    Backbone, BoxError, Calibrator, DetectorConfig, Error, Features, Learning, PromptHead, Result,
    Slot, Stream, registry,
};

/// A detector built from its config; streams are opened from it and share its weights.
pub struct Detector {
    config: DetectorConfig,
    identity: Value,
    backbone: Arc<dyn Backbone>,
    prompt: Option<Arc<dyn PromptHead>>,
    learning: Learning,
    /// The first stream, which was opened when the detector was built: one that cannot be opened
    /// later would be found out too late.
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
    name: &'static str,
    bound: Option<u64>,
    budget: u64,
    trusted: &dyn Fn(Slot) -> bool,
) -> Result<u64> {
    let name = name.to_owned();
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
    let schema = registry::find(slot, name).map(|one| one.schema());
    let properties = schema.and_then(|schema| schema["properties"].as_object());
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
    /// [`Error::Config`] on an unknown component or a wrong option, [`Error::Component`] when one
    /// cannot be built.
    pub fn build(config: &DetectorConfig) -> Result<Self> {
        let factory = &config.backbone;
        let backbone = factory.build(&config.blocks());
        Self::build_on(config, component(Slot::Backbone, factory.name(), backbone)?)
    }

    /// Builds every other component that `config` names on a backbone that is there already: one
    /// made from the same `[backbone]` table, which gives at least the
    /// [`blocks`](DetectorConfig::blocks) of this config. So detectors share it.
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    pub fn build_on(config: &DetectorConfig, backbone: Arc<dyn Backbone>) -> Result<Self> {
        let prompt = config.prompt.as_ref().map(|factory| {
            let prompt = factory.build(backbone.spec());
            component(Slot::Prompt, factory.name(), prompt)
        });
        Self::assemble(config, backbone, prompt.transpose()?)
    }

    /// Builds the bank and the scorer of `config` on the backbone and the prompt head of this
    /// detector, whose tables must be the same in `config`; a config without a prompt head gets
    /// none. Loads no weights.
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    pub fn variant(&self, config: &DetectorConfig) -> Result<Self> {
        let prompt = config.prompt.as_ref().and(self.prompt.clone());
        Self::assemble(config, Arc::clone(&self.backbone), prompt)
    }

    /// Checks that a stream of `config` on this backbone stays within `budget` bytes, without
    /// building anything. `trusted` tells the slots whose bound may be unknown.
    ///
    /// # Errors
    /// [`Error::TooLarge`] or [`Error::UnknownBound`]; [`Error::Component`] if the options do not
    /// fit the backbone.
    pub fn check_memory(
        config: &DetectorConfig,
        backbone: &BackboneSpec,
        budget: u64,
        trusted: &dyn Fn(Slot) -> bool,
    ) -> Result<()> {
        let mut left = budget;
        let mut bank_blocks = Vec::new();
        if let Some(bank) = &config.bank {
            bank_blocks = bank.blocks();
            let bound = component(Slot::Bank, bank.name(), bank.capacity_bytes(backbone))?;
            left -= within(Slot::Bank, bank.name(), bound, left, trusted)?;
        }
        let scorer = &config.scorer;
        let bound = scorer.capacity_bytes(backbone, &bank_blocks);
        let bound = component(Slot::Scorer, scorer.name(), bound)?;
        within(Slot::Scorer, scorer.name(), bound, left, trusted).map(drop)
    }

    fn assemble(
        config: &DetectorConfig,
        backbone: Arc<dyn Backbone>,
        prompt: Option<Arc<dyn PromptHead>>,
    ) -> Result<Self> {
        let mut identity = config.identity()?;
        identity["backbone"]["weights"] = backbone.spec().weights.clone().into();
        if let Some(prompt) = &prompt {
            identity["prompt"]["weights_sha256"] = prompt.weights().into();
        }
        let detector = Self {
            config: config.clone(),
            identity,
            backbone,
            prompt,
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

    /// Gives up the stream that is kept since the detector was built, with the memory that it
    /// reserves.
    pub fn release(&self) {
        let first = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(first);
    }

    /// The config.
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
    /// [`Error::Component`] when the backbone fails, [`Error::Given`] when what it
    /// gave is unusable.
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
        let DetectorConfig { bank, scorer, .. } = &self.config;
        let bank_blocks = bank.as_ref().map(|bank| bank.blocks()).unwrap_or_default();
        let policy = bank.as_ref().map(|bank| bank.update()).unwrap_or_default();
        let bank = bank
            .as_ref()
            .map(|bank| component(Slot::Bank, bank.name(), bank.build(spec)));
        let built = scorer.build(spec, &bank_blocks);
        let scorer = component(Slot::Scorer, scorer.name(), built)?;
        Ok(Stream::new(
            self.config.clone(),
            self.identity.clone(),
            self.prompt.clone(),
            bank.transpose()?,
            UpdateGate::new(policy),
            scorer,
            Calibrator::new(self.config.calibration.clone()),
        ))
    }
}
