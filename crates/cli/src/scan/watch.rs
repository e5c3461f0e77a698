//! A folder that grows.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::inputs::{self, ImageFile};

/// How often the folder is looked at.
const POLL: Duration = Duration::from_millis(250);

/// Gives the images of a folder as they come. A file counts as complete once its size has not
/// changed between two looks, since cameras write in place; polling also works on network drives,
/// where file events do not.
pub(crate) struct Watcher {
    folder: PathBuf,
    root: Option<PathBuf>,
    done: HashSet<String>,
    sizes: HashMap<String, u64>,
    idle: Option<Duration>,
}

impl Watcher {
    /// Watches `folder`, leaving out the images named in `done`; with `idle`, ends when nothing has
    /// come for so long.
    pub(crate) fn new(
        folder: PathBuf,
        root: Option<PathBuf>,
        done: impl IntoIterator<Item = String>,
        idle: Option<Duration>,
    ) -> Self {
        Self {
            folder,
            root,
            done: done.into_iter().collect(),
            sizes: HashMap::new(),
            idle,
        }
    }

    /// The images that came, oldest first; waits for at least one. Empty at the end: idle for long
    /// enough, or `stopped`.
    pub(crate) fn next(&mut self, stopped: &dyn Fn() -> bool) -> anyhow::Result<Vec<ImageFile>> {
        let start = Instant::now();
        loop {
            let mut ready = Vec::new();
            for input in inputs::folder(&self.folder, self.root.as_deref())? {
                if self.done.contains(&input.name) {
                    continue;
                }
                let Ok(metadata) = std::fs::metadata(&input.path) else {
                    continue;
                };
                let size = metadata.len();
                let stable = self.sizes.insert(input.name.clone(), size) == Some(size);
                if stable && size > 0 {
                    ready.push((metadata.modified().ok(), input));
                }
            }
            if !ready.is_empty() {
                // The sort is stable: images of one moment stay in natural order.
                ready.sort_by_key(|(modified, _)| *modified);
                for (_, input) in &ready {
                    self.sizes.remove(&input.name);
                    self.done.insert(input.name.clone());
                }
                return Ok(ready.into_iter().map(|(_, input)| input).collect());
            }
            if stopped() || self.idle.is_some_and(|idle| start.elapsed() >= idle) {
                return Ok(Vec::new());
            }
            std::thread::sleep(POLL);
        }
    }
}
