//! From a data folder to a running service.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rareclip_core::write_whole;
use rareclip_pipeline::Watchdog;
use tokio::sync::{Semaphore, broadcast, mpsc};

use super::admission::Admission;
use super::dispatch::Dispatch;
use super::{EVENTS, Result, Service, retention};
use crate::budget::Budget;
use crate::building::Builds;
use crate::custom::Origin;
use crate::detectors::Detectors;
use crate::entry::Entry;
use crate::error::{ServiceError, StoreError};
use crate::model::{Condition, DetectorChoice};
use crate::pictures::Pictures;
use crate::settings::{Settings, make_data_folder};
use crate::store::{Store, StreamRow};
use crate::streams::{Handle, Owner, Residency, Shared, View};

impl Service {
    /// Opens the data folder with all its streams. The detectors stand ready: whoever built them
    /// has warmed them up.
    ///
    /// # Errors
    /// When the folder is in use, or folder or database cannot be read and written.
    pub async fn open(settings: Settings, detectors: Detectors) -> Result<Arc<Self>> {
        let data = settings.data.clone();
        let (lock, owner) = claim(&data)?;
        let url = settings.database.clone();
        let folder = data.clone();
        let opened =
            tokio::task::spawn_blocking(move || Store::open(&folder, url.as_deref(), &owner));
        let opened = opened.await;
        let store = opened.map_err(|error| ServiceError::Internal(error.to_string()))??;
        let store = Arc::new(store);
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let metrics = Arc::clone(detectors.metrics());
        let (events, _) = broadcast::channel(EVENTS);
        let max_batch = settings.max_batch.max(1);
        detectors.warn_above(settings.memory_bytes);
        let admission = Arc::new(Admission::new(settings.max_queue, Arc::clone(&metrics)));
        let shared = Arc::new(Shared {
            residency: Residency::new(settings.memory_bytes),
            pictures: Arc::new(Pictures::new(&data)),
            builds: Builds::new(&settings),
            cores: Arc::new(Semaphore::new(cores)),
            decoding: Budget::new(usize::try_from(settings.decode_bytes).unwrap_or(usize::MAX)),
            large: Arc::new(Semaphore::new((cores / 2).max(1))),
            proving: Semaphore::new(1),
            watchdog: Arc::new(Watchdog::new(settings.compute_limit)),
            settings,
            store,
            metrics,
            events,
        });
        let dispatch = Dispatch::new(max_batch, cores);
        let service = Arc::new(Self {
            shared,
            detectors,
            streams: RwLock::default(),
            roll: tokio::sync::Mutex::default(),
            admission,
            dispatch,
            stopping: AtomicBool::new(false),
            late: Mutex::default(),
            _lock: lock,
        });
        for row in service.shared.store.streams().await? {
            service.take_up(row).await?;
        }
        service.sweep().await?;
        retention::start(&service.shared);
        Ok(service)
    }

    /// A stream that is in the database, as it was left.
    async fn take_up(&self, row: StreamRow) -> Result<Arc<Handle>> {
        let store = &self.shared.store;
        let results = store.count_results(row.id).await?;
        let last = store
            .results(row.id, &Default::default(), (None, None), 1)
            .await?
            .pop();
        let entry = self
            .detectors
            .choose(
                &row.detector,
                Origin::Stored,
                &self.shared.settings,
                &self.shared.builds,
            )
            .await
            .map_err(|error| error.to_string());
        let figures = row
            .view
            .as_deref()
            .and_then(|view| serde_json::from_str(view).ok());
        let detector = match (&entry, &row.detector) {
            (Ok(entry), _) => entry.name.clone(),
            (Err(_), DetectorChoice::Name(name)) => name.clone(),
            (Err(_), DetectorChoice::Config(_)) => "own config".to_owned(),
        };
        let view = View {
            detector,
            created_at: row.created_at,
            images: row.images,
            results,
            frozen: row.frozen,
            condition: match entry {
                Ok(_) => Condition::Stored,
                Err(_) => Condition::Damaged,
            },
            notice: entry.as_ref().err().cloned(),
            figures: figures.unwrap_or_default(),
            skipped: 0,
            last,
        };
        Ok(self.start_owner(row, entry, view))
    }

