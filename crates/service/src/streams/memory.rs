//! The memory of a stream: loaded from state file and journal, written out, replaced.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rareclip_core::calibration::CalibrationConfig;
use rareclip_core::snapshot::{Snapshot, SnapshotError, SnapshotWriter};
use rareclip_core::{Learning, PushOptions, Stream};

use super::{Figures, Owner, Shared};
use crate::clean::Logged;
use crate::error::{ServiceError, StoreError};
use crate::model::Condition;
use crate::settings::Settings;
use crate::store::{StateFile, Value};

/// Bytes put aside for a memory whose size is not known yet.
const UNKNOWN: u64 = 1 << 20;

/// Computations of one stream that may hang at the same time: one, and one more after a reset or
/// restore.
const MOST_STUCK: usize = 2;

/// The error of a state file as that of the disk it is on; messages name the file within the data
/// folder.
pub(super) fn disk(settings: &Settings, error: SnapshotError) -> ServiceError {
    match error {
        SnapshotError::Io { path, source } => io(settings, &path, &source),
        other => ServiceError::Detector(other.into()),
    }
}

pub(super) fn io(settings: &Settings, path: &Path, source: &std::io::Error) -> ServiceError {
    tracing::error!(path = %path.display(), error = %source, "A state file cannot be read or written.");
    let place = settings.told(path);
    ServiceError::Store(match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            StoreError::Full { place }
        }
        _ => StoreError::Failed {
            place,
            problem: source.to_string(),
        },
    })
}

/// What a computation that does not end keeps: bytes of a memory, and a count.
struct Stranded {
    shared: Arc<Shared>,
    bytes: u64,
    stuck: Arc<AtomicUsize>,
}

