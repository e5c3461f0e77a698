//! The result of a benchmark, sorted into what the sections of its report show.

use rareclip_bench::table::{self, Metric};
use rareclip_bench::{Benchmark, ImageResult, Run};

/// A benchmark and what its report looks at more than once.
pub(super) struct View<'a> {
    /// All of it.
    pub(super) benchmark: &'a Benchmark,
    /// The metrics that are defined for any run.
    pub(super) metrics: Vec<Metric>,
    /// Its categories in the order of the tables.
    pub(super) categories: Vec<Category<'a>>,
}

/// The runs of the first seed on one category.
pub(super) struct Category<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its place among the categories.
    pub(super) place: usize,
    /// One run a detector.
    pub(super) entries: Vec<Entry<'a>>,
}

/// A detector on a category.
pub(super) struct Entry<'a> {
    /// The detector's place in the tables, which decides its colour.
    pub(super) detector: usize,
    /// The run.
    pub(super) run: &'a Run,
    /// Its images by falling score; equal scores in stream order.
    pub(super) ranked: Vec<Scored<'a>>,
}

/// An image with a finite score.
#[derive(Clone, Copy)]
pub(super) struct Scored<'a> {
    /// Place in the stream, from 0: that of its map among the kept ones.
    pub(super) at: usize,
    /// The score; finite.
    pub(super) score: f64,
    /// The image.
    pub(super) image: &'a ImageResult,
}

impl<'a> View<'a> {
    /// Sorts `benchmark`.
    pub(super) fn of(benchmark: &'a Benchmark) -> Self {
        let categories = benchmark.categories.iter().enumerate();
        Self {
            benchmark,
            metrics: table::metrics(benchmark),
            categories: categories
                .map(|(place, name)| Category::of(benchmark, place, name))
                .collect(),
        }
    }
}

impl<'a> Category<'a> {
    fn of(benchmark: &'a Benchmark, place: usize, name: &'a str) -> Self {
        let first = benchmark.seeds.first();
        let entries = benchmark.detectors.iter().enumerate();
        Self {
            name,
            place,
            entries: entries
                .filter_map(|(detector, label)| {
                    let mut runs = benchmark.of(label, name);
                    let run = runs.find(|run| first.is_none_or(|seed| run.seed == *seed))?;
                    Some(Entry::of(detector, run))
                })
                .collect(),
        }
    }

    /// Number of images.
    pub(super) fn images(&self) -> usize {
        self.entries
            .first()
            .map_or(0, |entry| entry.run.images.len())
    }

    /// Number of images with this label.
    pub(super) fn count(&self, label: Option<bool>) -> usize {
        self.entries.first().map_or(0, |entry| {
            let images = entry.run.images.iter();
            images.filter(|image| image.label == label).count()
        })
    }
}

impl<'a> Entry<'a> {
    /// A run of the detector at this place of the tables.
    pub(super) fn of(detector: usize, run: &'a Run) -> Self {
        let images = run.images.iter().enumerate();
        let mut ranked: Vec<_> = images
            .filter(|(_, image)| image.score.is_finite())
            .map(|(at, image)| Scored {
                at,
                score: f64::from(image.score),
                image,
            })
            .collect();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        Self {
            detector,
            run,
            ranked,
        }
    }

    /// The name of the detector.
    pub(super) fn name(&self) -> &'a str {
        &self.run.detector
    }

    /// Scores and labels of the labelled images by falling score.
    pub(super) fn labelled(&self) -> Vec<(f64, bool)> {
        self.ranked
            .iter()
            .filter_map(|scored| Some((scored.score, scored.image.label?)))
            .collect()
    }
}

/// A share as percent, or `n/a`.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "n/a".to_owned(), |share| format!("{:.1}", 100.0 * share))
}
