//! A state to be taken elsewhere: the file on disk rather than a copy in memory.

use std::fs::File;

use super::{Owner, StateExport, memory};
use crate::error::ServiceError;

impl Owner {
    /// The newest state as a file, written first where it is not up to date.
    pub(super) async fn export_file(&mut self) -> Result<StateExport, ServiceError> {
        self.load().await?;
        if self.unsaved > 0 || self.state.file.is_empty() {
            self.checkpoint(true).await?;
        }
        let path = self.path(&self.state);
        let opened = File::open(&path).and_then(|file| {
            let bytes = file.metadata()?.len();
            Ok(StateExport { file, bytes })
        });
        opened.map_err(|error| memory::io(&self.shared.settings, &path, &error))
    }
}
