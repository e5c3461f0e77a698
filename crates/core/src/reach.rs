//! What a component can reach.

use std::fmt;

/// What a component can reach outside the memory of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reach {
    /// Starts programs.
    Commands,
    /// Connects to sockets.
    Sockets,
    /// Reads or writes files, or loads libraries, that its options name.
    Files,
    /// Loads or downloads weights that its options name.
    Weights,
}

impl Reach {
    /// The name in `register!`, in lists and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Sockets => "sockets",
            Self::Files => "files",
            Self::Weights => "weights",
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
