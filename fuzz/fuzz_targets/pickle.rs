//! The pickle of a PyTorch checkpoint: read as a dictionary of tensors or refused, within a bound
//! of memory.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use rareclip_checkpoints::Checkpoint;
use rareclip_fuzz::memory::bounded;
use rareclip_fuzz::pickles::archive;

/// Bytes that reading may allocate: so many, and so many for each byte of the pickle.
const BASE: usize = 1 << 20;
const FACTOR: usize = 64;

static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();

fn file() -> PathBuf {
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("a folder for files"));
    folder.path().join("file.pth")
}

fuzz_target!(|data: &[u8]| {
    let path = file();
    std::fs::write(&path, archive(data)).expect("a file is written");
    bounded(BASE + FACTOR * data.len(), || {
        let Ok(checkpoint) = Checkpoint::open(&path) else {
            return;
        };
        for name in checkpoint.names() {
            drop(checkpoint.info(name));
            drop(checkpoint.f32(name));
        }
    });
});
