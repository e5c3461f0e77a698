//! The detectors that streams can be opened with.

use std::collections::BTreeSet;
use std::sync::Arc;

use ndarray::Array4;
use rareclip_core::{Backbone, Detector, DetectorConfig, Learning, PushOptions};
use serde_json::Value;

use crate::building::Builds;
use crate::custom::{Custom, Origin};
use crate::encoder::Encoder;
use crate::error::ServiceError;
use crate::metrics::Metrics;
use crate::model::{DetectorChoice, DetectorInfo};
use crate::settings::Settings;

/// More bytes than any machine has: a bound above it is an option far out of range.
const COUNTABLE: u64 = 1 << 50;

/// A detector by the name that requests know it by.
#[derive(Debug, Clone)]
pub struct NamedConfig {
    /// The name.
    pub name: String,
    /// The config.
    pub config: DetectorConfig,
}

/// A detector and the encoder that its images go through.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) detector: Detector,
    pub(crate) encoder: Arc<Encoder>,
}

impl Entry {
    /// What the API says of it.
    pub(crate) fn info(&self) -> DetectorInfo {
        let config = self.detector.config();
        let learning = match self.detector.learning() {
            Learning::Online => "online",
            Learning::Fit => "fit",
            Learning::Batch => "batch",
        };
        DetectorInfo {
            name: self.name.clone(),
            description: config.description.clone(),
            image_side: self.detector.spec().input.side,
            learning: learning.to_owned(),
            config: serde_json::to_value(config).unwrap_or(Value::Null),
        }
    }
}

/// The detectors of a service. Those with the same `[backbone]` table share its weights and its batches.
pub struct Detectors {
    named: Arc<[Arc<Entry>]>,
    custom: Custom,
    metrics: Arc<Metrics>,
}

impl Detectors {
    /// Builds every detector. `max_batch` images go through a backbone at once, at most.
    ///
    /// # Errors
    /// When there is none, two share a name, or one cannot be built.
    pub fn build(configs: Vec<NamedConfig>, max_batch: usize) -> Result<Self, ServiceError> {
        let metrics = Arc::new(Metrics::new());
        if configs.is_empty() {
            return Err(ServiceError::Invalid {
                place: "detectors".into(),
                problem: "a service needs at least one".into(),
            });
        }
        let mut groups: Vec<(Value, BTreeSet<usize>)> = Vec::new();
        let mut keys = Vec::new();
        for NamedConfig { config, .. } in &configs {
            let key = backbone_table(config)?;
            let blocks = config.blocks();
            match groups.iter_mut().find(|(table, _)| *table == key) {
                Some((_, all)) => all.extend(blocks),
                None => groups.push((key.clone(), blocks)),
            }
            keys.push(key);
        }
        let mut encoders: Vec<(Value, Arc<dyn Backbone>, Arc<Encoder>)> = Vec::new();
        let mut named: Vec<Arc<Entry>> = Vec::new();
        for (NamedConfig { name, config }, key) in configs.into_iter().zip(keys) {
            if named.iter().any(|entry| entry.name == name) {
                return Err(ServiceError::Conflict(format!(
                    "two detectors are called `{name}`: rename one config"
                )));
            }
            let at = match encoders.iter().position(|(table, ..)| *table == key) {
                Some(at) => at,
                None => {
                    let blocks = groups.iter().find(|(table, _)| *table == key);
                    let blocks = blocks.map(|(_, blocks)| blocks.clone()).unwrap_or_default();
                    let backbone = backbone(&config, &blocks)?;
                    let encoder = Encoder::start(
                        &config.name,
                        Arc::clone(&backbone),
                        max_batch,
                        Arc::clone(&metrics),
                    )?;
                    encoders.push((key, backbone, Arc::new(encoder)));
                    encoders.len() - 1
                }
            };
            let (_, backbone, encoder) = &encoders[at];
            Detector::check_memory(&config, backbone.spec(), COUNTABLE, &|_| true)?;
            named.push(Arc::new(Entry {
                detector: Detector::build_on(&config, Arc::clone(backbone))?,
                encoder: Arc::clone(encoder),
                name,
            }));
        }
        Ok(Self {
            named: named.into(),
            custom: Custom::default(),
            metrics,
        })
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The detectors by name, in the order they were given.
    pub(crate) fn named(&self) -> &[Arc<Entry>] {
        &self.named
    }

    /// Warns of every detector a stream of which can take more than `budget` bytes: no other stream stays loaded beside it then.
    pub(crate) fn warn_above(&self, budget: u64) {
        for entry in self.named.iter() {
            let (config, spec) = (entry.detector.config(), entry.detector.spec());
            if let Err(error) = Detector::check_memory(config, spec, budget, &|_| true) {
                let detector = &entry.name;
                tracing::warn!(%detector, %error, "A stream of this detector can exceed the memory for all streams.");
            }
        }
    }

    /// The detector of that name.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] that names those there are.
    pub(crate) fn find(&self, name: &str) -> Result<&Arc<Entry>, ServiceError> {
        self.named
            .iter()
            .find(|entry| entry.name == name)
            .ok_or_else(|| {
                let names: Vec<&str> = self.named.iter().map(|entry| &*entry.name).collect();
                ServiceError::NotFound {
                    what: "detector",
                    name: name.to_owned(),
                    hint: format!("; there are {}", names.join(", ")),
                }
            })
    }

    /// The detector that a request or a stored stream chose.
    ///
    /// # Errors
    /// When there is none of that name; when the config is not one that a request may give, or is not built in time.
    pub(crate) async fn choose(
        &self,
        choice: &DetectorChoice,
        origin: Origin,
        settings: &Settings,
        builds: &Builds,
    ) -> Result<Arc<Entry>, ServiceError> {
        match choice {
            DetectorChoice::Name(name) => self.find(name).cloned(),
            DetectorChoice::Config(table) => {
                let custom = &self.custom;
                custom
                    .get(table, origin, &self.named, settings, builds)
                    .await
            }
        }
    }

    /// Sends one image through every detector, so that the first real one meets warm memory.
    ///
    /// # Errors
    /// When a detector cannot score.
    pub fn warm_up(&self) -> Result<(), ServiceError> {
        for entry in self.named.iter() {
            let side = entry.detector.spec().input.side;
            let features = entry
                .detector
                .encode(Array4::zeros((1, 3, side, side)).view())?;
            let stream = entry.detector.open_stream()?;
            if let (Some(mut features), Learning::Online) =
                (features.into_iter().next(), stream.learning())
            {
                features.file_bytes = Some(0);
                let mut unobserved = |_, _| {};
                drop(stream.assess(&features, PushOptions::PEEK, &mut unobserved)?);
            }
        }
        Ok(())
    }
}

fn backbone_table(config: &DetectorConfig) -> Result<Value, ServiceError> {
    let table = config.backbone.table();
    Ok(Value::Object(table.map_err(rareclip_core::Error::from)?))
}

fn backbone(
    config: &DetectorConfig,
    blocks: &BTreeSet<usize>,
) -> Result<Arc<dyn Backbone>, ServiceError> {
    let factory = &config.backbone;
    factory.build(blocks).map_err(|source| {
        ServiceError::Detector(rareclip_core::Error::Component {
            slot: rareclip_core::Slot::Backbone,
            name: factory.name().to_owned(),
            source,
        })
    })
}