impl Drop for Stranded {
    fn drop(&mut self) {
        self.shared.residency.recovered(self.bytes);
        self.stuck.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Owner {
    /// Makes sure that the memory is loaded.
    ///
    /// # Errors
    /// [`ServiceError::Damaged`] when neither the state file nor the one before can be read; no
    /// file is touched then.
    pub(super) async fn load(&mut self) -> Result<(), ServiceError> {
        if self.memory.is_some() {
            return Ok(());
        }
        self.entry()?;
        self.in_service()?;
        let on_disk = std::fs::metadata(self.path(&self.state)).map_or(0, |file| file.len());
        let bytes = on_disk.max(UNKNOWN);
        let residency = &self.shared.residency;
        residency.enter(self.id, bytes, &self.handle.jobs).await;
        match self.read().await {
            Ok(stream) => {
                residency_note(self, &stream);
                self.since_load = 0;
                self.memory = Some(stream);
                self.handle.view().condition = Condition::Loaded;
                self.describe();
                Ok(())
            }
            Err(error) => {
                self.shared.residency.leave(self.id);
                if self.out.is_none() {
                    let mut view = self.handle.view();
                    view.condition = Condition::Damaged;
                    view.notice = Some(error.to_string());
                }
                tracing::error!(stream = %self.handle.name, error = %Logged(&error), "Memory not loaded.");
                Err(error)
            }
        }
    }

    /// Work on this stream's memory or for it. Work that does not end takes the stream out of
    /// service.
    pub(super) async fn computed<T: Send + 'static>(
        &mut self,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let what = format!("stream {}", self.handle.name);
        let (shared, stuck, id) = (Arc::clone(&self.shared), Arc::clone(&self.stuck), self.id);
        let abandoned = move || {
            stuck.fetch_add(1, Ordering::AcqRel);
            let bytes = shared.residency.strand(id);
            Stranded {
                shared,
                bytes,
                stuck,
            }
        };
        let done = self
            .shared
            .compute_within(&what, limit, work, abandoned)
            .await;
        if let Err(ServiceError::Stuck { .. }) = &done {
            self.out = Some(format!(
                "a computation for it did not end within {:.0} s and was given up; nothing that was answered is lost",
                limit.as_secs_f64()
            ));
            self.forget();
            if let Err(error) = self.in_service() {
                self.handle.view().notice = Some(error.to_string());
            }
            self.tell();
        }
        done
    }

    /// Time that work for one image may take.
    pub(super) fn limit(&self) -> Duration {
        self.shared.watchdog.limit()
    }

    /// A stream whose computation did not end is not loaded again while that one runs: it would end
    /// the same way.
    fn in_service(&mut self) -> Result<(), ServiceError> {
        let Some(problem) = &self.out else {
            return Ok(());
        };
        if self.stuck.load(Ordering::Acquire) > 0 {
            return Err(ServiceError::Damaged {
                stream: self.handle.name.to_string(),
                problem: problem.clone(),
            });
        }
        // It has ended after all, and the state on disk is whole.
        self.out = None;
        self.handle.view().notice = None;
        Ok(())
    }

    /// Puts a stream back into service whose memory is replaced, unless too many of its
    /// computations hang already.
    pub(super) fn retry(&mut self) -> Result<(), ServiceError> {
        if self.stuck.load(Ordering::Acquire) >= MOST_STUCK {
            return Err(ServiceError::Conflict(format!(
                "stream {}: {MOST_STUCK} of its computations do not end; restart the service first",
                self.handle.name
            )));
        }
        self.out = None;
        Ok(())
    }

    /// The memory from the state file, or from the one before, with all that the journal has since.
    async fn read(&mut self) -> Result<Stream, ServiceError> {
        let newest = self.state.clone();
        let error = match self.read_from(&newest).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let problem = match self.previous.clone() {
            None => error.to_string(),
            Some(previous) => match self.read_from(&previous).await {
                Ok(stream) => {
                    let notice = format!(
                        "{error}. Nothing is lost: the memory was made anew from the state before and the images since"
                    );
                    tracing::warn!(stream = %self.handle.name, "{}", Logged(&notice));
                    self.handle.view().notice = Some(notice);
                    // What is newest on disk cannot be read; it must not become the state before.
                    self.state = previous;
                    self.previous = None;
                    self.unsaved = self.unsaved.max(1);
                    return Ok(stream);
                }
                Err(before) => format!("{error}; the state before: {before}"),
            },
        };
        Err(ServiceError::Damaged {
            stream: self.handle.name.to_string(),
            problem,
        })
    }

    async fn read_from(&mut self, state: &StateFile) -> Result<Stream, ServiceError> {
        let mut stream = self.fresh().await?;
        if !state.file.is_empty() {
            let path = self.path(state);
            stream = self.read_file(path, stream).await?;
        }
        self.replay(stream, state.entry).await
    }

    /// An empty memory under the present policy.
    pub(super) async fn fresh(&mut self) -> Result<Stream, ServiceError> {
        let entry = self.entry()?;
        let open = move || Ok(entry.detector.open_stream()?);
        let mut stream = self.shared.builds.for_stream(open).await?;
        if let Some(policy) = &self.policy {
            stream.calibrator_mut().set_policy(policy.clone());
        }
        Ok(stream)
    }

    /// Reads a state file into `stream`, which is empty.
    pub(super) async fn read_file(
        &mut self,
        path: PathBuf,
        stream: Stream,
    ) -> Result<Stream, ServiceError> {
        let shared = Arc::clone(&self.shared);
        let read = move || {
            let settings = &shared.settings;
            let bytes = std::fs::read(&path).map_err(|error| io(settings, &path, &error))?;
            let told = PathBuf::from(settings.told(&path));
            let snapshot =
                Snapshot::from_bytes(&told, bytes).map_err(rareclip_core::Error::from)?;
            let mut reader = snapshot.reader().map_err(rareclip_core::Error::from)?;
            Ok(stream.restore_from(&told, &mut reader)?)
        };
        self.computed(self.limit(), read).await?
    }

    /// Shows the images of the journal after `entry` once more.
    async fn replay(&mut self, mut stream: Stream, entry: u64) -> Result<Stream, ServiceError> {
        let (mut at, mut count) = (entry, 0);
        while let Some(next) = self.shared.store.journal_after(self.id, at).await? {
            let name = format!("{} of the journal", next.entry);
            let detector = self.entry()?;
            let (_, encoded) = super::encode(&self.shared, &detector, next.image, name).await?;
            let options = if next.learn {
                PushOptions::LEARN
            } else {
                PushOptions::FREEZE
            };
            // The first image that is scored may end a training pass.
            let limit = self.pass_limit(&stream);
            let show = move || {
                if next.normal {
                    stream.push_normal(&encoded.features)?;
                } else {
                    stream.push(&encoded.features, options)?;
                }
                Ok::<_, ServiceError>(stream)
            };
            stream = self.computed(limit, show).await??;
            at = next.entry;
            count += 1;
        }
        self.unsaved = count;
        if count > 0 {
            tracing::info!(stream = %self.handle.name, images = count, "Journal shown again.");
        }
        Ok(stream)
    }

    /// Time that the first scored image may take: that of a training pass where the method has one.
    fn pass_limit(&self, stream: &Stream) -> Duration {
        match stream.learning() {
            Learning::Online => self.limit(),
            _ => self.limit().max(self.shared.settings.fit_limit),
        }
    }

    /// Ends a training pass that is still open, and refuses what needs a whole batch.
    pub(super) async fn make_ready(&mut self) -> Result<(), ServiceError> {
        let Some(stream) = &self.memory else {
            return Err(ServiceError::Internal("the memory is not loaded".into()));
        };
        if stream.learning() == Learning::Online {
            return Ok(());
        }
        let limit = self.pass_limit(stream);
        Ok(self.with_memory_within(limit, Stream::ready).await??)
    }

    /// Writes the memory into a new state file and makes it the newest. With `continues` the
    /// journal leads from the state before to this one, and both are kept with it; otherwise what
    /// was before is given up.
    ///
    /// # Errors
    /// When disk or database cannot be written: the newest state is what it was.
    pub(super) async fn checkpoint(&mut self, continues: bool) -> Result<(), ServiceError> {
        self.load().await?;
        let number = self.unique();
        let state = StateFile {
            file: format!("{:012}-{number}.state", self.last_entry),
            entry: self.last_entry,
        };
        let path = self.path(&state);
        let (target, shared) = (path.clone(), Arc::clone(&self.shared));
        self.with_memory(move |stream| write(&shared.settings, stream, &target))
            .await??;
        let previous = continues.then(|| self.state.clone());
        if let Err(error) = self.commit(&state, previous.as_ref()).await {
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        self.supersede(state, previous);
        Ok(())
    }

    /// Goes on from `state`, which the database knows as the newest by now, and deletes the files
    /// that nothing leads to any more.
    pub(super) fn supersede(&mut self, state: StateFile, previous: Option<StateFile>) {
        let newest = std::mem::replace(&mut self.state, state);
        let oldest = std::mem::replace(&mut self.previous, previous);
        self.unsaved = 0;
        let outdated = [oldest, self.previous.is_none().then_some(newest)];
        for old in outdated.into_iter().flatten() {
            self.remove(&old);
        }
    }

    /// Does work of many milliseconds on the memory, which is loaded. A memory whose work panicked
    /// is made anew from the disk.
    pub(super) async fn with_memory<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Stream) -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        self.with_memory_within(self.limit(), work).await
    }

