//! What a run is told from others by.

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::selection::{Chosen, Item};
use crate::source::Source;
use crate::{Directions, Job, Result};

/// All that decides the result, as it stands in checkpoint, log and provenance.
pub(crate) fn describe(job: &Job<'_>, chosen: &Chosen<'_>, source: &Source<'_>) -> Result<Value> {
    let images = |items: &[Item<'_>]| -> Result<Value> {
        let mut categories: Vec<&str> = items.iter().map(|item| item.category).collect();
        categories.dedup();
        let anomalous = items.iter().filter(|item| item.sample.label == Some(true));
        Ok(json!({
            "categories": categories,
            "images": items.len(),
            "anomalous": anomalous.count(),
            "sha256": source.fingerprint(items)?,
        }))
    };
    let name = job
        .dataset
        .root
        .file_name()
        .map(|name| name.to_string_lossy());
    let directions = match &job.directions {
        Directions::Learned => json!("learned"),
        Directions::Fixed(fixed) => {
            let mut hasher = Sha256::new();
            fixed
                .iter()
                .for_each(|value| hasher.update(value.to_le_bytes()));
            json!({ "fixed": HEXLOWER.encode(&hasher.finalize()) })
        }
    };
    Ok(json!({
        "settings": job.settings,
        "selection": job.selection,
        "dataset": { "kind": job.dataset.kind, "name": name, "training": images(&chosen.training)? },
        "validation": images(&chosen.validation)?,
        "backbone": { "config": job.backbone_config, "weights": job.backbone.spec().weights },
        "directions": directions,
    }))
}
