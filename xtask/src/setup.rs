//! What the workspace needs from outside.

use std::path::PathBuf;

use rareclip_models::{Step, catalogue, fetch as fetch_one};

/// What the tests need beside libraries that are built in.
pub(crate) const NEEDED: [&str; 2] = ["onnxruntime", "dinov2-small"];

/// Fetches artefacts into the cache folder and gives their paths.
///
/// # Errors
/// When one cannot be fetched; says why and what to do.
pub(crate) fn fetch(names: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for name in names {
        let artefact = catalogue::find(name)?;
        let path = fetch_one(name, &mut |step| {
            if let Step::Downloading { package, bytes } = step {
                eprintln!(
                    "{name}: downloading {package}, {} MB; {}; licence: {}",
                    bytes.div_ceil(1_000_000),
                    artefact.summary,
                    artefact.licence
                );
            }
        })?;
        eprintln!("{name}: {}", path.display());
        paths.push(path);
    }
    Ok(paths)
}
