//! What a component knows, kept where the host's end does not reach it.
//!
//! It is the component's last saved state and the changes since, so that a host that was lost is
//! replaced by one that knows the same to the bit. The changes are given up for a new saved state
//! as soon as they take as much memory as that, so that no more than about twice the state is ever
//! held, and the component saves no more often than its memory grows.

use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use serde::Deserialize;

use crate::frame::Frame;

/// Bytes of changes that are kept however small the state is.
const LEAST_JOURNAL: usize = 1 << 20;

/// What becomes of a component's memory when its host ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Keeping {
    /// It has none.
    None,
    /// It can be saved and loaded.
    Kept,
    /// It is lost with the host.
    Volatile,
}

impl Keeping {
    /// What the answer to `open` says.
    pub(crate) fn of(opened: &Frame) -> Result<Self, String> {
        let keeping = opened.parse("state");
        keeping.map_err(|error| format!("{error}; expected `none`, `kept` or `volatile`"))
    }
}

/// The memory of a component.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Memory {
    /// As it was saved last; `None`: as it is when it is opened.
    state: Option<Vec<u8>>,
    /// What it was told since.
    journal: Vec<Frame>,
    journal_bytes: usize,
}

impl Memory {
    pub(crate) fn saved(state: Vec<u8>) -> Self {
        Self {
            state: Some(state),
            ..Self::default()
        }
    }

    /// The most bytes held between two images for a component whose state takes no more than
    /// `capacity`.
    pub(crate) fn capacity_bytes(capacity: usize) -> usize {
        let state = capacity.saturating_add(LEAST_JOURNAL);
        state.saturating_mul(2)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.journal_bytes + self.state.as_ref().map_or(0, Vec::len)
    }

    pub(crate) fn journal(&self) -> &[Frame] {
        &self.journal
    }

    pub(crate) fn has_state(&self) -> bool {
        self.state.is_some()
    }

    /// Whether a saved state is all there is.
    pub(crate) fn is_saved(&self) -> bool {
        self.state.is_some() && self.journal.is_empty()
    }

    /// At least how often it was changed.
    pub(crate) fn steps(&self) -> u64 {
        self.journal.len() as u64 + u64::from(self.state.is_some())
    }

    pub(crate) fn push(&mut self, change: Frame) {
        self.journal_bytes += change.bytes();
        self.journal.push(change);
    }

    pub(crate) fn pop(&mut self) {
        if let Some(change) = self.journal.pop() {
            self.journal_bytes -= change.bytes();
        }
    }

    /// Whether a new saved state is due; after every change where the same changes need not lead to
    /// the same memory.
    pub(crate) fn is_due(&self, opened: &Frame) -> bool {
        let repeatable = opened.field("deterministic").as_bool().unwrap_or(true);
        let state = self.state.as_ref().map_or(0, Vec::len);
        !repeatable || self.journal_bytes >= state.max(LEAST_JOURNAL)
    }

    /// The request that gives a host the saved state, where there is one.
    pub(crate) fn load_request(&self) -> Option<Frame> {
        self.state.as_ref().map(|state| {
            let mut request = Frame::request("load");
            request.raw("state", state);
            request
        })
    }

    /// Writes it under `state` and `change.N`.
    pub(crate) fn write(&self, writer: &mut SnapshotWriter<'_>) {
        writer.value("saved", &self.state.is_some());
        writer.value("changes", &self.journal.len());
        if let Some(state) = &self.state {
            write_bytes(writer, "state", state);
        }
        for (at, change) in self.journal.iter().enumerate() {
            // No limit applies to what was sent once already.
            if let Ok(bytes) = change.encode(0, u64::MAX) {
                write_bytes(writer, &format!("change.{at}"), &bytes);
            }
        }
    }

    /// Reads what [`write`](Self::write) wrote.
    pub(crate) fn read(reader: &SnapshotReader<'_>) -> Result<Self, rareclip_core::BoxError> {
        let mut memory = Self::default();
        if reader.value("saved")? {
            memory.state = Some(read_bytes(reader, "state")?);
        }
        let changes: usize = reader.value("changes")?;
        for at in 0..changes {
            let bytes = read_bytes(reader, &format!("change.{at}"))?;
            let (change, _) = Frame::read(&mut bytes.as_slice(), u64::MAX)?;
            memory.push(change);
        }
        Ok(memory)
    }
}

/// Bytes as whole numbers of four each, the last filled up with zeros; snapshots hold nothing
/// smaller.
fn write_bytes(writer: &mut SnapshotWriter<'_>, name: &str, bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<4>();
    let mut words: Vec<u32> = whole.iter().map(|word| u32::from_le_bytes(*word)).collect();
    if !rest.is_empty() {
        let mut last = [0u8; 4];
        last[..rest.len()].copy_from_slice(rest);
        words.push(u32::from_le_bytes(last));
    }
    writer.value(&format!("{name}.bytes"), &bytes.len());
    writer.ints(name, &[words.len()], words);
}

fn read_bytes(reader: &SnapshotReader<'_>, name: &str) -> Result<Vec<u8>, rareclip_core::BoxError> {
    let length: usize = reader.value(&format!("{name}.bytes"))?;
    let (_, words) = reader.ints(name)?;
    if words.len() != length.div_ceil(4) {
        let problem = format!("has {} words for {length} bytes", words.len());
        return Err(rareclip_core::snapshot::SnapshotError::Entry {
            name: name.to_owned(),
            problem,
        }
        .into());
    }
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.truncate(length);
    Ok(bytes)
}
