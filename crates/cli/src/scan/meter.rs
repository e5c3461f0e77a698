//! Time and peak memory of each stage.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rareclip_pipeline::{Stage, StageTimes, memory};

/// Adds up time, and keeps the peak of resident memory, by stage.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    images: u64,
    times: StageTimes,
    peaks: BTreeMap<Stage, u64>,
    measure_memory: bool,
}

impl Meter {
    /// With `measure_memory`, the system's peak counter is reset before each measured stage
    /// (Linux).
    pub(crate) fn new(measure_memory: bool) -> Self {
        Self {
            measure_memory,
            ..Self::default()
        }
    }

    /// Runs `work` as the given stage.
    pub(crate) fn measure<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        self.reset_peak();
        let start = Instant::now();
        let result = work();
        self.add(stage, start.elapsed());
        self.note_peak(stage);
        result
    }

    /// Adds time measured elsewhere.
    pub(crate) fn add(&mut self, stage: Stage, time: Duration) {
        self.times.add(stage, time);
    }

    /// Takes the peak since the last reset for the given stage too.
    pub(crate) fn note_peak(&mut self, stage: Stage) {
        if self.measure_memory
            && let Some(bytes) = memory::peak_bytes()
        {
            let peak = self.peaks.entry(stage).or_default();
            *peak = (*peak).max(bytes);
        }
    }

    /// Starts counting the peak anew.
    pub(crate) fn reset_peak(&self) {
        if self.measure_memory {
            memory::reset_peak();
        }
    }

    /// Counts an image as gone through.
    pub(crate) fn image(&mut self) {
        self.images += 1;
    }

    /// Mean milliseconds an image, over all stages.
    pub(crate) fn ms_per_image(&self) -> Option<f64> {
        let total = self.times.total();
        (self.images > 0).then(|| total.as_secs_f64() * 1e3 / self.images as f64)
    }

    /// `(stage, mean ms an image, peak bytes)` of the stages that took any time.
    pub(crate) fn stages(&self) -> Vec<(&'static str, f64, Option<u64>)> {
        let mean = self.times.mean_ms(self.images);
        mean.map(|(stage, ms)| (stage.name(), ms, self.peaks.get(&stage).copied()))
            .collect()
    }

    /// The table that `--timings` prints.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{:<10} {:>10} {:>10}\n", "stage", "ms/image", "peak MiB");
        let mib = |bytes: Option<u64>| {
            bytes.map_or("n/a".into(), |bytes| {
                format!("{:.0}", bytes as f64 / 1048576.0)
            })
        };
        for (name, ms, peak) in self.stages() {
            let _ = writeln!(text, "{name:<10} {ms:>10.1} {:>10}", mib(peak));
        }
        let peak = self.peaks.values().max().copied();
        let total = self.ms_per_image().unwrap_or(0.0);
        let _ = write!(text, "{:<10} {total:>10.1} {:>10}", "total", mib(peak));
        text
    }
}
