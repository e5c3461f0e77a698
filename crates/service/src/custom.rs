//! Detectors made from the configs of requests.
//!
//! A config of a request shares the backbone and the prompt head of a detector of the service. Its
//! bank and its scorer must be trusted ([`Trust`](rareclip_core::Trust)) and bounded in memory
//! before any of their code runs.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rareclip_core::{ConfigError, Detector, DetectorConfig, Slot};
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::building::Builds;
use crate::entry::Entry;
use crate::error::ServiceError;
use crate::settings::Settings;
use crate::text;

/// Detectors that are kept ready.
const READY: usize = 256;
/// Configs that are built or wait to be built.
const WAITING: usize = 64;
/// The longest config in bytes, written as JSON.
const LONGEST_CONFIG: usize = 64 << 10;
/// Problems of a config that an answer names.
const PROBLEMS: usize = 8;

/// Where a config comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From a request, whose text has been checked.
    Request,
    /// From the database: an earlier release may have taken a name that is refused by now.
    Stored,
}

/// The detectors made from configs of requests.
#[derive(Default)]
pub(crate) struct Custom {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    ready: HashMap<String, Arc<Entry>>,
    /// Closed when the build has ended.
    building: HashMap<String, watch::Receiver<()>>,
}

/// The only build of a config; ends it when dropped.
struct Build {
    kept: Arc<Mutex<Kept>>,
    key: String,
    /// Dropped last.
    _ended: watch::Sender<()>,
}

fn locked(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Build {
    fn keep(&self, entry: &Arc<Entry>) {
        let mut kept = locked(&self.kept);
        if kept.ready.len() >= READY {
            kept.ready.clear();
        }
        kept.ready.insert(self.key.clone(), Arc::clone(entry));
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        locked(&self.kept).building.remove(&self.key);
    }
}

/// What is to be done for a config.
enum Turn {
    Ready(Arc<Entry>),
    Wait(watch::Receiver<()>),
    Build(Build),
}

impl Custom {
    /// The detector of the config `table`, which is built once however many ask for it.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] where the config may not come from a request;
    /// [`ServiceError::Building`] where it is not built in time.
    pub(crate) async fn get(
        &self,
        table: &Map<String, Value>,
        origin: Origin,
        named: &Arc<[Arc<Entry>]>,
        settings: &Settings,
        builds: &Builds,
    ) -> Result<Arc<Entry>, ServiceError> {
        let key = Value::Object(table.clone()).to_string();
        if let Some(entry) = locked(&self.kept).ready.get(&key) {
            return Ok(Arc::clone(entry));
        }
        let config = checked(table, &key, origin, named, settings)?;
        let work = async {
            loop {
                match self.turn(&key)? {
                    Turn::Ready(entry) => return Ok(entry),
                    Turn::Wait(mut ended) => {
                        // It is closed, not changed.
                        let _ = ended.changed().await;
                    }
                    Turn::Build(build) => {
                        let (named, settings) = (Arc::clone(named), settings.clone());
                        let make = move || {
                            let entry = Arc::new(built(&config, &named, &settings)?);
                            build.keep(&entry);
                            Ok(entry)
                        };
                        return builds.for_request(make).await;
                    }
                }
            }
        };
        builds.in_time(work).await
    }

    fn turn(&self, key: &str) -> Result<Turn, ServiceError> {
        let mut kept = locked(&self.kept);
        if let Some(entry) = kept.ready.get(key) {
            return Ok(Turn::Ready(Arc::clone(entry)));
        }
        if let Some(ended) = kept.building.get(key) {
            return Ok(Turn::Wait(ended.clone()));
        }
        if kept.building.len() >= WAITING {
            return Err(ServiceError::ManyBuilds { limit: WAITING });
        }
        let (ended, receiver) = watch::channel(());
        kept.building.insert(key.to_owned(), receiver);
        Ok(Turn::Build(Build {
            kept: Arc::clone(&self.kept),
            key: key.to_owned(),
            _ended: ended,
        }))
    }
}

/// The config in `table`, if a request may give it. Builds nothing.
fn checked(
    table: &Map<String, Value>,
    json: &str,
    origin: Origin,
    named: &[Arc<Entry>],
    settings: &Settings,
) -> Result<DetectorConfig, ServiceError> {
    if json.len() > LONGEST_CONFIG {
        let found = json.len();
        return Err(invalid(format!(
            "the config has {found} bytes, at most {LONGEST_CONFIG} are allowed; leave out options that have their default"
        )));
    }
    for (slot, options) in [
        (Slot::Bank, table.get("bank")),
        (Slot::Scorer, table.get("scorer")),
    ] {
        let Some(Value::Object(options)) = options else {
            continue;
        };
        let trusted = settings.trust.check(slot, options, slot.name());
        trusted.map_err(|error| refused(&error))?;
    }
    // Before the tables are read: reading one runs code of its component.
    alike(table, named)?;
    let config = DetectorConfig::from_value(Value::Object(table.clone()), &|_| None);
    let mut config = config.map_err(|error| refused(&error))?;
    config
        .calibration
        .check()
        .map_err(|error| refused(&error))?;
    if origin == Origin::Stored {
        config.name = cleaned(&config.name, text::DETECTOR.most());
        config.description = cleaned(&config.description, text::DESCRIPTION.most());
    }
    Ok(config)
}

/// As much of a text as fits into `most` bytes, without control characters.
fn cleaned(text: &str, most: usize) -> String {
    let mut clean = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if clean.len() + c.len_utf8() > most {
            break;
        }
        clean.push(c);
    }
    clean
}

