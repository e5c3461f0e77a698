//! Two detectors on the same images.

use std::collections::HashMap;

use rareclip_metrics::{PairedTest, delong_paired_test};
use serde::Serialize;

use crate::result::{Benchmark, Run};
use crate::table::Metric;
use crate::{Error, Result};

/// A detector of one benchmark beside a detector of another, on one category and seed.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The category.
    pub category: String,
    /// The seed.
    pub seed: u64,
    /// Per metric its name and both values, 0 to 1.
    pub metrics: Vec<(&'static str, Option<f64>, Option<f64>)>,
    /// DeLong's test on the image scores; `None` with fewer than two images of either class.
    pub test: Option<PairedTest>,
    /// Milliseconds an image of both.
    pub ms: (f64, f64),
}

/// Compares `left` of `a` with `right` of `b` on every category and seed that both have.
///
/// # Errors
/// [`Error::Incomparable`] when a detector is not there or nothing is common to both.
pub fn compare(a: &Benchmark, left: &str, b: &Benchmark, right: &str) -> Result<Vec<Comparison>> {
    for (benchmark, name) in [(a, left), (b, right)] {
        if !benchmark.detectors.iter().any(|known| known == name) {
            return Err(Error::Incomparable(format!(
                "no detector {name} in the results on {}; there are {}",
                benchmark.dataset,
                benchmark.detectors.join(", ")
            )));
        }
    }
    let mut all = Vec::new();
    for run in a.runs.iter().filter(|run| run.detector == left) {
        let other = b
            .of(right, &run.category)
            .find(|other| other.seed == run.seed);
        if let Some(other) = other {
            all.push(pair(run, other)?);
        }
    }
    if all.is_empty() {
        return Err(Error::Incomparable(format!(
            "{left} and {right} have no category and seed in common: {} against {}",
            a.categories.join(", "),
            b.categories.join(", ")
        )));
    }
    Ok(all)
}

fn pair(a: &Run, b: &Run) -> Result<Comparison> {
    let others: HashMap<&str, f32> = b
        .images
        .iter()
        .map(|image| (image.id.as_str(), image.score))
        .collect();
    let mut scores = (Vec::new(), Vec::new());
    let mut labels = Vec::new();
    for image in &a.images {
        let (Some(label), Some(&other)) = (image.label, others.get(image.id.as_str())) else {
            continue;
        };
        scores.0.push(f64::from(image.score));
        scores.1.push(f64::from(other));
        labels.push(label);
    }
    if labels.is_empty() && a.images.iter().any(|image| image.label.is_some()) {
        return Err(Error::Incomparable(format!(
            "category {}: the two results have no labelled image in common",
            a.category
        )));
    }
    Ok(Comparison {
        category: a.category.clone(),
        seed: a.seed,
        metrics: Metric::ALL
            .into_iter()
            .map(|metric| (metric.name(), metric.of(a), metric.of(b)))
            .collect(),
        test: delong_paired_test(&scores.0, &scores.1, &labels)?,
        ms: (a.ms_per_image(), b.ms_per_image()),
    })
}
