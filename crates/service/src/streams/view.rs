//! What is said of a stream without asking its owner.

use rareclip_core::Stream;
use serde::{Deserialize, Serialize};

use crate::model::{
    BankInfo, CalibrationInfo, CalibrationStatus, Condition, DriftInfo, ResultRecord, StreamInfo,
};

/// The last known figures of a memory; written with every state file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub bank: Option<BankInfo>,
    pub calibration: Option<CalibrationInfo>,
    pub drift: Option<DriftInfo>,
}

impl Figures {
    pub(crate) fn of(stream: &Stream) -> Self {
        let calibrator = stream.calibrator();
        let (state, threshold) = calibrator.state();
        Self {
            bank: stream.bank_status().map(|status| BankInfo {
                images: status.images,
                prototypes: status.prototypes,
                bytes: status.bytes,
                capacity_bytes: status.capacity_bytes,
            }),
            calibration: Some(CalibrationInfo {
                policy: calibrator.policy().clone(),
                state: state.to_string(),
                status: CalibrationStatus::of(&state),
                threshold,
                known_normals: calibrator.normals().len(),
            }),
            drift: calibrator.drift().map(|drift| DriftInfo {
                drifting: drift.drifting,
                upwards: drift.upwards,
                p_value: drift.p_value,
                recent: drift.recent,
                reference: drift.reference,
            }),
        }
    }
}

/// A stream as its owner last described it.
pub(crate) struct View {
    pub detector: String,
    pub created_at: i64,
    pub images: u64,
    pub results: u64,
    pub frozen: bool,
    pub condition: Condition,
    pub notice: Option<String>,
    pub figures: Figures,
    pub skipped: u64,
    pub last: Option<ResultRecord>,
}

impl View {
    pub(crate) fn info(&self, name: &str, waiting: usize) -> StreamInfo {
        StreamInfo {
            name: name.to_owned(),
            detector: self.detector.clone(),
            created_at: crate::store::time(self.created_at),
            images: self.images,
            results: self.results,
            frozen: self.frozen,
            condition: self.condition,
            notice: self.notice.clone(),
            bank: self.figures.bank,
            calibration: self.figures.calibration.clone(),
            drift: self.figures.drift,
            waiting,
            skipped_updates: self.skipped,
            last: self.last.clone(),
        }
    }
}
