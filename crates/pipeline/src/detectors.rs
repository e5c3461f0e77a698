//! Detectors that share what they can.

use std::collections::BTreeSet;
use std::sync::Arc;

use rareclip_core::config::differences;
use rareclip_core::{Backbone, ConfigError, Detector, DetectorConfig, Slot};
use serde_json::Value;

use crate::{Error, Result};

/// More bytes than any machine has: a bound above it is an option far out of range.
const COUNTABLE: u64 = 1 << 50;

/// A detector of a set.
pub struct Member {
    /// What the program calls it.
    pub label: String,
    /// The detector.
    pub detector: Detector,
    /// The place of its backbone in [`DetectorSet::backbones`].
    pub backbone: usize,
}

/// A backbone that one or more detectors of a set use.
pub struct SharedBackbone {
    /// The backbone, which gives the blocks that any of its detectors reads.
    pub backbone: Arc<dyn Backbone>,
    /// Its config table without runtime options: all that decides the features.
    pub identity: Value,
    /// The label of the first detector that uses it.
    pub label: String,
}

/// Detectors, built so that equal backbones are loaded once.
///
/// Two backbones are equal if their config tables are, options that do not change the features
/// (threads and the like, marked `x-runtime` in their schema) left out. Such an option that differs
/// between two detectors is an error, because only one of the values could be used.
pub struct DetectorSet {
    /// The detectors in the order they were given.
    pub members: Vec<Member>,
    /// The backbones in the order of their first detector.
    pub backbones: Vec<SharedBackbone>,
}

/// What is known of a backbone before it is built.
struct Wanted<'c> {
    identity: Value,
    table: Value,
    blocks: BTreeSet<usize>,
    label: &'c str,
    config: &'c DetectorConfig,
}

impl DetectorSet {
    /// Builds every detector.
    ///
    /// # Errors
    /// [`Error::RuntimeConflict`] before anything is built; [`Error::Detector`] if one cannot be
    /// built.
    pub fn build<'c>(
        detectors: impl IntoIterator<Item = (&'c str, &'c DetectorConfig)>,
    ) -> Result<Self> {
        let mut wanted: Vec<Wanted<'c>> = Vec::new();
        let mut places = Vec::new();
        for (label, config) in detectors {
            places.push((label, config, place(&mut wanted, label, config)?));
        }
        let backbones: Vec<SharedBackbone> =
            wanted.into_iter().map(built).collect::<Result<_>>()?;
        let member = |(label, config, backbone): (&str, &DetectorConfig, usize)| {
            let shared: &SharedBackbone = &backbones[backbone];
            let spec = shared.backbone.spec();
            Detector::check_memory(config, spec, COUNTABLE, &|_| true)
                .and_then(|()| Detector::build_on(config, Arc::clone(&shared.backbone)))
                .map(|detector| Member {
                    label: label.to_owned(),
                    detector,
                    backbone,
                })
                .map_err(Error::detector(label))
        };
        let members: Vec<Member> = places.into_iter().map(member).collect::<Result<_>>()?;
        Ok(Self { members, backbones })
    }
}

/// The place of the backbone of `config` among those wanted; a new one at the end.
fn place<'c>(
    wanted: &mut Vec<Wanted<'c>>,
    label: &'c str,
    config: &'c DetectorConfig,
) -> Result<usize> {
    let wrong = |error: ConfigError| Error::detector(label)(rareclip_core::Error::from(error));
    let identity = config.identity().map_err(wrong)?[Slot::Backbone.name()].clone();
    let table = Value::Object(config.backbone.table().map_err(wrong)?);
    let Some(at) = wanted.iter().position(|one| one.identity == identity) else {
        wanted.push(Wanted {
            identity,
            table,
            blocks: config.blocks(),
            label,
            config,
        });
        return Ok(wanted.len() - 1);
    };
    let known = &mut wanted[at];
    if let Some(different) = differences(&known.table, &table).into_iter().next() {
        return Err(Error::RuntimeConflict {
            first: known.label.to_owned(),
            second: label.to_owned(),
            key: format!("{}.{}", Slot::Backbone, different.key),
            left: different.was.to_string(),
            right: different.is.to_string(),
        });
    }
    known.blocks.extend(config.blocks());
    Ok(at)
}

fn built(wanted: Wanted<'_>) -> Result<SharedBackbone> {
    let factory = &wanted.config.backbone;
    let backbone = factory.build(&wanted.blocks).map_err(|source| {
        Error::detector(wanted.label)(rareclip_core::Error::Component {
            slot: Slot::Backbone,
            name: factory.name().to_owned(),
            source,
        })
    })?;
    Ok(SharedBackbone {
        backbone,
        identity: wanted.identity,
        label: wanted.label.to_owned(),
    })
}
