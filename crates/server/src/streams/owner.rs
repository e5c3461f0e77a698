//! The one that a stream belongs to.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rareclip_core::calibration::CalibrationConfig;
use rareclip_core::snapshot::SnapshotWriter;
use rareclip_core::{Assessed, Features, Learning, Outcome, PushOptions, Slot, Stream, Verdict};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::image::{self, ImageJob, Ready};
use super::{Change, Figures, Handle, Job, Shared, memory};
use crate::detectors::Entry;
use crate::error::{ServiceError, StoreError};
use crate::metrics::{StreamLabels, VerdictLabels};
use crate::model::{ResultRecord, SnapshotInfo, Timings};
use crate::pictures::Shown;
use crate::service::{Event, Submitted};
use crate::settings::KeepPictures;
use crate::store::{JournalEntry, NewResult, StateFile, StreamRow, append, insert_result, time};

/// Images a stream may do in a row while another waits for room.
const TURN: u64 = 16;

/// The state of a stream, in the hands of the one task that may change it.
pub(crate) struct Owner {
    pub(super) shared: Arc<Shared>,
    pub(super) handle: Arc<Handle>,
    pub(super) id: i64,
    pub(super) folder: PathBuf,
    pub(super) policy: Option<CalibrationConfig>,
    pub(super) last_entry: u64,
    pub(super) state: StateFile,
    pub(super) previous: Option<StateFile>,
    pub(super) memory: Option<Stream>,
    /// Journal entries that are not in the newest state file.
    pub(super) unsaved: u64,
    pub(super) since_load: u64,
    pub(super) files: i64,
    frozen: bool,
}

impl Owner {
    pub(crate) fn new(shared: Arc<Shared>, handle: Arc<Handle>, row: &StreamRow) -> Self {
        let folder = shared
            .settings
            .data
            .join("streams")
            .join(row.id.to_string());
        let empty = StateFile {
            file: String::new(),
            entry: 0,
        };
        let state = row.state.clone().unwrap_or(empty);
        Self {
            id: row.id,
            folder,
            policy: row.calibration.clone(),
            last_entry: row.last_entry,
            unsaved: row.last_entry.saturating_sub(state.entry),
            state,
            previous: row.previous.clone(),
            memory: None,
            since_load: 0,
            files: 0,
            frozen: row.frozen,
            shared,
            handle,
        }
    }

    pub(super) fn entry(&self) -> Result<Arc<Entry>, ServiceError> {
        self.handle
            .entry
            .clone()
            .map_err(|problem| ServiceError::Damaged {
                stream: self.handle.name.to_string(),
                problem,
            })
    }

