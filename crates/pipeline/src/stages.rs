//! Where the time goes.

use std::time::Duration;

use rareclip_core::Slot;

/// A stage of the way from bytes to an answer, in the order an image goes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Waiting for a place.
    Queue,
    /// Reading, decoding and resizing.
    Decode,
    /// The backbone.
    Backbone,
    /// The prompt head.
    Prompt,
    /// The memory bank, assessing and remembering.
    Bank,
    /// The scorer.
    Scorer,
    /// Writing the result to a database.
    Store,
    /// Writing pictures.
    Output,
}

impl Stage {
    /// Every stage in the order of an image.
    pub const ALL: [Self; 8] = [
        Self::Queue,
        Self::Decode,
        Self::Backbone,
        Self::Prompt,
        Self::Bank,
        Self::Scorer,
        Self::Store,
        Self::Output,
    ];

    /// Its name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Decode => "decode",
            Self::Backbone => "backbone",
            Self::Prompt => "prompt",
            Self::Bank => "bank",
            Self::Scorer => "scorer",
            Self::Store => "store",
            Self::Output => "output",
        }
    }
}

impl From<Slot> for Stage {
    /// The stage that a component works in; a vector index works for the bank.
    fn from(slot: Slot) -> Self {
        match slot {
            Slot::Backbone => Self::Backbone,
            Slot::Prompt => Self::Prompt,
            Slot::Bank | Slot::Index => Self::Bank,
            Slot::Scorer => Self::Scorer,
        }
    }
}

/// How long an image took before its features were there.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct EncodeTime {
    /// Reading, decoding and resizing.
    pub decode: Duration,
    /// The backbone.
    pub backbone: Duration,
}

/// Time spent in each stage, of one image or of many.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StageTimes([Duration; Stage::ALL.len()]);

impl StageTimes {
    /// Adds time to a stage, given as such or by the slot of a component.
    pub fn add(&mut self, stage: impl Into<Stage>, time: Duration) {
        self.0[stage.into() as usize] += time;
    }

    /// Adds what encoding an image took.
    pub fn add_encode(&mut self, time: EncodeTime) {
        self.add(Stage::Decode, time.decode);
        self.add(Stage::Backbone, time.backbone);
    }

    /// The time in one stage.
    pub fn of(&self, stage: Stage) -> Duration {
        self.0[stage as usize]
    }

    /// The time in all stages.
    pub fn total(&self) -> Duration {
        self.0.iter().sum()
    }

    /// The stages that took any time, in the order of an image, with milliseconds for each of
    /// `images`.
    pub fn mean_ms(&self, images: u64) -> impl Iterator<Item = (Stage, f64)> + '_ {
        Stage::ALL
            .into_iter()
            .map(|stage| (stage, self.of(stage)))
            .filter(|(_, time)| *time > Duration::ZERO)
            .map(move |(stage, time)| (stage, 1e3 * time.as_secs_f64() / images.max(1) as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_add_up_by_stage_and_stages_without_time_are_left_out() {
        let mut times = StageTimes::default();
        times.add(Slot::Bank, Duration::from_millis(2));
        times.add(Stage::Bank, Duration::from_millis(4));
        times.add_encode(EncodeTime {
            decode: Duration::from_millis(1),
            backbone: Duration::ZERO,
        });
        let mean: Vec<_> = times.mean_ms(2).collect();
        assert_eq!(mean, [(Stage::Decode, 0.5), (Stage::Bank, 3.0)]);
        assert_eq!(times.total(), Duration::from_millis(7));
    }
}
