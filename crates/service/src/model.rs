//! What goes in and out, as JSON. The same names stand in the API, on the page, and in
//! `rareclip scan`'s results.

use std::time::Duration;

use rareclip_core::Verdict;
use rareclip_core::calibration::{CalibrationConfig, CalibrationState, ReferenceKind};
use rareclip_pipeline::{Stage, StageTimes};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A detector: the name of one that the service was started with, or the tables of a config. A
/// config's `backbone` and `prompt` are those of a detector of the service. Its `bank` and `scorer`
/// are components that reach nothing outside the process, with options that are numbers, true or
/// false, or names from a fixed list, unless the operator allows a component by name. `name` has 1
/// to 64 bytes, `description` up to 1024, both without control characters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum DetectorChoice {
    /// By name.
    Name(String),
    /// By config.
    #[schema(value_type = Object)]
    Config(Map<String, Value>),
}

/// A stream to be created.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStream {
    /// 1 to 64 letters, digits, `-`, `_` or `.`; the first is a letter or digit.
    pub name: String,
    /// The detector; missing: the first that the service was started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<DetectorChoice>,
    /// How scores become verdicts; missing: as the detector's config says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub calibration: Option<CalibrationConfig>,
}

/// How a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Its memory is loaded.
    Loaded,
    /// Its memory is on disk and is loaded with the next image.
    Stored,
    /// Its memory cannot be read; `notice` says why and what to do.
    Damaged,
}

/// What a bank holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BankInfo {
    /// Images that were remembered.
    pub images: u64,
    /// Prototype patches held.
    pub prototypes: usize,
    /// Bytes held.
    pub bytes: usize,
    /// Bytes that it can hold at most.
    pub capacity_bytes: usize,
}

/// How scores become verdicts at present.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CalibrationInfo {
    /// The policy: `type` is `quantile`, `false-alarm-rate` or `fixed`.
    #[schema(value_type = Object)]
    pub policy: CalibrationConfig,
    /// The status in words, e.g. "uncalibrated, 7 of 20 images", for people; programs read
    /// `status`.
    pub state: String,
    /// What the threshold rests on; null where the stream was stored by a version without this
    /// field.
    #[serde(default)]
    pub status: Option<CalibrationStatus>,
    /// Scores above it are anomalous; null while uncalibrated.
    pub threshold: Option<f32>,
    /// Scores of known normals at hand.
    pub known_normals: usize,
}

/// What the threshold of a stream rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum CalibrationStatus {
    /// There are too few reference scores for a threshold: verdicts are `uncalibrated`.
    WarmingUp {
        /// Reference scores that there are.
        have: usize,
        /// Reference scores that the policy needs.
        needed: usize,
        /// What the reference scores are of.
        reference: ReferenceScores,
    },
    /// A quantile of the scores of the stream.
    Quantile {
        /// Share of the scores that count as normal, in [0, 1).
        quantile: f64,
        /// Scores that it is a quantile of.
        scores: usize,
    },
    /// The false-positive rate on known normals.
    FalseAlarmRate {
        /// Share of normal images that may be called anomalous, in (0, 1).
        rate: f64,
        /// Scores of known normals.
        normals: usize,
    },
    /// A threshold set by hand.
    Fixed,
}

/// What reference scores are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReferenceScores {
    /// Images of the stream.
    Images,
    /// Known normals.
    KnownNormals,
}

impl CalibrationStatus {
    /// The status as the API says it; `None` for a state that the API does not have.
    pub fn of(state: &CalibrationState) -> Option<Self> {
        Some(match *state {
            CalibrationState::WarmingUp {
                have,
                needed,
                reference,
            } => Self::WarmingUp {
                have,
                needed,
                reference: match reference {
                    ReferenceKind::Images => ReferenceScores::Images,
                    ReferenceKind::KnownNormals => ReferenceScores::KnownNormals,
                },
            },
            CalibrationState::Quantile { quantile, scores } => Self::Quantile { quantile, scores },
            CalibrationState::FalseAlarmRate { rate, normals } => {
                Self::FalseAlarmRate { rate, normals }
            }
            CalibrationState::Fixed => Self::Fixed,
            _ => return None,
        })
    }
}

/// Recent scores against those that the calibration rests on (Kolmogorov-Smirnov).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DriftInfo {
    /// Whether they differ by more than chance.
    pub drifting: bool,
    /// Whether recent scores are the higher ones.
    pub upwards: bool,
    /// Probability of such a difference by chance, in [0, 1].
    pub p_value: f64,
    /// Recent scores compared.
    pub recent: usize,
    /// Scores they were compared with.
    pub reference: usize,
}

/// A stream as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// The name of its detector.
    pub detector: String,
    /// When it was created (RFC 3339, UTC).
    pub created_at: String,
    /// Images its memory was shown since it began or was reset, known normals included.
    pub images: u64,
    /// Results in its history.
    pub results: u64,
    /// Whether images are scored without being remembered.
    pub frozen: bool,
    /// How it is.
    pub condition: Condition,
    /// What its users should know, in words.
    pub notice: Option<String>,
    /// Its memory, where the detector has one; null also while it is stored and was not loaded
    /// since the service started.
    pub bank: Option<BankInfo>,
    /// Its calibration; null while it is stored and was not loaded since the service started.
    pub calibration: Option<CalibrationInfo>,
    /// Drift; null while there are too few scores to say.
    pub drift: Option<DriftInfo>,
    /// Images waiting.
    pub waiting: usize,
    /// Images that the update policy kept out of the memory, or that came while it was frozen,
    /// since the service started.
    pub skipped_updates: u64,
    /// The last result in its history.
    pub last: Option<ResultRecord>,
}

