//! The slots of a detector.

use std::fmt;

/// The slots of a detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// Images to features.
    Backbone,
    /// Features to a prior.
    Prompt,
    /// The patch memory of a stream.
    Bank,
    /// Prior, evidence and features to a map and a score.
    Scorer,
    /// How a bank searches.
    Index,
}

impl Slot {
    /// All slots in the order an image meets them.
    pub const ALL: [Self; 5] = [
        Self::Backbone,
        Self::Prompt,
        Self::Bank,
        Self::Scorer,
        Self::Index,
    ];

    /// The name of the slot, which is also its table in a config.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Backbone => "backbone",
            Self::Prompt => "prompt",
            Self::Bank => "bank",
            Self::Scorer => "scorer",
            Self::Index => "index",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
