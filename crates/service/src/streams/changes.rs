//! What changes a stream besides images.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rareclip_core::calibration::CalibrationConfig;
use rareclip_core::snapshot::{Snapshot, SnapshotWriter};
use rareclip_core::{PushOptions, Stream};

use super::{Change, Owner, memory, now};
use crate::error::ServiceError;
use crate::model::SnapshotInfo;
use crate::store::{StateFile, StreamRow, time};

/// A state that comes from elsewhere.
enum State {
    /// In a request.
    Sent(Bytes),
    /// A kept snapshot.
    File(PathBuf),
}

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
                self.replace(State::File(self.folder.join(file))).await
            }
            Change::Import(bytes) => self.replace(State::Sent(bytes)).await,
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
        self.retry()?;
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

    /// Takes a state that comes from elsewhere for the memory. What there was is kept until the new
    /// state has been written, read back and scored by.
    async fn replace(&mut self, state: State) -> Result<(), ServiceError> {
        let fresh = self.fresh().await?;
        self.retry()?;
        let shared = Arc::clone(&self.shared);
        // The permit is held until the old memory is gone.
        let _one_at_a_time = shared.proving.acquire().await;
        let number = self.unique();
        let newest = StateFile {
            file: format!("{:012}-{number}.state", self.last_entry),
            entry: self.last_entry,
        };
        let path = self.path(&newest);
        let proved = self.prove(state, path.clone(), fresh).await;
        let stream = match proved {
            Ok(stream) => stream,
            Err(error) => {
                let _ = std::fs::remove_file(path);
                return Err(error);
            }
        };
        if self.memory.is_none() {
            let bytes = stream.bytes() as u64;
            let residency = &self.shared.residency;
            residency.enter(self.id, bytes, &self.handle.jobs).await;
        }
        let before = self.memory.replace(stream);
        if let Err(error) = self.commit(&newest, None).await {
            let _ = std::fs::remove_file(path);
            match before {
                Some(before) => self.memory = Some(before),
                None => self.forget(),
            }
            return Err(error);
        }
        drop(before);
        self.supersede(newest, None);
        let mut view = self.handle.view();
        view.condition = crate::model::Condition::Loaded;
        view.notice = None;
        Ok(())
    }

    /// Writes `state` to the file `path` and reads it from there into `stream`, which must then be
    /// able to score.
    async fn prove(
        &mut self,
        state: State,
        path: PathBuf,
        stream: Stream,
    ) -> Result<Stream, ServiceError> {
        let shared = Arc::clone(&self.shared);
        let target = path.clone();
        let write = move || {
            let settings = &shared.settings;
            if let State::Sent(bytes) = &state {
                let checked = Snapshot::check_foreign(Path::new("that was sent"), bytes);
                checked.map_err(rareclip_core::Error::from)?;
            }
            memory::make_folder(settings, &target)?;
            let failed = |error| memory::io(settings, &target, &error);
            match &state {
                State::Sent(bytes) => rareclip_core::write_whole(&target, bytes).map_err(failed),
                State::File(from) => {
                    let kept = std::fs::File::open(from);
                    let mut kept = kept.map_err(|error| memory::io(settings, from, &error))?;
                    let mut copy = || {
                        let mut copy = std::fs::File::create(&target)?;
                        std::io::copy(&mut kept, &mut copy)?;
                        copy.sync_all()
                    };
                    copy().map_err(failed)
                }
            }
        };
        self.computed(self.limit(), write).await??;
        let read = self.read_file(path, stream).await;
        let stream = read.map_err(|error| match error {
            // The state is wrong, not the component.
            ServiceError::Detector(error @ rareclip_core::Error::Component { .. }) => {
                ServiceError::Invalid {
                    place: "state".into(),
                    problem: error.to_string(),
                }
            }
            other => other,
        })?;
        if !stream.can_score() {
            return Ok(stream);
        }
        let entry = self.entry()?;
        let side = entry.detector.spec().input.side;
        let blank = ndarray::Array3::zeros((3, side, side));
        let mut encoded = entry
            .encoder
            .encode(blank, None, Duration::ZERO, &self.shared.watchdog)
            .await?;
        encoded.features.file_bytes = Some(0);
        let score = move || {
            let scored = stream.assess(&encoded.features, PushOptions::PEEK, &mut |_, _| {});
            scored.map(|_| stream)
        };
        let scored = self.computed(self.limit(), score).await?;
        scored.map_err(|error| ServiceError::Invalid {
            place: "state".into(),
            problem: format!(
                "an image cannot be scored by it ({error}); the stream keeps the one it has"
            ),
        })
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
        let target = to.clone();
        let copy = move || {
            std::fs::copy(&from, &target)
                .and_then(|bytes| std::fs::File::open(&target)?.sync_all().map(|()| bytes))
        };
        let copied = self.computed(self.limit(), copy).await?;
        let bytes = match copied {
            Ok(bytes) => bytes,
            Err(error) => {
                // A part of a copy would take room until the next start.
                let _ = std::fs::remove_file(&to);
                return Err(memory::io(&self.shared.settings, &to, &error));
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
                stream.save_into(&mut writer)?;
                Ok::<_, rareclip_core::Error>(writer.to_bytes())
            })
            .await??;
        let bytes = bytes.map_err(|error| memory::disk(&self.shared.settings, error))?;
        Ok(bytes.into())
    }
}
