//! The detectors that streams can be opened with.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::Array4;
use rareclip_core::{Backbone, Detector, DetectorConfig, Learning, PushOptions};
use serde_json::Value;

use crate::encoder::Encoder;
use crate::error::ServiceError;
use crate::metrics::Metrics;
use crate::model::{DetectorChoice, DetectorInfo};

/// Detectors made from configs of requests that are kept ready.
const CUSTOM: usize = 256;

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
        let learning = match self.detector.open_stream().map(|stream| stream.learning()) {
            Ok(Learning::Online) => "online",
            Ok(Learning::Fit) => "fit",
            Ok(Learning::Batch) => "batch",
            Err(_) => "unusable",
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
    named: Vec<Arc<Entry>>,
    custom: Mutex<HashMap<String, Arc<Entry>>>,
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
            let blocks = config.blocks().map_err(rareclip_core::Error::from)?;
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
            named.push(Arc::new(Entry {
                detector: Detector::build_on(&config, Arc::clone(backbone))?,
                encoder: Arc::clone(encoder),
                name,
            }));
        }
        Ok(Self {
            named,
            custom: Mutex::default(),
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

    /// The detector that a request chose.
    ///
    /// # Errors
    /// When there is none of that name, or the config is not one that a request may give.
    pub(crate) fn choose(&self, choice: &DetectorChoice) -> Result<Arc<Entry>, ServiceError> {
        match choice {
            DetectorChoice::Name(name) => self.find(name).cloned(),
            DetectorChoice::Config(table) => self.custom(table),
        }
    }

    fn custom(&self, table: &serde_json::Map<String, Value>) -> Result<Arc<Entry>, ServiceError> {
        let key = Value::Object(table.clone()).to_string();
        let mut custom = self.custom.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = custom.get(&key) {
            return Ok(Arc::clone(entry));
        }
        let config: DetectorConfig =
            serde_json::from_value(Value::Object(table.clone())).map_err(|error| {
                invalid("detector", format!("{error}; see `rareclip config schema`"))
            })?;
        let host = self.host(&config)?;
        for (room, options) in [("bank", table.get("bank")), ("scorer", table.get("scorer"))] {
            options.map_or(Ok(()), |options| no_paths(room, options))?;
        }
        let entry = Arc::new(Entry {
            name: match config.name.as_str() {
                "unnamed" => format!("{} (own config)", host.name),
                name => name.to_owned(),
            },
            detector: Detector::build_on(&config, Arc::clone(host.detector.backbone()))?,
            encoder: Arc::clone(&host.encoder),
        });
        if custom.len() >= CUSTOM {
            custom.clear();
        }
        custom.insert(key, Arc::clone(&entry));
        Ok(entry)
    }

    /// The detector of the service whose backbone and prompt head a request's config shares: requests neither load weights nor
    /// name files.
    fn host(&self, config: &DetectorConfig) -> Result<&Arc<Entry>, ServiceError> {
        let resolved = config.resolved().map_err(rareclip_core::Error::from)?;
        let blocks = config.blocks().map_err(rareclip_core::Error::from)?;
        let table = |config: &DetectorConfig| serde_json::to_value(&config.backbone).ok();
        let prompt = |config: &DetectorConfig| serde_json::to_value(&config.prompt).ok();
        let same = |entry: &&Arc<Entry>| {
            let own = entry.detector.config();
            table(own) == table(&resolved)
                && (resolved.prompt.is_none() || prompt(own) == prompt(&resolved))
        };
        let names: Vec<&str> = self.named.iter().map(|entry| &*entry.name).collect();
        let host = self.named.iter().find(same).ok_or_else(|| {
            invalid(
                "detector",
                format!(
                    "`backbone` and `prompt` must be those of a detector that the service was started with ({}): see /v1/detectors",
                    names.join(", ")
                ),
            )
        })?;
        let given: BTreeSet<usize> = host.detector.spec().blocks.iter().map(|b| b.0).collect();
        match blocks.iter().find(|block| !given.contains(block)) {
            None => Ok(host),
            Some(block) => Err(invalid(
                "detector",
                format!("the backbone of this service gives blocks {given:?}, not {block}"),
            )),
        }
    }

    /// Sends one image through every detector, so that the first real one meets warm memory.
    ///
    /// # Errors
    /// When a detector cannot score.
    pub fn warm_up(&self) -> Result<(), ServiceError> {
        for entry in &self.named {
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
    let resolved = config.resolved().map_err(rareclip_core::Error::from)?;
    Ok(serde_json::to_value(resolved.backbone).unwrap_or(Value::Null))
}

fn backbone(
    config: &DetectorConfig,
    blocks: &BTreeSet<usize>,
) -> Result<Arc<dyn Backbone>, ServiceError> {
    let factory = config
        .backbone
        .resolve()
        .map_err(rareclip_core::Error::from)?;
    factory.build(blocks).map_err(|source| {
        ServiceError::Detector(rareclip_core::Error::Component {
            slot: rareclip_core::Slot::Backbone,
            name: config.backbone.name().to_owned(),
            source,
        })
    })
}

/// Refuses text that could name a file.
fn no_paths(place: &str, value: &Value) -> Result<(), ServiceError> {
    match value {
        Value::String(text) if text.contains(['/', '\\']) || text.contains("..") => Err(invalid(
            place,
            format!("`{text}` looks like a path; a request cannot name files"),
        )),
        Value::Array(items) => items.iter().try_for_each(|item| no_paths(place, item)),
        Value::Object(table) => table
            .iter()
            .try_for_each(|(key, item)| no_paths(&format!("{place}.{key}"), item)),
        _ => Ok(()),
    }
}

fn invalid(place: &str, problem: String) -> ServiceError {
    ServiceError::Invalid {
        place: place.to_owned(),
        problem,
    }
}