    async fn with_memory_within<T: Send + 'static>(
        &mut self,
        limit: Duration,
        work: impl FnOnce(&mut Stream) -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let Some(mut stream) = self.memory.take() else {
            return Err(ServiceError::Internal("the memory is not loaded".into()));
        };
        let whole = move || {
            let done = work(&mut stream);
            (stream, done)
        };
        match self.computed(limit, whole).await {
            Ok((stream, done)) => {
                self.memory = Some(stream);
                Ok(done)
            }
            Err(error) => {
                self.forget();
                Err(error)
            }
        }
    }

    /// Makes `state` the newest in the database, together with policy and figures.
    pub(super) async fn commit(
        &mut self,
        state: &StateFile,
        previous: Option<&StateFile>,
    ) -> Result<(), ServiceError> {
        let json = |policy: &CalibrationConfig| serde_json::to_string(policy).ok();
        let images = self.memory.as_ref().map_or(0, Stream::sequence);
        let figures = self.memory.as_ref().map(Figures::of);
        let view = figures.and_then(|figures| serde_json::to_string(&figures).ok());
        let needed_from = previous.map_or(state.entry, |previous| previous.entry);
        self.shared
            .store
            .write(vec![
                (
                    "UPDATE streams SET state_file = $1, state_entry = $2, previous_file = $3, previous_entry = $4, \
                     calibration = $5, view = $6, images = $7 WHERE id = $8",
                    vec![
                        state.file.as_str().into(),
                        state.entry.into(),
                        previous.map(|previous| previous.file.as_str()).into(),
                        previous.map(|previous| previous.entry).into(),
                        self.policy.as_ref().and_then(json).into(),
                        view.into(),
                        images.into(),
                        self.id.into(),
                    ],
                ),
                (
                    "DELETE FROM journal WHERE stream = $1 AND entry <= $2",
                    vec![Value::Int(self.id), needed_from.into()],
                ),
            ])
            .await?;
        Ok(())
    }

    /// Gives the memory back; what is not in the state file is in the journal.
    pub(super) fn forget(&mut self) {
        self.memory = None;
        self.shared.residency.leave(self.id);
        self.handle.view().condition = match self.out {
            None => Condition::Stored,
            Some(_) => Condition::Damaged,
        };
    }

    pub(super) fn path(&self, state: &StateFile) -> PathBuf {
        self.folder.join(&state.file)
    }

    fn remove(&self, state: &StateFile) {
        let path = self.path(state);
        if !state.file.is_empty()
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), error = %Logged(&error), "Old state not deleted.");
        }
    }

    /// A number that no file of this stream bears yet.
    pub(super) fn unique(&mut self) -> i64 {
        self.files = jiff::Timestamp::now().as_millisecond().max(self.files + 1);
        self.files
    }
}

fn residency_note(owner: &Owner, stream: &Stream) {
    let residency = &owner.shared.residency;
    residency.note(owner.id, stream.bytes() as u64, false);
}

fn write(settings: &Settings, stream: &Stream, path: &Path) -> Result<(), ServiceError> {
    make_folder(settings, path)?;
    let mut writer = SnapshotWriter::new();
    stream.save_into(&mut writer)?;
    writer.write(path).map_err(|error| disk(settings, error))
}

/// Makes the folder of the file `path` where it is missing.
pub(super) fn make_folder(settings: &Settings, path: &Path) -> Result<(), ServiceError> {
    path.parent().map_or(Ok(()), |folder| {
        std::fs::create_dir_all(folder).map_err(|source| io(settings, folder, &source))
    })
}
