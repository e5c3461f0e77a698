//! The one that a stream belongs to.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use rareclip_core::Stream;
use rareclip_core::calibration::CalibrationConfig;
use tokio::sync::mpsc;

use super::{Figures, Handle, Job, Shared};
use crate::clean::Logged;
use crate::entry::Entry;
use crate::error::ServiceError;
use crate::metrics::StreamLabels;
use crate::service::Event;
use crate::store::{StateFile, StreamRow};

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
    pub(super) frozen: bool,
    /// What keeps the stream out of service: a computation that did not end. Its thread holds the
    /// memory.
    pub(super) out: Option<String>,
    /// Computations of this stream that have not ended in time and still run.
    pub(super) stuck: Arc<AtomicUsize>,
}

impl Owner {
    pub(crate) fn new(shared: Arc<Shared>, handle: Arc<Handle>, row: &StreamRow) -> Self {
        let folder = shared.settings.stream_folder(row.id);
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
            out: None,
            stuck: Arc::default(),
            shared,
            handle,
        }
    }

    pub(super) fn entry(&self) -> Result<Arc<Entry>, ServiceError> {
        self.handle
            .entry
            .clone()
            .map_err(|problem| ServiceError::NoDetector {
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
                        // Another try only when something has come in between, or as long again has
                        // passed.
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
                Job::ExportFile(reply) => {
                    let _ = reply.send(self.export_file().await);
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
                    let deleted = self.delete().await;
                    let gone = deleted.is_ok();
                    let _ = reply.send(deleted);
                    if gone {
                        return;
                    }
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

    /// Writes a state file where the newest is not up to date. That it cannot be written is said,
    /// and tried again later: the journal has everything.
    pub(super) async fn save(&mut self) {
        if self.unsaved == 0 {
            return;
        }
        if let Err(error) = self.checkpoint(true).await {
            tracing::warn!(stream = %self.handle.name, error = %Logged(&error), "State not written; the journal goes on.");
        }
    }

    async fn write_out(&mut self) {
        if self.memory.is_some() {
            self.save().await;
            self.describe();
            self.forget();
        }
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

    pub(super) fn tell(&self) {
        self.shared
            .tell(Event::stream(&self.handle.name, &self.handle.info()));
    }
}

/// The time in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
