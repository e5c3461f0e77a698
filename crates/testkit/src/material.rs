//! Material that is not in the repository: where it is, and a loud line where it is absent.

use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder of reference material: `RARECLIP_SHARED`, else `shared` beside the repository.
/// `None`, after saying so, where there is none: `test` must end then.
pub fn shared(test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("RARECLIP_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    if path.is_dir() {
        return Some(path);
    }
    skipped(test, "../shared (set RARECLIP_SHARED)");
    None
}

/// A fetched artefact of the catalogue, or `None` after saying so: `test` must end then.
pub fn cached(test: &str, name: &str) -> Option<PathBuf> {
    let found = rareclip_artifacts::locate(name);
    if found.is_none() {
        skipped(test, &format!("{name} (`rareclip models pull {name}`)"));
    }
    found
}

/// Whether onnxruntime can be had; says so where it cannot.
pub fn engine(test: &str) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    set("RARECLIP_ORT_DYLIB") || set("ORT_DYLIB_PATH") || cached(test, "onnxruntime").is_some()
}

/// Says that `test` did not run for want of something. Written past the test runner, which keeps
/// the output of passing tests to itself.
pub fn skipped(test: &str, needs: &str) {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test} needs {needs}");
}
