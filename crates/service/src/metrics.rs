//! What Prometheus scrapes.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use rareclip_pipeline::{Stage, StageTimes};

/// A request as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// `GET`, `POST`, ...
    pub method: String,
    /// The route's template, e.g. `/v1/streams/{name}`.
    pub route: String,
    /// The status of the answer.
    pub status: u16,
}

/// A route as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    /// The route's template.
    pub route: String,
}

/// A stage of an image's way as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StageLabels {
    /// `queue`, `decode`, `backbone`, `prompt`, `bank`, `scorer`, `store` or `total`.
    pub stage: &'static str,
}

/// A stream as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StreamLabels {
    /// Its name.
    pub stream: String,
}

/// A stream and a verdict as labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VerdictLabels {
    /// The stream's name.
    pub stream: String,
    /// `normal`, `anomalous` or `uncalibrated`.
    pub verdict: String,
}

type Seconds<L> = Family<L, Histogram, fn() -> Histogram>;

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

fn scores() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 1.3, 28))
}

/// Counters and gauges of one service.
pub struct Metrics {
    registry: Registry,
    /// Requests by method, route and status.
    pub requests: Family<RequestLabels, Counter>,
    /// Seconds to answer a request, by route.
    pub request_seconds: Seconds<RouteLabels>,
    pub(crate) stage_seconds: Seconds<StageLabels>,
    pub(crate) batch_size: Histogram,
    pub(crate) waiting: Gauge,
    pub(crate) images: Family<VerdictLabels, Counter>,
    pub(crate) scores: Seconds<StreamLabels>,
    pub(crate) prototypes: Family<StreamLabels, Gauge>,
    pub(crate) bytes: Family<StreamLabels, Gauge>,
    pub(crate) skipped: Family<StreamLabels, Counter>,
    pub(crate) loaded: Gauge,
    pub(crate) memory: Gauge,
    pub(crate) unrecorded: Counter,
    pub(crate) problems: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("rareclip"),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            stage_seconds: Family::new_with_constructor(seconds),
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 8)),
            waiting: Gauge::default(),
            images: Family::default(),
            scores: Family::new_with_constructor(scores),
            prototypes: Family::default(),
            bytes: Family::default(),
            skipped: Family::default(),
            loaded: Gauge::default(),
            memory: Gauge::default(),
            unrecorded: Counter::default(),
            problems: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("requests", "Requests answered", self.requests.clone());
        r.register_with_unit(
            "request",
            "Time to answer a request",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        r.register_with_unit(
            "stage",
            "Time of an image in each stage",
            Unit::Seconds,
            self.stage_seconds.clone(),
        );
        r.register(
            "batch_size",
            "Images in one call of a backbone",
            self.batch_size.clone(),
        );
        r.register(
            "queue_depth",
            "Images in work or waiting",
            self.waiting.clone(),
        );
        r.register(
            "images",
            "Images scored and recorded, by stream and verdict",
            self.images.clone(),
        );
        r.register("score", "Scores by stream", self.scores.clone());
        r.register(
            "prototypes",
            "Prototype patches that a stream holds",
            self.prototypes.clone(),
        );
        r.register_with_unit(
            "stream",
            "Memory that a loaded stream holds",
            Unit::Bytes,
            self.bytes.clone(),
        );
        r.register(
            "skipped_updates",
            "Images that a stream scored without remembering them",
            self.skipped.clone(),
        );
        r.register(
            "loaded_streams",
            "Streams whose memory is loaded",
            self.loaded.clone(),
        );
        r.register_with_unit(
            "memory",
            "Memory that all loaded streams hold",
            Unit::Bytes,
            self.memory.clone(),
        );
        r.register(
            "unrecorded_images",
            "Images that were scored but could not be recorded",
            self.unrecorded.clone(),
        );
        r.register(
            "problems",
            "1 while database or data folder cannot be written",
            self.problems.clone(),
        );
    }

    pub(crate) fn timings(&self, times: &StageTimes, total: Duration) {
        // A service writes pictures beside the answer.
        let stages = Stage::ALL
            .into_iter()
            .filter(|&stage| stage != Stage::Output);
        let stages = stages.map(|stage| (stage.name(), times.of(stage)));
        for (stage, time) in stages.chain([("total", total)]) {
            let labels = StageLabels { stage };
            let seconds = time.as_secs_f64();
            self.stage_seconds.get_or_create(&labels).observe(seconds);
        }
    }

    /// Forgets the labels of a stream that is no more.
    pub fn forget(&self, stream: &str) {
        let labels = StreamLabels {
            stream: stream.to_owned(),
        };
        self.scores.remove(&labels);
        self.prototypes.remove(&labels);
        self.bytes.remove(&labels);
        self.skipped.remove(&labels);
        for verdict in ["normal", "anomalous", "uncalibrated"] {
            self.images.remove(&VerdictLabels {
                stream: stream.to_owned(),
                verdict: verdict.to_owned(),
            });
        }
    }

    /// Everything in the text format of OpenMetrics.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => format!("# {error}\n# EOF\n"),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
