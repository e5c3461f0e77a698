//! What the host is to be, and what it is to do wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// What the host is to be.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Plan {
    /// The slot of its component.
    pub(crate) slot: String,
    /// The version of its component.
    pub(crate) version: String,
    /// What becomes of its memory.
    pub(crate) state: String,
    /// What its bank learns from.
    pub(crate) learning: String,
    /// Whether it promises the same bits.
    pub(crate) deterministic: bool,
    /// The version of the protocol it says it speaks.
    pub(crate) protocol: u32,
    /// A token other than the one it was given.
    pub(crate) token: Option<String>,
    /// Lines for stderr at the start.
    pub(crate) says: Vec<String>,
    /// Ends before it connects.
    pub(crate) refuses_to_start: bool,
    /// Runs and does not connect.
    pub(crate) never_connects: bool,
    /// Listens at this Unix socket instead of connecting.
    pub(crate) listen: Option<PathBuf>,
    /// Milliseconds that every request takes but the first two.
    pub(crate) delay_ms: u64,
    /// What it does wrong.
    pub(crate) wrong: Vec<Wrong>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            slot: "bank".into(),
            version: "1".into(),
            state: "kept".into(),
            learning: "online".into(),
            deterministic: true,
            protocol: 1,
            token: None,
            says: Vec::new(),
            refuses_to_start: false,
            never_connects: false,
            listen: None,
            delay_ms: 0,
            wrong: Vec::new(),
        }
    }
}

/// Something to do wrong instead of answering the `nth` request `on`, counted from 1 in each
/// process.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wrong {
    on: String,
    #[serde(default = "first")]
    nth: u64,
    #[serde(rename = "do")]
    trick: Trick,
    /// Written when it is done, and then it is not done again.
    once: Option<PathBuf>,
}

fn first() -> u64 {
    1
}

/// What can be done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Trick {
    Die,
    Abort,
    Hang,
    Trickle,
    Garbage,
    NoJson,
    Oversize,
    Cut,
    WrongId,
    Refuse,
    Nan,
    Shape,
    NoStatus,
}

impl Plan {
    pub(crate) fn read(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    pub(crate) fn delay_of(&self, request: &str) -> Duration {
        match request {
            "hello" | "open" => Duration::ZERO,
            _ => Duration::from_millis(self.delay_ms),
        }
    }

    pub(crate) fn tricks(&self) -> Tricks {
        Tricks {
            wrong: self.wrong.clone(),
            seen: BTreeMap::new(),
        }
    }
}

/// The tricks of one connection.
pub(crate) struct Tricks {
    wrong: Vec<Wrong>,
    seen: BTreeMap<String, u64>,
}

impl Tricks {
    /// What to do wrong about this request.
    pub(crate) fn of(&mut self, request: &str) -> Option<Trick> {
        let seen = self.seen.entry(request.to_owned()).or_default();
        *seen += 1;
        let due = |wrong: &&Wrong| wrong.on == request && wrong.nth == *seen;
        let wrong = self.wrong.iter().find(due)?;
        if let Some(marker) = &wrong.once {
            if marker.exists() {
                return None;
            }
            // Without the marker the trick would be played again.
            std::fs::write(marker, b"").ok()?;
        }
        Some(wrong.trick)
    }
}