/// What a person says of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// This is fine.
    Normal,
    /// This is a defect.
    Defect,
}

/// A result in the history of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResultRecord {
    /// Number within the stream, ascending, never used twice.
    pub id: u64,
    /// When it was scored (RFC 3339, UTC).
    pub at: String,
    /// The image as the client named it.
    pub image: Option<String>,
    /// What came out; its fields stand beside `id`.
    #[serde(flatten)]
    #[schema(inline)]
    pub result: rareclip_pipeline::ResultRecord,
    /// What a person said of it.
    pub feedback: Option<Label>,
    /// A person's note.
    pub note: Option<String>,
    /// Whether its picture and map are kept.
    pub pictures: bool,
}

/// Milliseconds that an image spent in each stage.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Timings {
    /// Waiting for a place.
    pub queue_ms: f64,
    /// Decoding and resizing.
    pub decode_ms: f64,
    /// The backbone, the whole batch.
    pub backbone_ms: f64,
    /// Images in that batch.
    pub batch: usize,
    /// The prompt head.
    pub prompt_ms: f64,
    /// The memory bank, assessing and remembering.
    pub bank_ms: f64,
    /// The scorer.
    pub scorer_ms: f64,
    /// Writing result and journal.
    pub store_ms: f64,
    /// From arrival to answer.
    pub total_ms: f64,
}

impl Timings {
    /// Of an image that took `times` in the stages and was answered `total` after its arrival;
    /// `batch` images were encoded with it, itself included.
    pub fn of(times: &StageTimes, batch: usize, total: Duration) -> Self {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let of = |stage: Stage| ms(times.of(stage));
        Self {
            queue_ms: of(Stage::Queue),
            decode_ms: of(Stage::Decode),
            backbone_ms: of(Stage::Backbone),
            batch,
            prompt_ms: of(Stage::Prompt),
            bank_ms: of(Stage::Bank),
            scorer_ms: of(Stage::Scorer),
            store_ms: of(Stage::Store),
            total_ms: ms(total),
        }
    }
}

/// Scores of the history in order, for charts: parallel lists.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Scores {
    /// Result ids, ascending.
    pub ids: Vec<u64>,
    /// Scores.
    pub scores: Vec<f32>,
    /// Verdicts as they were given.
    #[schema(value_type = Vec<String>)]
    pub verdicts: Vec<Verdict>,
    /// What people said.
    pub feedback: Vec<Option<Label>>,
}

/// Which results.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResultQuery {
    /// Only this verdict.
    #[schema(value_type = Option<String>)]
    pub verdict: Option<Verdict>,
    /// Only this feedback.
    pub feedback: Option<Label>,
    /// Only images whose name contains this.
    pub image: Option<String>,
    /// Only scores of at least this.
    pub min_score: Option<f32>,
    /// Only scores of at most this.
    pub max_score: Option<f32>,
    /// Only from this time on (RFC 3339).
    pub from: Option<String>,
    /// Only before this time (RFC 3339).
    pub until: Option<String>,
    /// Only ids below this: the next page.
    pub before: Option<u64>,
    /// Only ids above this, ascending: what came since.
    pub after: Option<u64>,
    /// Only results whose pictures are kept.
    pub pictures: Option<bool>,
    /// At most so many, up to 1000; missing: 100.
    pub limit: Option<usize>,
}

/// What a threshold would do to the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ThresholdPreview {
    /// The threshold tried.
    pub threshold: f32,
    /// Results judged anew.
    pub judged: u64,
    /// Those above it.
    pub anomalous: u64,
    /// Share of normal images above it, in [0, 1].
    pub false_alarm_rate: Option<f64>,
    /// What that share was counted on: `known normals`, `feedback`, or `history` (all results that
    /// no one called a defect: an upper bound).
    pub basis: String,
    /// Results called a defect that are not above it.
    pub missed_defects: u64,
}

/// A kept copy of a stream's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SnapshotInfo {
    /// Number within the stream.
    pub id: u64,
    /// When it was taken (RFC 3339, UTC).
    pub at: String,
    /// Images the memory had been shown.
    pub images: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// A person's note.
    pub note: Option<String>,
}

/// A detector of the service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DetectorInfo {
    /// Its name.
    pub name: String,
    /// One sentence on what it is.
    pub description: String,
    /// Side of its input image in pixels.
    pub image_side: usize,
    /// `online`, `fit` (needs known normals) or `batch` (cannot be used in a service).
    pub learning: String,
    /// Its config, every default written out.
    #[schema(value_type = Object)]
    pub config: Value,
}

/// The service as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceInfo {
    /// Version of rareclip.
    pub version: String,
    /// Whether images can be scored.
    pub ready: bool,
    /// What is wrong at present, in words: a full disk, a lost database.
    pub problems: Vec<String>,
    /// Streams.
    pub streams: usize,
    /// Streams whose memory is loaded.
    pub loaded: usize,
    /// Bytes that loaded memories hold.
    pub memory_bytes: u64,
    /// Bytes that they may hold.
    pub memory_limit_bytes: u64,
    /// Images in work or waiting.
    pub waiting: usize,
    /// How many may.
    pub waiting_limit: usize,
}

/// How a stream is calibrated by known normals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Calibrate {
    /// By the results that people called normal.
    Feedback {
        /// Share of normal images that may be called anomalous, in (0, 0.5].
        rate: f64,
    },
    /// By the last results that no one called a defect, anomalous or not.
    History {
        /// Share of normal images that may be called anomalous, in (0, 0.5].
        rate: f64,
        /// How many results, at most.
        last: usize,
    },
}
