//! Components of another crate than the program's plugins, which leave a mark when they are built.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rareclip_core::backbone::BackboneSpec;
use rareclip_core::index::{VectorIndex, VectorIndexFactory};
use rareclip_core::{
    BoxError, ErasedBank, ErasedScorer, MemoryBankFactory, ScorerFactory, register, typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A bank that creates a file, waits for its gate, and then does what the bank `prototype` does.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MarkerOptions {
    /// The file; empty: none.
    pub file: String,
    /// The gate; 0: none.
    pub gate: u32,
}

/// A gate that a build waits at.
#[derive(Debug, Default, Clone, Copy)]
pub struct Gate {
    pub started: u32,
    pub open: bool,
}

static GATES: Mutex<Option<HashMap<u32, Gate>>> = Mutex::new(None);
static CHANGED: Condvar = Condvar::new();
/// No test waits longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn gates() -> MutexGuard<'static, Option<HashMap<u32, Gate>>> {
    GATES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a gate is now.
pub fn gate(id: u32) -> Gate {
    gates()
        .get_or_insert_default()
        .get(&id)
        .copied()
        .unwrap_or_default()
}

/// Lets builds through.
pub fn open_gate(id: u32) {
    gates().get_or_insert_default().entry(id).or_default().open = true;
    CHANGED.notify_all();
}

/// Waits until `count` builds have begun.
pub async fn begun(id: u32, count: u32) {
    let reached = async {
        while gate(id).started < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap();
}

fn pass(id: u32) -> Result<(), BoxError> {
    let mut all = gates();
    all.get_or_insert_default().entry(id).or_default().started += 1;
    let closed = |all: &mut Option<HashMap<u32, Gate>>| {
        !all.get_or_insert_default().entry(id).or_default().open
    };
    let waited = CHANGED.wait_timeout_while(all, PATIENCE, closed);
    let (_all, waited) = waited.unwrap_or_else(PoisonError::into_inner);
    match waited.timed_out() {
        true => Err("nothing opened the gate: was the test's thread busy building?".into()),
        false => Ok(()),
    }
}

impl MarkerOptions {
    fn mark(&self) -> Result<(), BoxError> {
        if !self.file.is_empty() {
            std::fs::write(&self.file, "built")?;
        }
        match self.gate {
            0 => Ok(()),
            id => pass(id),
        }
    }
}

#[typetag::serde(name = "marker")]
impl MemoryBankFactory for MarkerOptions {
    fn blocks(&self) -> Vec<usize> {
        vec![1]
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        self.mark()?;
        let options = serde_json::json!({"type": "prototype", "blocks": [1], "neighbourhoods": [1], "capacity": 1.0});
        let table = options.as_object().cloned().unwrap_or_default();
        <dyn MemoryBankFactory>::from_table(table)?.build(backbone)
    }
}

/// The same, but declared as one that reaches files.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct FileMarkerOptions(MarkerOptions);

#[typetag::serde(name = "file-marker")]
impl MemoryBankFactory for FileMarkerOptions {
    fn blocks(&self) -> Vec<usize> {
        MemoryBankFactory::blocks(&self.0)
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        MemoryBankFactory::build(&self.0, backbone)
    }
}

#[typetag::serde(name = "marker")]
impl ScorerFactory for MarkerOptions {
    fn build(&self, _: &BackboneSpec, _: &[usize]) -> Result<Box<dyn ErasedScorer>, BoxError> {
        self.mark()?;
        Err("only leaves a mark".into())
    }
}

#[typetag::serde(name = "marker")]
impl VectorIndexFactory for MarkerOptions {
    fn build(&self, _: usize, _: usize) -> Result<Box<dyn VectorIndex>, BoxError> {
        self.mark()?;
        Err("only leaves a mark".into())
    }
}

register! {
    bank MarkerOptions;
    bank FileMarkerOptions, reaches [files];
    scorer MarkerOptions;
    index MarkerOptions;
}