    /// Works until the stream is closed or deleted.
    pub(crate) async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        loop {
            let job = if self.memory.is_some() && self.unsaved > 0 {
                let idle = self.shared.settings.snapshot_idle;
                match tokio::time::timeout(idle, jobs.recv()).await {
                    Ok(job) => job,
                    Err(_) => {
                        self.save().await;
                        self.rest(true);
                        // Another try only when something has come in between, or as long again has passed.
                        continue;
                    }
                }
            } else {
                jobs.recv().await
            };
            let Some(job) = job else {
                return;
            };
            match job {
                Job::Image(job) => self.image(*job).await,
                Job::Change(change, reply) => {
                    let done = self.change(change).await;
                    self.describe();
                    self.tell();
                    let _ = reply.send(done);
                }
                Job::Snapshot(note, reply) => {
                    let _ = reply.send(self.snapshot(note).await);
                }
                Job::Export(reply) => {
                    let _ = reply.send(self.export().await);
                }
                Job::WriteOut => {
                    if jobs.is_empty() {
                        self.write_out().await;
                    }
                }
                Job::Close(done) => {
                    self.write_out().await;
                    let _ = done.send(());
                    return;
                }
                Job::Delete(reply) => {
                    let _ = reply.send(self.delete().await);
                    return;
                }
            }
            self.since_load += 1;
            if self.since_load >= TURN && self.shared.residency.wanted() {
                self.write_out().await;
            }
            self.rest(jobs.is_empty());
        }
    }

    /// Tells the books what the memory holds.
    fn rest(&self, idle: bool) {
        if let Some(stream) = &self.memory {
            let bytes = stream.bytes() as u64;
            self.shared.residency.note(self.id, bytes, idle);
        }
    }

    /// Writes a state file where the newest is not up to date. That it cannot be written is said, and tried again later: the
    /// journal has everything.
    async fn save(&mut self) {
        if self.unsaved == 0 {
            return;
        }
        if let Err(error) = self.checkpoint(true).await {
            tracing::warn!(stream = %self.handle.name, %error, "State not written; the journal goes on.");
        }
    }

    async fn write_out(&mut self) {
        if self.memory.is_some() {
            self.save().await;
            self.describe();
            self.forget();
        }
    }

    async fn delete(&mut self) -> Result<(), ServiceError> {
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

    /// Brings what is said of the stream up to date.
    pub(super) fn describe(&self) {
        let mut view = self.handle.view();
        view.frozen = self.frozen;
        if let Some(stream) = &self.memory {
            view.images = stream.sequence();
            view.figures = Figures::of(stream);
            let labels = StreamLabels {
                stream: self.handle.name.to_string(),
            };
            if let Some(bank) = view.figures.bank {
                let prototypes = i64::try_from(bank.prototypes).unwrap_or(i64::MAX);
                let metrics = &self.shared.metrics;
                metrics.prototypes.get_or_create(&labels).set(prototypes);
                let bytes = i64::try_from(stream.bytes()).unwrap_or(i64::MAX);
                metrics.bytes.get_or_create(&labels).set(bytes);
            }
        }
    }

    fn tell(&self) {
        self.shared
            .tell(Event::stream(&self.handle.name, &self.handle.info()));
    }

    async fn change(&mut self, change: Change) -> Result<(), ServiceError> {
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
                let kept = self.shared.store.snapshots(self.id).await?;
                let Some((_, file)) = kept.into_iter().find(|(info, _)| info.id == id) else {
                    return Err(ServiceError::NotFound {
                        what: "snapshot",
                        name: id.to_string(),
                        hint: String::new(),
                    });
                };
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
        let state = StateFile {
            file: String::new(),
            entry: self.last_entry,
        };
        let loaded = self.memory.take();
        let done = self.commit(&state, None).await;
        self.memory = loaded;
        done?;
        for old in [
            Some(std::mem::replace(&mut self.state, state)),
            self.previous.take(),
        ]
        .into_iter()
        .flatten()
        .filter(|old| !old.file.is_empty())
        {
            let _ = std::fs::remove_file(self.path(&old));
        }
        self.unsaved = 0;
        self.forget();
        self.handle.view().notice = None;
        self.load().await
    }

    /// Takes the state in `bytes` for the memory.
    async fn replace(&mut self, name: String, bytes: Vec<u8>) -> Result<(), ServiceError> {
        let fresh = self.fresh()?;
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

    async fn snapshot(&mut self, note: Option<String>) -> Result<SnapshotInfo, ServiceError> {
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
        let bytes = copied.map_err(|error| memory::io(&to, &error))?;
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

    async fn export(&mut self) -> Result<Bytes, ServiceError> {
        self.load().await?;
        let Some(stream) = self.memory.take() else {
            return Err(ServiceError::Internal("the memory is not loaded".into()));
        };
        let (stream, bytes) = self
            .shared
            .compute(move || {
                let mut writer = SnapshotWriter::new();
                stream.save_into(&mut writer);
                let bytes = writer.to_bytes();
                drop(writer);
                (stream, bytes)
            })
            .await?;
        self.memory = Some(stream);
        Ok(bytes.map_err(memory::disk)?.into())
    }

    async fn image(&mut self, mut job: ImageJob) {
        self.handle.waiting.fetch_sub(1, Ordering::Relaxed);
        let result = self.handle_image(&mut job).await;
        let ImageJob { reply, place, .. } = job;
        drop(place);
        // Whoever asked may have gone.
        let _ = reply.send(result);
        if self.unsaved > 0
            && self
                .unsaved
                .is_multiple_of(self.shared.settings.snapshot_every)
        {
            self.save().await;
        }
    }

    async fn handle_image(&mut self, job: &mut ImageJob) -> Result<Submitted, ServiceError> {
        job.overdue()?;
        let digest = job.key.as_ref().map(|_| hex(&Sha256::digest(&job.bytes)));
        if let Some(key) = &job.key
            && let Some((record, earlier)) = self.shared.store.by_key(self.id, key).await?
        {
            if earlier != digest {
                return Err(ServiceError::Conflict(format!(
                    "idempotency key `{key}` was used for another image: give every image a key of its own"
                )));
            }
            return Ok(Submitted::replayed(record));
        }
        let left = job.allowed.saturating_sub(job.arrived.elapsed());
        let ready = tokio::time::timeout(left, &mut job.ready).await;
        let ready = ready
            .map_err(|_| ServiceError::Deadline(job.allowed.as_secs_f64()))?
            .map_err(|_| ServiceError::Stopping)??;
        self.load().await?;
        job.overdue()?;
        if job.normal {
            return self.show_normal(job, ready).await;
        }
        self.score(job, ready, digest).await
    }

    /// A known normal: remembered first, then written down; a memory that could not be written down is given up.
    async fn show_normal(
        &mut self,
        job: &ImageJob,
        ready: Ready,
    ) -> Result<Submitted, ServiceError> {
        let Some(mut stream) = self.memory.take() else {
            return Err(ServiceError::Internal("the memory is not loaded".into()));
        };
        let Ready {
            features, window, ..
        } = ready;
        let done = self
            .shared
            .compute(move || {
                let shown = stream.push_normal(&features);
                drop(window);
                (stream, shown)
            })
            .await;
        let shown = match done {
            Ok((stream, shown)) => {
                self.memory = Some(stream);
                shown.map_err(ServiceError::from)
            }
            Err(error) => Err(error),
        };
        let images = self.memory.as_ref().map_or(0, Stream::sequence);
        let written = match shown {
            Err(error) => Err(error),
            Ok(()) => {
                let entry = JournalEntry {
                    entry: self.last_entry + 1,
                    normal: true,
                    learn: true,
                    image: job.bytes.to_vec(),
                };
                let write = self
                    .shared
                    .store
                    .write(append(self.id, entry, images))
                    .await;
                write.map_err(ServiceError::from)
            }
        };
        if let Err(error) = written {
            self.forget();
            return Err(error);
        }
        self.last_entry += 1;
        self.unsaved += 1;
        self.describe();
        Ok(Submitted::normal(images))
    }

    async fn score(
        &mut self,
        job: &ImageJob,
        ready: Ready,
        digest: Option<String>,
    ) -> Result<Submitted, ServiceError> {
        let options = match (job.peek, self.frozen) {
            (true, _) => PushOptions::PEEK,
            (false, true) => PushOptions::FREEZE,
            (false, false) => PushOptions::LEARN,
        };
        let mut timings = ready.timings;
        let (features, assessed) = self.assess(ready.features, options, &mut timings).await?;
        let at = now();
        let keep = match self.shared.settings.keep_pictures {
            KeepPictures::All => true,
            KeepPictures::None => false,
            KeepPictures::Anomalous => assessed.outcome().judgement.verdict == Verdict::Anomalous,
        };
        let mut record = image::record(
            assessed.outcome(),
            self.last_entry + 1,
            at,
            job.name.clone(),
            keep && !job.peek,
        );
        let shown = Arc::new(Shown {
            picture: ready.picture,
            map: assessed.outcome().scored.map.values.clone(),
            scale: assessed.outcome().map_scale,
        });
        let mut notice = None;
        if !job.peek {
            // Cancelled up to here means: no trace.
            job.overdue()?;
            let start = Instant::now();
            match self.write_down(job, &record, at, digest, options).await {
                Ok(()) => {
                    timings.store_ms = milliseconds(start.elapsed());
                    self.absorb(features, assessed, &mut timings).await?;
                    self.recorded(&record, &shown);
                }
                Err(error) => {
                    self.shared.metrics.unrecorded.inc();
                    notice = Some(format!(
                        "{error}. The image was scored; it is neither remembered nor in the history"
                    ));
                }
            }
        }
        drop(ready.window);
        let recorded = !job.peek && notice.is_none();
        if !recorded {
            record.id = 0;
            record.remembered = false;
            record.pictures = false;
        }
        timings.total_ms = milliseconds(job.arrived.elapsed());
        self.shared.metrics.timings(&timings);
        Ok(Submitted {
            record,
            recorded,
            replayed: false,
            notice,
            timings,
            shown: job.keep_shown.then_some(shown),
        })
    }

    /// The outcome of an image; the memory stays as it is.
    async fn assess(
        &mut self,
        features: Features,
        options: PushOptions,
        timings: &mut Timings,
    ) -> Result<(Features, Assessed), ServiceError> {
        let Some(mut stream) = self.memory.take() else {
            return Err(ServiceError::Internal("the memory is not loaded".into()));
        };
        let mut times = *timings;
        let done = self
            .shared
            .compute(move || {
                let assessed = stream.ready().and_then(|()| {
                    stream.assess(&features, options, &mut |slot, time| {
                        add(&mut times, slot, time);
                    })
                });
                (stream, features, assessed, times)
            })
            .await;
        match done {
            Ok((stream, features, assessed, times)) => {
                self.memory = Some(stream);
                *timings = times;
                Ok((features, assessed?))
            }
            Err(error) => {
                self.forget();
                Err(error)
            }
        }
    }

    /// Result and journal entry, in one transaction.
    async fn write_down(
        &mut self,
        job: &ImageJob,
        record: &ResultRecord,
        at: i64,
        digest: Option<String>,
        options: PushOptions,
    ) -> Result<(), StoreError> {
        let entry = JournalEntry {
            entry: record.id,
            normal: false,
            learn: options.update,
            image: job.bytes.to_vec(),
        };
        let mut statements = append(self.id, entry, record.sequence + 1);
        statements.push(insert_result(
            self.id,
            &NewResult {
                record,
                at,
                key: job.key.as_deref(),
                digest: digest.as_deref(),
            },
        ));
        self.shared.store.write(statements).await
    }

    /// The memory takes in what is written down. One that cannot is made anew from the disk.
    async fn absorb(
        &mut self,
        features: Features,
        assessed: Assessed,
        timings: &mut Timings,
    ) -> Result<(), ServiceError> {
        self.last_entry += 1;
        self.unsaved += 1;
        let Some(mut stream) = self.memory.take() else {
            return Err(ServiceError::Internal("the memory is not loaded".into()));
        };
        let mut times = *timings;
        let done = self
            .shared
            .compute(move || {
                let mut observe = |slot, time| add(&mut times, slot, time);
                let absorbed = stream.absorb(&features, assessed, &mut observe);
                let learns =
                    stream.bank_status().is_some() && stream.learning() == Learning::Online;
                let skipped = absorbed.map(|outcome: Outcome| learns && !outcome.remembered);
                (stream, skipped, times)
            })
            .await;
        let skipped = match done {
            Ok((stream, Ok(skipped), times)) => {
                self.memory = Some(stream);
                *timings = times;
                Ok(skipped)
            }
            Ok((_, Err(error), _)) => Err(ServiceError::from(error)),
            Err(error) => Err(error),
        };
        let skipped = match skipped {
            Ok(skipped) => skipped,
            Err(error) => {
                self.forget();
                self.strike_out(self.last_entry).await;
                return Err(error);
            }
        };
        if skipped {
            self.handle.view().skipped += 1;
            let labels = StreamLabels {
                stream: self.handle.name.to_string(),
            };
            self.shared.metrics.skipped.get_or_create(&labels).inc();
        }
        Ok(())
    }

    /// Takes back an entry that the memory could not take in: the journal must lead to a memory.
    async fn strike_out(&mut self, entry: u64) {
        let values = vec![self.id.into(), entry.into()];
        let statements = vec![
            (
                "DELETE FROM journal WHERE stream = $1 AND entry = $2",
                values.clone(),
            ),
            (
                "DELETE FROM results WHERE stream = $1 AND entry = $2",
                values,
            ),
        ];
        if let Err(error) = self.shared.store.write(statements).await {
            tracing::error!(stream = %self.handle.name, entry, %error, "Entry not taken back.");
        }
    }

    /// Tells everyone of a result that is written down.
    fn recorded(&self, record: &ResultRecord, shown: &Arc<Shown>) {
        self.describe();
        let drifting = {
            let mut view = self.handle.view();
            view.results += 1;
            view.last = Some(record.clone());
            view.figures.drift.is_some_and(|drift| drift.drifting)
        };
        let metrics = &self.shared.metrics;
        let stream = self.handle.name.to_string();
        metrics
            .images
            .get_or_create(&VerdictLabels {
                stream: stream.clone(),
                verdict: record.verdict.to_string(),
            })
            .inc();
        metrics
            .scores
            .get_or_create(&StreamLabels { stream })
            .observe(f64::from(record.score));
        let key = (self.id, record.id);
        self.shared.pictures.hold(key, Arc::clone(shown));
        if record.pictures {
            self.keep_pictures(key, Arc::clone(shown));
        }
        self.shared.tell(Event::result(&self.handle.name, record));
        if drifting
            && record
                .sequence
                .is_multiple_of(rareclip_core::calibration::RECENT as u64)
        {
            self.tell();
        }
    }

    /// Writes picture and map beside the answer's way. That they cannot be written is logged; the result stands.
    fn keep_pictures(&self, key: crate::pictures::Key, shown: Arc<Shown>) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let pictures = Arc::clone(&shared.pictures);
            let kept = shared.compute(move || pictures.keep(key, &shown)).await;
            let (sql, values) = match kept.and_then(|kept| kept) {
                Ok(bytes) => (
                    "UPDATE results SET picture_bytes = $1 WHERE stream = $2 AND entry = $3",
                    vec![bytes.into(), key.0.into(), key.1.into()],
                ),
                Err(error) => {
                    tracing::warn!(%error, "Picture not kept.");
                    (
                        "UPDATE results SET pictures = 0 WHERE stream = $1 AND entry = $2",
                        vec![key.0.into(), key.1.into()],
                    )
                }
            };
            if let Err(error) = shared.store.write(vec![(sql, values)]).await {
                tracing::warn!(%error, "Size of a kept picture not noted.");
            }
        });
    }
}

fn add(timings: &mut Timings, slot: Slot, time: Duration) {
    let ms = milliseconds(time);
    match slot {
        Slot::Prompt => timings.prompt_ms += ms,
        Slot::Bank => timings.bank_ms += ms,
        _ => timings.scorer_ms += ms,
    }
}

/// A duration in milliseconds.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The time in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