    pub(super) fn start_owner(
        &self,
        row: StreamRow,
        entry: Result<Arc<Entry>, String>,
        view: View,
    ) -> Arc<Handle> {
        let (jobs, queue) = mpsc::unbounded_channel();
        let lane = self.dispatch.lane(&self.shared);
        let handle = Arc::new(Handle::new(row.id, &row.name, entry, jobs, lane, view));
        let owner = Owner::new(Arc::clone(&self.shared), Arc::clone(&handle), &row);
        tokio::spawn(owner.run(queue));
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        streams.insert(row.name, Arc::clone(&handle));
        handle
    }

    /// Deletes what a crash left in the folders of streams: files that the database does not know.
    async fn sweep(&self) -> Result<()> {
        let folder = self.shared.settings.streams_folder();
        let mut known: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for row in self.shared.store.streams().await? {
            let states = [row.state, row.previous].into_iter().flatten();
            let mut files: Vec<String> = states.map(|state| state.file).collect();
            let kept = self.shared.store.snapshots(row.id).await?;
            files.extend(kept.into_iter().map(|(_, file)| file));
            known.insert(row.id, files);
        }
        let swept = tokio::task::spawn_blocking(move || sweep(&folder, &known)).await;
        swept.map_err(|error| ServiceError::Internal(error.to_string()))
    }
}

/// Takes the data folder for this process and gives its mark.
fn claim(data: &Path) -> Result<(std::fs::File, String)> {
    let fail = |place: &Path, problem: String| StoreError::Failed {
        place: format!("data folder {}", place.display()),
        problem,
    };
    make_data_folder(data).map_err(|error| fail(data, error.to_string()))?;
    let lock = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(data.join("lock"))
        .map_err(|error| fail(data, error.to_string()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let problem = "another service uses it: stop that one, or name another folder";
            return Err(fail(data, problem.into()).into());
        }
        Err(std::fs::TryLockError::Error(error)) => {
            return Err(fail(data, error.to_string()).into());
        }
    }
    let mark = data.join("id");
    let owner = match std::fs::read_to_string(&mark) {
        Ok(owner) => owner.trim().to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let owner = format!("{:032x}", rand::random::<u128>());
            // The database bears the mark too, and a power failure must not leave it alone with it.
            let written = write_whole(&mark, owner.as_bytes());
            written.map_err(|error| fail(data, error.to_string()))?;
            owner
        }
        Err(error) => return Err(fail(data, error.to_string()).into()),
    };
    Ok((lock, owner))
}

/// What folders of streams begin with that the database does not know.
const LOST: &str = "lost-";

/// A database that was lost or replaced must not cost the states too.
fn put_aside(from: &Path, to: &Path) {
    tracing::warn!(folder = %from.display(), to = %to.display(), "The database knows no such stream; put aside.");
    if let Err(error) = std::fs::rename(from, to) {
        tracing::warn!(folder = %from.display(), %error, "Not put aside.");
    }
}

fn sweep(folder: &Path, known: &BTreeMap<i64, Vec<String>>) {
    let Ok(folders) = std::fs::read_dir(folder) else {
        return;
    };
    for stream in folders.flatten() {
        let name = stream.file_name().to_string_lossy().into_owned();
        if name.starts_with(LOST) {
            continue;
        }
        let Some(files) = name.parse().ok().and_then(|id: i64| known.get(&id)) else {
            put_aside(&stream.path(), &folder.join(format!("{LOST}{name}")));
            continue;
        };
        let Ok(entries) = std::fs::read_dir(stream.path()) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !files.contains(&name) {
                tracing::info!(file = %entry.path().display(), "Left by a crash; deleted.");
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}
