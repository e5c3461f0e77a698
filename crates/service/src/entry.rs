//! A detector of a service.

use std::sync::Arc;

use rareclip_core::{Detector, Learning};
use rareclip_pipeline::Queue;
use serde_json::Value;

use crate::model::DetectorInfo;

/// A detector and the encoder that its images go through.
pub struct Entry {
    pub name: String,
    pub detector: Detector,
    pub encoder: Arc<Queue>,
}

impl Entry {
    /// What the API says of it.
    pub fn info(&self) -> DetectorInfo {
        let config = self.detector.config();
        let learning = match self.detector.learning() {
            Learning::Online => "online",
            Learning::Fit => "fit",
            Learning::Batch => "batch",
        };
        DetectorInfo {
            name: self.name.clone(),
            description: config.description.clone(),
            image_side: self.detector.spec().input.side,
            learning: learning.to_owned(),
            config: serde_json::to_value(config).unwrap_or(Value::Null),
        }
    }
}
