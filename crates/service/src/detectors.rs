//! The detectors that streams can be opened with.

use std::collections::HashSet;
use std::sync::Arc;

use ndarray::Array4;
use rareclip_core::{Detector, DetectorConfig, Learning, PushOptions};
use rareclip_pipeline::{DetectorSet, Member, Queue, SharedBackbone};

use crate::building::Builds;
use crate::custom::{Custom, Origin};
use crate::entry::Entry;
use crate::error::ServiceError;
use crate::metrics::Metrics;
use crate::model::DetectorChoice;
use crate::settings::Settings;

/// A detector by the name that requests know it by.
#[derive(Debug, Clone)]
pub struct NamedConfig {
    /// The name.
    pub name: String,
    /// The config.
    pub config: DetectorConfig,
}

/// The detectors of a service. Those with the same `[backbone]` table share its weights and its
/// batches.
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
        let mut names = HashSet::new();
        if let Some(twice) = configs.iter().find(|one| !names.insert(one.name.as_str())) {
            return Err(ServiceError::Conflict(format!(
                "two detectors are called `{}`: rename one config",
                twice.name
            )));
        }
        let all = configs.iter().map(|one| (&*one.name, &one.config));
        let DetectorSet { members, backbones } = DetectorSet::build(all)?;
        let queue = |shared: &SharedBackbone| {
            let metrics = Arc::clone(&metrics);
            let batches = Arc::new(move |images: usize| metrics.batch_size.observe(images as f64));
            let backbone = Arc::clone(&shared.backbone);
            Queue::start(&shared.label, backbone, max_batch, batches).map(Arc::new)
        };
        let queues: Vec<Arc<Queue>> = backbones.iter().map(queue).collect::<Result<_, _>>()?;
        let entry = |member: Member| {
            let Member {
                label,
                detector,
                backbone,
            } = member;
            Arc::new(Entry {
                name: label,
                detector,
                encoder: Arc::clone(&queues[backbone]),
            })
        };
        let named: Vec<Arc<Entry>> = members.into_iter().map(entry).collect();
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
    pub fn named(&self) -> &[Arc<Entry>] {
        &self.named
    }

    /// Warns of every detector a stream of which can take more than `budget` bytes: no other stream
    /// stays loaded beside it then.
    pub fn warn_above(&self, budget: u64) {
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
    pub fn find(&self, name: &str) -> Result<&Arc<Entry>, ServiceError> {
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
    /// When there is none of that name; when the config is not one that a request may give, or is
    /// not built in time.
    pub async fn choose(
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
            let blank = Array4::zeros((1, 3, side, side));
            let features = entry.detector.encode(blank.view())?;
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
