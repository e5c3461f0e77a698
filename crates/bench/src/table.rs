//! Runs to rows, means and deviations.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rareclip_core::index::Recall;

use crate::published;
use crate::result::{Benchmark, Run};

/// A figure of merit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// AUROC of the image scores.
    ImageAuroc,
    /// Average precision of the image scores.
    ImageAp,
    /// Largest F1 of the image scores.
    ImageF1,
    /// AUROC over all pixels.
    PixelAuroc,
    /// Average precision over all pixels.
    PixelAp,
    /// Largest F1 over all pixels.
    PixelF1,
    /// Per-region overlap up to a false positive rate of 0.3, exact.
    Aupro,
    /// The same as the published evaluation code computes it.
    AuproReference,
    /// Saturated per-region overlap up to a false positive rate of 0.05; MVTec LOCO only.
    Spro005,
    /// The same up to 0.3.
    Spro03,
}

impl Metric {
    /// All in the order of the papers' tables.
    pub const ALL: [Self; 10] = [
        Self::ImageAuroc,
        Self::ImageAp,
        Self::ImageF1,
        Self::PixelAuroc,
        Self::PixelAp,
        Self::PixelF1,
        Self::Aupro,
        Self::AuproReference,
        Self::Spro005,
        Self::Spro03,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::ImageAuroc => "image AUROC",
            Self::ImageAp => "image AP",
            Self::ImageF1 => "image F1-max",
            Self::PixelAuroc => "pixel AUROC",
            Self::PixelAp => "pixel AP",
            Self::PixelF1 => "pixel F1-max",
            Self::Aupro => "AUPRO",
            Self::AuproReference => "AUPRO (as published)",
            Self::Spro005 => "AU-sPRO to 0.05",
            Self::Spro03 => "AU-sPRO to 0.3",
        }
    }

    /// Its value in a run, 0 to 1; `None` where it is not defined.
    pub fn of(self, run: &Run) -> Option<f64> {
        let image = run.image.as_ref();
        let pixel = run.pixel.as_ref();
        match self {
            Self::ImageAuroc => image?.auroc,
            Self::ImageAp => image?.ap,
            Self::ImageF1 => image?.f1_max,
            Self::PixelAuroc => pixel?.auroc,
            Self::PixelAp => pixel?.ap,
            Self::PixelF1 => pixel?.f1_max,
            Self::Aupro => pixel?.aupro,
            Self::AuproReference => pixel?.aupro_reference,
            Self::Spro005 => run.spro.as_ref()?.area_005,
            Self::Spro03 => run.spro.as_ref()?.area_03,
        }
    }
}

/// Mean and deviation over seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The mean, 0 to 1.
    pub mean: f64,
    /// The sample standard deviation; `None` for a single seed.
    pub deviation: Option<f64>,
}

impl Spread {
    /// Of one value a seed; `None` of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self {
            mean,
            deviation: (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
        })
    }

    /// In percent, e.g. `79.6 ± 0.4`.
    pub fn percent(self) -> String {
        match self.deviation {
            Some(deviation) => format!("{:.1} ± {:.1}", 100.0 * self.mean, 100.0 * deviation),
            None => format!("{:.1}", 100.0 * self.mean),
        }
    }
}

/// A metric of a detector on a category, over seeds. `None` where any seed has none.
pub fn cell(
    benchmark: &Benchmark,
    detector: &str,
    category: &str,
    metric: Metric,
) -> Option<Spread> {
    let values: Option<Vec<f64>> = benchmark
        .of(detector, category)
        .map(|run| metric.of(run))
        .collect();
    Spread::of(&values?)
}

/// The mean over categories, over seeds; categories where the metric is not defined are left out.
/// The second number says how many were in.
pub fn mean(benchmark: &Benchmark, detector: &str, metric: Metric) -> Option<(Spread, usize)> {
    let mut seeds: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    let mut categories = 0;
    for category in &benchmark.categories {
        if cell(benchmark, detector, category, metric).is_none() {
            continue;
        }
        categories += 1;
        for run in benchmark.of(detector, category) {
            seeds.entry(run.seed).or_default().extend(metric.of(run));
        }
    }
    let means: Vec<f64> = seeds
        .values()
        .map(|values| values.iter().sum::<f64>() / values.len() as f64)
        .collect();
    Some((Spread::of(&means)?, categories))
}