/// Builds what a checked config adds to a detector of the service.
fn built(
    config: &DetectorConfig,
    named: &[Arc<Entry>],
    settings: &Settings,
) -> Result<Entry, ServiceError> {
    let host = host(config, named)?;
    let trust = &settings.trust;
    let bank = config.bank.as_ref().map(|bank| bank.table());
    let bank = bank.transpose().map_err(|error| refused(&error))?;
    let scorer = config.scorer.table().map_err(|error| refused(&error))?;
    let trusted = |slot| match slot {
        Slot::Bank => bank
            .as_ref()
            .is_some_and(|table| trust.allows_part_of(slot, table)),
        _ => trust.allows_part_of(slot, &scorer),
    };
    let spec = host.detector.spec();
    Detector::check_memory(config, spec, settings.memory_bytes, &trusted).map_err(misfit)?;
    let detector = host.detector.variant(config).map_err(misfit)?;
    // A stream builds its memory when it needs it: many configs that are kept ready must not hold
    // one each.
    detector.release();
    Ok(Entry {
        name: match config.name.as_str() {
            "unnamed" | "" => format!("{} (own config)", host.name),
            name => name.to_owned(),
        },
        detector,
        encoder: Arc::clone(&host.encoder),
    })
}

/// Options of a request that do not fit the backbone are its mistake, not the service's.
fn misfit(error: rareclip_core::Error) -> ServiceError {
    match error {
        rareclip_core::Error::Component { .. } => invalid(error.to_string()),
        error => error.into(),
    }
}

fn no_host(named: &[Arc<Entry>]) -> ServiceError {
    let names: Vec<&str> = named.iter().map(|entry| &*entry.name).collect();
    invalid(format!(
        "`backbone` and `prompt` must be those of a detector that the service was started with ({}): see /v1/detectors",
        names.join(", ")
    ))
}

/// Refuses a config whose backbone and prompt head have not the types of those of a detector of the
/// service.
fn alike(config: &Map<String, Value>, named: &[Arc<Entry>]) -> Result<(), ServiceError> {
    let chosen = |slot: Slot| {
        let table = config.get(slot.name()).filter(|table| !table.is_null());
        table.map(|table| table["type"].as_str().unwrap_or_default())
    };
    let prompt = chosen(Slot::Prompt);
    let same = |entry: &Arc<Entry>| {
        let own = entry.detector.config();
        let own_prompt = own.prompt.as_ref().map(|prompt| prompt.name());
        chosen(Slot::Backbone) == Some(own.backbone.name())
            && (prompt.is_none() || prompt == own_prompt)
    };
    match named.iter().any(same) {
        true => Ok(()),
        false => Err(no_host(named)),
    }
}

/// The detector of the service whose backbone and prompt head a config shares.
fn host<'a>(
    config: &DetectorConfig,
    named: &'a [Arc<Entry>],
) -> Result<&'a Arc<Entry>, ServiceError> {
    let same = |entry: &&Arc<Entry>| {
        let own = entry.detector.config();
        let prompt = config.prompt.as_deref();
        *own.backbone == *config.backbone && (prompt.is_none() || own.prompt.as_deref() == prompt)
    };
    let host = named.iter().find(same).ok_or_else(|| no_host(named))?;
    let given: BTreeSet<usize> = host.detector.spec().blocks.iter().map(|b| b.0).collect();
    match config.blocks().iter().find(|block| !given.contains(block)) {
        None => Ok(host),
        Some(block) => Err(invalid(format!(
            "the backbone of this service gives blocks {given:?}, not {block}"
        ))),
    }
}

fn refused(error: &ConfigError) -> ServiceError {
    let problems = error.problems.iter().take(PROBLEMS);
    let lines: Vec<String> = problems
        .map(|one| format!("{}: {}", one.key, one.message))
        .collect();
    invalid(lines.join("; "))
}

fn invalid(problem: String) -> ServiceError {
    ServiceError::Invalid {
        place: "detector".into(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_text_is_cut_between_characters_and_cleaned() {
        assert_eq!(cleaned("a\nb\u{0}c", 64), "abc");
        assert_eq!(cleaned("\u{e4}\u{e4}\u{e4}", 5), "\u{e4}\u{e4}");
    }
}
