//! What changes a stream besides images.

use bytes::Bytes;
use rareclip_core::Stream;
use rareclip_core::calibration::CalibrationConfig;
use rareclip_core::snapshot::SnapshotWriter;

use super::{Change, Owner, memory, now};
use crate::error::ServiceError;
use crate::model::SnapshotInfo;
use crate::store::{StateFile, StreamRow, time};

impl Owner {
    pub(super) async fn delete(&mut self) -> Result<(), ServiceError> {
        self.shared.store.write(StreamRow::delete(self.id)).await?;
        self.forget();
        self.shared.pictures.forget(self.id);
        self.shared.metrics.forget(&self.handle.name);
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(folder = %self.folder.display(), %error, "Folder of a deleted stream not deleted.");
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) async fn change(&mut self, change: Change) -> Result<(), ServiceError> {
        match change {
            Change::Freeze(frozen) => {
                let sql = "UPDATE streams SET frozen = $1 WHERE id = $2";
                let values = vec![frozen.into(), self.id.into()];
                self.shared.store.write(vec![(sql, values)]).await?;
                self.frozen = frozen;
                Ok(())
            }
            Change::Policy(policy) => {
                self.load().await?;
                let before = self.set_policy(policy);
                let saved = self.checkpoint(true).await;
                if saved.is_err() {
                    self.policy = before;
                    self.forget();
                }
                saved
            }
            Change::Normals(normals, policy) => {
                self.load().await?;
                let before = self.set_policy(policy);
                let set = match &mut self.memory {
                    Some(stream) => stream.calibrator_mut().set_normals(normals),
                    None => Ok(()),
                };
                let saved = match set {
                    Ok(()) => self.checkpoint(false).await,
                    Err(error) => Err(error.into()),
                };
                if saved.is_err() {
                    self.policy = before;
                    self.forget();
                }
                saved
            }
            Change::Reset => self.reset().await,
            Change::Restore(id) => {
                let file = self.shared.store.snapshot_file(self.id, id).await?;
                let path = self.folder.join(file);
                let bytes = std::fs::read(&path).map_err(|error| memory::io(&path, &error))?;
                self.replace(format!("snapshot {id}"), bytes).await
            }
            Change::Import(bytes) => self.replace("that was sent".into(), bytes.to_vec()).await,
        }
    }

    fn set_policy(&mut self, policy: CalibrationConfig) -> Option<CalibrationConfig> {
        if let Some(stream) = &mut self.memory {
            stream.calibrator_mut().set_policy(policy.clone());
        }
        self.policy.replace(policy)
    }

    /// An empty memory needs no file.
    async fn reset(&mut self) -> Result<(), ServiceError> {
        // Nothing is given up that a service with the detector could still read.
        self.fresh().await?;
        let state = StateFile {
            file: String::new(),
            entry: self.last_entry,
        };
        let loaded = self.memory.take();
        let done = self.commit(&state, None).await;
        self.memory = loaded;
        done?;
        self.supersede(state, None);
        self.forget();
        self.handle.view().notice = None;
        self.load().await
    }

    /// Takes the state in `bytes` for the memory.
    async fn replace(&mut self, name: String, bytes: Vec<u8>) -> Result<(), ServiceError> {
        let fresh = self.fresh().await?;
        let stream = self
            .shared
            .compute(move || memory::read_bytes(fresh, &name, bytes))
            .await??;
        if self.memory.is_none() {
            let bytes = stream.bytes() as u64;
            let residency = &self.shared.residency;
            residency.enter(self.id, bytes, &self.handle.jobs).await;
        }
        self.memory = Some(stream);
        self.handle.view().condition = crate::model::Condition::Loaded;
        let saved = self.checkpoint(false).await;
        match &saved {
            Ok(()) => self.handle.view().notice = None,
            Err(_) => self.forget(),
        }
        saved
    }

    pub(super) async fn snapshot(
        &mut self,
        note: Option<String>,
    ) -> Result<SnapshotInfo, ServiceError> {
        self.load().await?;
        if self.unsaved > 0 || self.state.file.is_empty() {
            self.checkpoint(true).await?;
        }
        let kept = self.shared.store.snapshots(self.id).await?;
        let id = kept.first().map_or(1, |(info, _)| info.id + 1);
        let file = format!("snapshot-{id}.state");
        let (from, to) = (self.path(&self.state), self.folder.join(&file));
        let copied = std::fs::copy(&from, &to)
            .and_then(|bytes| std::fs::File::open(&to)?.sync_all().map(|()| bytes));
        let bytes = match copied {
            Ok(bytes) => bytes,
            Err(error) => {
                // A part of a copy would take room until the next start.
                let _ = std::fs::remove_file(&to);
                return Err(memory::io(&to, &error));
            }
        };
        let at = now();
        let images = self.memory.as_ref().map_or(0, Stream::sequence);
        let values = vec![
            self.id.into(),
            id.into(),
            file.into(),
            at.into(),
            images.into(),
            bytes.into(),
            note.clone().into(),
        ];
        let sql = "INSERT INTO snapshots (stream, id, file, at, images, bytes, note) VALUES ($1, $2, $3, $4, $5, $6, $7)";
        if let Err(error) = self.shared.store.write(vec![(sql, values)]).await {
            let _ = std::fs::remove_file(to);
            return Err(error.into());
        }
        Ok(SnapshotInfo {
            id,
            at: time(at),
            images,
            bytes,
            note,
        })
    }

    pub(super) async fn export(&mut self) -> Result<Bytes, ServiceError> {
        self.load().await?;
        let bytes = self
            .with_memory(|stream| {
                let mut writer = SnapshotWriter::new();
                stream.save_into(&mut writer);
                writer.to_bytes()
            })
            .await?;
        Ok(bytes.map_err(memory::disk)?.into())
    }
}