/// Mean milliseconds an image and largest peak in bytes of a detector's runs.
pub fn cost(benchmark: &Benchmark, detector: &str) -> (f64, Option<u64>) {
    let runs: Vec<&Run> = benchmark
        .runs
        .iter()
        .filter(|run| run.detector == detector)
        .collect();
    let images: usize = runs.iter().map(|run| run.images.len()).sum();
    let time: f64 = runs
        .iter()
        .map(|run| run.ms_per_image() * run.images.len() as f64)
        .sum();
    let peak = runs.iter().filter_map(|run| run.peak_bytes).max();
    (time / images.max(1) as f64, peak)
}

/// Mean milliseconds an image of each stage of a detector's runs, in the order an image goes
/// through them.
pub fn stages(benchmark: &Benchmark, detector: &str) -> Vec<(String, f64)> {
    let mut all: Vec<(String, f64)> = Vec::new();
    let mut images = 0.0;
    for run in benchmark.runs.iter().filter(|run| run.detector == detector) {
        let count = run.images.len() as f64;
        images += count;
        for stage in &run.stages {
            match all.iter_mut().find(|(name, _)| *name == stage.stage) {
                Some((_, sum)) => *sum += stage.ms * count,
                None => all.push((stage.stage.clone(), stage.ms * count)),
            }
        }
    }
    all.iter_mut()
        .for_each(|(_, sum)| *sum /= f64::max(images, 1.0));
    all
}

/// A rectangular table of text, with a header.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// The names of its columns.
    pub header: Vec<String>,
    /// Its rows, each as long as the header.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// As Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("**{}**\n\n{}", self.title, line(&self.header));
        text += &line(&vec!["---".to_owned(); self.header.len()]);
        for row in &self.rows {
            let _ = write!(text, "{}", line(row));
        }
        text
    }
}

fn percent(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "n/a".into(), Spread::percent)
}

/// The mean over categories in percent, with the number of categories where not all are in.
fn mean_of(benchmark: &Benchmark, detector: &str, metric: Metric) -> String {
    match mean(benchmark, detector, metric) {
        None => "n/a".into(),
        Some((spread, count)) if count < benchmark.categories.len() => {
            format!("{} ({count} categories)", spread.percent())
        }
        Some((spread, _)) => spread.percent(),
    }
}

/// The metrics that are defined for any detector.
pub fn metrics(benchmark: &Benchmark) -> Vec<Metric> {
    let defined = |metric: &Metric| benchmark.runs.iter().any(|run| metric.of(run).is_some());
    Metric::ALL.into_iter().filter(defined).collect()
}

/// One row a detector: the means over categories in percent, time, memory, and what was published.
pub fn overview(benchmark: &Benchmark) -> Table {
    let metrics = metrics(benchmark);
    let mut header = vec!["detector".to_owned()];
    header.extend(metrics.iter().map(|metric| metric.name().to_owned()));
    header.extend(["ms an image", "peak MiB", "published image AUROC"].map(str::to_owned));
    let rows = benchmark.detectors.iter().map(|detector| {
        let mut row = vec![detector.clone()];
        let means = metrics
            .iter()
            .map(|metric| mean_of(benchmark, detector, *metric));
        row.extend(means);
        let (ms, peak) = cost(benchmark, detector);
        row.push(format!("{ms:.0}"));
        row.push(peak.map_or("n/a".into(), |bytes| format!("{}", bytes >> 20)));
        let known = figure(benchmark, detector);
        row.push(known.map_or("".into(), |figure| format!("{:.1}", figure.image_auroc)));
        row
    });
    Table {
        title: format!("{}: means over categories in percent", benchmark.dataset),
        header,
        rows: rows.collect(),
    }
}

