//! The composition of the four rooms.

use std::sync::{Arc, Mutex, PoisonError};

use ndarray::ArrayView4;
use serde_json::Value;

use crate::backbone::BackboneSpec;
use crate::update::UpdateGate;
use crate::{
    Backbone, BoxError, Calibrator, DetectorConfig, Error, Features, MemoryBankFactory, PromptHead,
    Result, ScorerFactory, Slot, Stream,
};

/// A detector built from its config; streams are opened from it and share its weights.
pub struct Detector {
    config: DetectorConfig,
    identity: Value,
    backbone: Arc<dyn Backbone>,
    prompt: Option<Arc<dyn PromptHead>>,
    bank: Option<Box<dyn MemoryBankFactory>>,
    scorer: Box<dyn ScorerFactory>,
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
        let prompt = config
            .prompt
            .as_ref()
            .map(|choice| choice.resolve())
            .transpose()?;
        let bank = config
            .bank
            .as_ref()
            .map(|choice| choice.resolve())
            .transpose()?;
        let scorer = config.scorer.resolve()?;

        let prompt = match (prompt, &config.prompt) {
            (Some(prompt), Some(choice)) => Some(component(
                Slot::Prompt,
                choice.name(),
                prompt.build(backbone.spec()),
            )?),
            _ => None,
        };
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
            first: Mutex::default(),
        };
        let first = detector.new_stream()?;
        Ok(Self {
            first: Mutex::new(Some(first)),
            ..detector
        })
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