/// What was published of a detector on this data set.
pub fn figure(benchmark: &Benchmark, detector: &str) -> Option<&'static published::Figure> {
    let at = benchmark
        .detectors
        .iter()
        .position(|name| name == detector)?;
    let config = benchmark.configs.get(at)?["name"].as_str()?;
    let run = benchmark.runs.iter().find(|run| run.detector == detector)?;
    let asked = benchmark.shots.get(at).copied().flatten();
    let shots = asked.or((run.shots == 0).then_some(0));
    published::find(
        config,
        &benchmark.dataset_kind,
        &benchmark.categories,
        shots,
    )
}

/// One row a category, one column a detector, in percent, with the mean as last row.
pub fn by_category(benchmark: &Benchmark, metric: Metric) -> Table {
    let mut header = vec!["category".to_owned()];
    header.extend(benchmark.detectors.iter().cloned());
    let mut rows: Vec<Vec<String>> = benchmark
        .categories
        .iter()
        .map(|category| {
            let cells = benchmark
                .detectors
                .iter()
                .map(|detector| percent(cell(benchmark, detector, category, metric)));
            [category.clone()].into_iter().chain(cells).collect()
        })
        .collect();
    let means = benchmark
        .detectors
        .iter()
        .map(|detector| mean_of(benchmark, detector, metric));
    rows.push(["mean".to_owned()].into_iter().chain(means).collect());
    Table {
        title: format!("{} in percent", metric.name()),
        header,
        rows,
    }
}

/// What the index of a detector's bank found of what an exact one finds, over all runs; `None`
/// where it is exact.
pub fn recall(benchmark: &Benchmark, detector: &str) -> Option<Recall> {
    let runs = benchmark.runs.iter().filter(|run| run.detector == detector);
    runs.filter_map(|run| run.recall).reduce(|mut all, recall| {
        all += recall;
        all
    })
}

/// One row a detector: milliseconds an image by stage, time to learn, memory.
pub fn costs(benchmark: &Benchmark) -> Table {
    const STAGES: [&str; 5] = ["decode", "backbone", "prompt", "bank", "scorer"];
    let mut header = vec!["detector".to_owned()];
    header.extend(STAGES.map(|stage| format!("{stage} ms")));
    header.extend(["total ms", "fit s", "peak MiB", "bank MiB"].map(str::to_owned));
    // Said only where a detector searches approximately.
    let approximate = benchmark.runs.iter().any(|run| run.recall.is_some());
    if approximate {
        header.push("index recall".to_owned());
    }
    let mib = |bytes: Option<u64>| {
        bytes.map_or("n/a".into(), |bytes| {
            format!("{:.1}", bytes as f64 / 1_048_576.0)
        })
    };
    let rows = benchmark.detectors.iter().map(|detector| {
        let runs = || {
            benchmark
                .runs
                .iter()
                .filter(|run| run.detector == *detector)
        };
        let stages = stages(benchmark, detector);
        let mut row = vec![detector.clone()];
        for stage in STAGES {
            let found = stages.iter().find(|(name, _)| name == stage);
            row.push(found.map_or("-".into(), |(_, ms)| format!("{ms:.1}")));
        }
        let (total, peak) = cost(benchmark, detector);
        row.push(format!("{total:.1}"));
        let fit = runs().map(|run| run.fit_ms).fold(0.0, f64::max);
        row.push(format!("{:.1}", fit / 1e3));
        row.push(mib(peak));
        row.push(mib(runs().filter_map(|run| run.bank_bytes).max()));
        if approximate {
            row.push(
                recall(benchmark, detector).map_or("exact".into(), |recall| {
                    format!("{:.4} @ {}", recall.share(), recall.k)
                }),
            );
        }
        row
    });
    Table {
        title: "Time and memory".into(),
        header,
        rows: rows.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn a_spread_is_mean_and_sample_deviation() {
        let spread = Spread::of(&[0.7, 0.8, 0.9]).unwrap();
        assert_eq!(spread.percent(), "80.0 ± 10.0");
        assert_eq!(Spread::of(&[0.5]).unwrap().percent(), "50.0");
        assert_eq!(Spread::of(&[]), None);
    }
}
