//! The service itself: what the API asks, whatever it is asked through.

mod admission;
mod dispatch;
mod event;
mod history;
mod retention;

pub use event::{Event, EventKind};

pub(crate) use admission::Place;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rareclip_core::Learning;
use rareclip_core::calibration::CalibrationConfig;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};

use crate::detectors::{Detectors, Entry};
use crate::error::{ServiceError, StoreError};
use crate::metrics::Metrics;
use crate::model::{
    Calibrate, Condition, DetectorChoice, DetectorInfo, Label, NewStream, ResultRecord,
    ServiceInfo, SnapshotInfo, StreamInfo, Timings,
};
use crate::pictures::{Pictures, Shown};
use crate::settings::Settings;
use crate::store::{Store, StreamRow};
use crate::streams::{Change, Figures, Handle, ImageJob, Job, Owner, Residency, Shared, View, now};
use admission::Admission;
use dispatch::{Dispatch, Work};

type Result<T, E = ServiceError> = std::result::Result<T, E>;

/// Events that a slow listener may lag behind before it has to read the history.
const EVENTS: usize = 1024;

/// An image that is sent.
#[derive(Debug, Clone, Default)]
pub struct Submission {
    /// What the client calls it.
    pub name: Option<String>,
    /// The file.
    pub bytes: Bytes,
    /// Idempotency key, 1 to 200 characters: sent again with the same key, the image is not counted again.
    pub key: Option<String>,
}

/// How images are to be handled.
#[derive(Debug, Clone, Copy)]
pub struct SubmitOptions {
    /// Whether the stream counts them. Without, they leave no trace, not even in the history.
    pub update: bool,
    /// Time within which their turn must have come; `None`: as the settings say.
    pub deadline: Option<Duration>,
    /// Whether [`Submitted::shown`] is wanted.
    pub keep_shown: bool,
}

impl Default for SubmitOptions {
    fn default() -> Self {
        Self {
            update: true,
            deadline: None,
            keep_shown: false,
        }
    }
}

/// What became of an image.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The result; its id is 0 where it is not in the history.
    pub record: ResultRecord,
    /// Whether it is in the history, and the image in the memory as the policy says.
    pub recorded: bool,
    /// Whether the image had been sent before and the first result is given again.
    pub replayed: bool,
    /// What the client should know, in words.
    pub notice: Option<String>,
    /// Milliseconds in each stage.
    pub timings: Timings,
    /// Picture and map, where they were asked for.
    pub shown: Option<Arc<Shown>>,
}

impl Submitted {
    pub(crate) fn replayed(record: ResultRecord) -> Self {
        Self {
            record,
            recorded: true,
            replayed: true,
            notice: None,
            timings: Timings::default(),
            shown: None,
        }
    }

    /// A known normal, which has no score.
    pub(crate) fn normal(images: u64) -> Self {
        Self::replayed(ResultRecord {
            id: 0,
            sequence: images.saturating_sub(1),
            at: String::new(),
            image: None,
            score: 0.0,
            raw_score: 0.0,
            p_value: None,
            verdict: rareclip_core::Verdict::Uncalibrated,
            threshold: None,
            calibration: String::new(),
            map_median: 0.0,
            scale_low: 0.0,
            scale_high: 0.0,
            remembered: true,
            feedback: None,
            note: None,
            pictures: false,
        })
    }
}

/// A running service.
pub struct Service {
    shared: Arc<Shared>,
    detectors: Detectors,
    streams: RwLock<BTreeMap<String, Arc<Handle>>>,
    /// Creating and deleting streams, one at a time.
    roll: tokio::sync::Mutex<()>,
    admission: Arc<Admission>,
    dispatch: Dispatch,
    stopping: AtomicBool,
    /// Holds the data folder for this process.
    _lock: std::fs::File,
}

impl Service {
    /// Opens the data folder with all its streams. The detectors stand ready: whoever built them has warmed them up.
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
        let admission = Arc::new(Admission::new(settings.max_queue, Arc::clone(&metrics)));
        let shared = Arc::new(Shared {
            residency: Residency::new(settings.memory_bytes),
            pictures: Arc::new(Pictures::new(&data)),
            cores: Semaphore::new(cores),
            settings,
            store,
            metrics,
            events,
        });
        let dispatch = Dispatch::start(Arc::clone(&shared), 2 * max_batch + cores);
        let service = Arc::new(Self {
            shared,
            detectors,
            streams: RwLock::default(),
            roll: tokio::sync::Mutex::default(),
            admission,
            dispatch,
            stopping: AtomicBool::new(false),
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
            .choose(&row.detector)
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

    fn start_owner(
        &self,
        row: StreamRow,
        entry: Result<Arc<Entry>, String>,
        view: View,
    ) -> Arc<Handle> {
        let (jobs, queue) = mpsc::unbounded_channel();
        let handle = Arc::new(Handle::new(row.id, &row.name, entry, jobs, view));
        let owner = Owner::new(Arc::clone(&self.shared), Arc::clone(&handle), &row);
        tokio::spawn(owner.run(queue));
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        streams.insert(row.name, Arc::clone(&handle));
        handle
    }

    /// Deletes what a crash left in the data folder: files that the database does not know.
    async fn sweep(&self) -> Result<()> {
        let folder = self.shared.settings.data.join("streams");
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

    /// What the operator set.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Counters and gauges.
    pub fn metrics(&self) -> &Arc<Metrics> {
        let (loaded, bytes) = self.shared.residency.held();
        let metrics = &self.shared.metrics;
        metrics
            .loaded
            .set(i64::try_from(loaded).unwrap_or(i64::MAX));
        metrics.memory.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        let problem = self.shared.store.problem().is_some();
        metrics.problems.set(f64::from(u8::from(problem)));
        metrics
    }

    /// The service as it is.
    pub fn info(&self) -> ServiceInfo {
        let (loaded, memory_bytes) = self.shared.residency.held();
        let stopping = self.stopping.load(Ordering::Relaxed);
        let problems = self.shared.store.problem().map(|error| {
            format!("{error}. Images are scored; they are neither remembered nor recorded")
        });
        ServiceInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: !stopping,
            problems: problems.into_iter().collect(),
            streams: self.handles().len(),
            loaded,
            memory_bytes,
            memory_limit_bytes: self.shared.residency.limit(),
            waiting: self.admission.waiting(),
            waiting_limit: self.admission.limit(),
        }
    }

    /// The detectors that streams can be created with.
    pub fn detectors(&self) -> Vec<DetectorInfo> {
        let named = self.detectors.named();
        named.iter().map(|entry| entry.info()).collect()
    }

    fn handles(&self) -> Vec<Arc<Handle>> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        streams.values().cloned().collect()
    }

    fn handle(&self, name: &str) -> Result<Arc<Handle>> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        streams.get(name).cloned().ok_or_else(|| {
            let nearest = rareclip_core::config::nearest(name, streams.keys().map(String::as_str));
            ServiceError::NotFound {
                what: "stream",
                name: name.to_owned(),
                hint: format!("{nearest}; create it with POST /v1/streams"),
            }
        })
    }

    /// Creates a stream; `false` where it was there with the same detector.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] where it was there with another one; [`ServiceError::Invalid`] on a name or detector that cannot
    /// be.
    pub async fn create(&self, new: NewStream) -> Result<(StreamInfo, bool)> {
        self.running()?;
        check_name(&new.name)?;
        let detector = new.detector.unwrap_or_else(|| {
            let first = self.detectors.named().first();
            DetectorChoice::Name(first.map(|entry| entry.name.clone()).unwrap_or_default())
        });
        let entry = self.detectors.choose(&detector)?;
        if entry.learning()? == Learning::Batch {
            return Err(rareclip_core::Error::NeedsBatch {
                bank: entry.name.clone(),
            }
            .into());
        }
        let _roll = self.roll.lock().await;
        if let Ok(there) = self.handle(&new.name) {
            let info = there.info();
            if info.detector == entry.name {
                return Ok((info, false));
            }
            return Err(ServiceError::Conflict(format!(
                "stream `{}` is there with detector `{}`: delete it first, or choose another name",
                new.name, info.detector
            )));
        }
        let row = StreamRow {
            id: self.shared.store.next_stream().await?,
            name: new.name,
            detector,
            calibration: new.calibration,
            created_at: now(),
            frozen: false,
            last_entry: 0,
            images: 0,
            view: None,
            state: None,
            previous: None,
        };
        self.shared.store.write(row.insert()).await?;
        let mut empty = entry.detector.open_stream()?;
        if let Some(policy) = &row.calibration {
            empty.calibrator_mut().set_policy(policy.clone());
        }
        let view = View {
            detector: entry.name.clone(),
            created_at: row.created_at,
            images: 0,
            results: 0,
            frozen: false,
            condition: Condition::Stored,
            notice: None,
            figures: Figures::of(&empty),
            skipped: 0,
            last: None,
        };
        let handle = self.start_owner(row, Ok(entry), view);
        let info = handle.info();
        self.shared.tell(Event::stream(&handle.name, &info));
        Ok((info, true))
    }

    /// Every stream, by name.
    pub async fn streams(&self) -> Vec<StreamInfo> {
        self.handles().iter().map(|handle| handle.info()).collect()
    }

    /// One stream.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`].
    pub async fn stream(&self, name: &str) -> Result<StreamInfo> {
        Ok(self.handle(name)?.info())
    }

    /// Deletes a stream with its history.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], or when the database cannot be written.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let _roll = self.roll.lock().await;
        let handle = self.handle(name)?;
        // No new image may come in between.
        let remove = || {
            let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
            streams.remove(name)
        };
        handle.ask(Job::Delete).await?;
        remove();
        self.shared.tell(Event::deleted(&handle.name));
        Ok(())
    }

    async fn change(&self, name: &str, change: Change) -> Result<StreamInfo> {
        self.running()?;
        let handle = self.handle(name)?;
        handle.ask(|reply| Job::Change(change, reply)).await?;
        Ok(handle.info())
    }

    /// Empties a stream's memory and calibration; its history stays.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn reset(&self, name: &str) -> Result<StreamInfo> {
        self.change(name, Change::Reset).await
    }

    /// Lets a stream score without remembering, or remember again.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn set_frozen(&self, name: &str, frozen: bool) -> Result<StreamInfo> {
        self.change(name, Change::Freeze(frozen)).await
    }

    /// Sets how scores become verdicts.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] on a number out of range; when the state cannot be written.
    pub async fn set_policy(&self, name: &str, policy: CalibrationConfig) -> Result<StreamInfo> {
        check_policy(&policy)?;
        self.change(name, Change::Policy(policy)).await
    }

    /// Calibrates by results of the history.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] when there are too few of them for the rate.
    pub async fn calibrate(&self, name: &str, how: Calibrate) -> Result<StreamInfo> {
        let handle = self.handle(name)?;
        let (feedback, rate, last) = match how {
            Calibrate::Feedback { rate } => (Some(Label::Normal), rate, 100_000),
            Calibrate::History { rate, last } => (None, rate, last),
        };
        let references = self.shared.store.references(handle.id, feedback, last);
        self.by_normals(name, rate, references.await?).await
    }

    /// Calibrates by images of known normals, which leave no other trace.
    ///
    /// # Errors
    /// When one cannot be scored, or they are too few for the rate.
    pub async fn calibrate_images(
        &self,
        name: &str,
        rate: f64,
        images: Vec<Submission>,
    ) -> Result<StreamInfo> {
        let options = SubmitOptions {
            update: false,
            ..SubmitOptions::default()
        };
        let mut references = Vec::new();
        for scored in self.submit(name, images, options).await? {
            let record = scored?.record;
            references.push((record.score, record.map_median));
        }
        self.by_normals(name, rate, references).await
    }

    async fn by_normals(
        &self,
        name: &str,
        rate: f64,
        references: Vec<(f32, f32)>,
    ) -> Result<StreamInfo> {
        let policy = CalibrationConfig::FalseAlarmRate { rate };
        check_policy(&policy)?;
        let mut tried = rareclip_core::Calibrator::new(policy.clone());
        tried.set_normals(references.clone())?;
        if tried.threshold().is_none() {
            return Err(ServiceError::Invalid {
                place: "calibration".into(),
                problem: format!(
                    "{}; give more normals, or bear a higher rate than {rate}",
                    tried.state_in_words()
                ),
            });
        }
        self.change(name, Change::Normals(references, policy)).await
    }

    /// Shows known normals to a stream that has scored nothing yet.
    ///
    /// # Errors
    /// At the first that cannot be shown; those before it are remembered.
    pub async fn normals(&self, name: &str, images: Vec<Submission>) -> Result<StreamInfo> {
        let done = self.queue(name, images, SubmitOptions::default(), true);
        for shown in done.await? {
            shown?;
        }
        self.stream(name).await
    }

    /// Keeps a copy of a stream's state until it is deleted.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn snapshot(&self, name: &str, note: Option<String>) -> Result<SnapshotInfo> {
        let handle = self.handle(name)?;
        handle.ask(|reply| Job::Snapshot(note, reply)).await
    }

    /// Goes back to a kept snapshot.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`]; when it cannot be read or belongs to another detector.
    pub async fn restore(&self, name: &str, id: u64) -> Result<StreamInfo> {
        self.change(name, Change::Restore(id)).await
    }

    /// A stream's state as a file that `rareclip scan --state` and [`import`](Self::import) read.
    ///
    /// # Errors
    /// When the memory cannot be loaded.
    pub async fn export(&self, name: &str) -> Result<Bytes> {
        self.handle(name)?.ask(Job::Export).await
    }

    /// Goes on from a state file.
    ///
    /// # Errors
    /// When it is damaged or belongs to another detector; nothing is changed then.
    pub async fn import(&self, name: &str, state: Bytes) -> Result<StreamInfo> {
        self.change(name, Change::Import(state)).await
    }

    fn running(&self) -> Result<()> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(ServiceError::Stopping);
        }
        Ok(())
    }

    /// Scores images in the order given, after all that the stream was sent before. All are admitted, or none. An image is given up
    /// without a trace when this future is dropped before its update has begun.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], [`ServiceError::Busy`], [`ServiceError::TooLarge`], [`ServiceError::Invalid`]; what is wrong with
    /// a single image stands in its place of the answer.
    pub async fn submit(
        &self,
        name: &str,
        images: Vec<Submission>,
        options: SubmitOptions,
    ) -> Result<Vec<Result<Submitted>>> {
        self.queue(name, images, options, false).await
    }

    async fn queue(
        &self,
        name: &str,
        images: Vec<Submission>,
        options: SubmitOptions,
        normal: bool,
    ) -> Result<Vec<Result<Submitted>>> {
        self.running()?;
        let handle = self.handle(name)?;
        let entry = handle
            .entry
            .clone()
            .map_err(|problem| ServiceError::Damaged {
                stream: name.to_owned(),
                problem,
            })?;
        check_submissions(&images)?;
        let mut places = self.admission.admit(images.len())?;
        let mut answers = Vec::with_capacity(images.len());
        {
            let _together = handle
                .arrival
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for (at, image) in images.into_iter().enumerate() {
                let (send_ready, ready) = oneshot::channel();
                let (reply, answer) = oneshot::channel();
                let arrived = Instant::now();
                self.dispatch.send(Work {
                    entry: Arc::clone(&entry),
                    name: image.name.clone().unwrap_or_else(|| format!("{}", at + 1)),
                    bytes: image.bytes.clone(),
                    arrived,
                    ready: send_ready,
                });
                let job = ImageJob {
                    name: image.name,
                    bytes: image.bytes,
                    normal,
                    peek: !options.update,
                    key: image.key,
                    arrived,
                    allowed: options.deadline.unwrap_or(self.settings().deadline),
                    keep_shown: options.keep_shown,
                    ready,
                    reply,
                    place: places.pop().unwrap_or_default(),
                };
                handle.waiting.fetch_add(1, Ordering::Relaxed);
                // The owner is gone only with the stream; the answer's channel then says so.
                let _ = handle.jobs.send(Job::Image(Box::new(job)));
                answers.push(answer);
            }
        }
        let mut done = Vec::with_capacity(answers.len());
        for answer in answers {
            done.push(match answer.await {
                Ok(result) => result,
                Err(_) if self.stopping.load(Ordering::Relaxed) => Err(ServiceError::Stopping),
                Err(_) => Err(ServiceError::NotFound {
                    what: "stream",
                    name: name.to_owned(),
                    hint: "; it was deleted".into(),
                }),
            });
        }
        Ok(done)
    }

    /// Seconds until there should be room for one more image: what a client is told that has to come back.
    pub(crate) fn retry_after_s(&self) -> u64 {
        self.admission.retry_after(1)
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// Writes every stream out. Images that come from now on are refused.
    pub async fn close(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let handles = self.handles();
        let mut closed = Vec::with_capacity(handles.len());
        for handle in &handles {
            let (done, wait) = oneshot::channel();
            if handle.jobs.send(Job::Close(done)).is_ok() {
                closed.push(wait);
            }
        }
        for wait in closed {
            // An owner that ended otherwise has nothing to write.
            let _ = wait.await;
        }
    }
}

/// Takes the data folder for this process and gives its mark.
fn claim(data: &Path) -> Result<(std::fs::File, String)> {
    let fail = |place: &Path, problem: String| StoreError::Failed {
        place: format!("data folder {}", place.display()),
        problem,
    };
    std::fs::create_dir_all(data).map_err(|error| fail(data, error.to_string()))?;
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
            std::fs::write(&mark, &owner).map_err(|error| fail(data, error.to_string()))?;
            owner
        }
        Err(error) => return Err(fail(data, error.to_string()).into()),
    };
    Ok((lock, owner))
}

fn sweep(folder: &Path, known: &BTreeMap<i64, Vec<String>>) {
    let Ok(folders) = std::fs::read_dir(folder) else {
        return;
    };
    for stream in folders.flatten() {
        let id = stream
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(files) = id.and_then(|id: i64| known.get(&id)) else {
            let _ = std::fs::remove_dir_all(stream.path());
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

fn check_name(name: &str) -> Result<()> {
    let first = name
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if first && rest && name.len() <= 64 {
        return Ok(());
    }
    Err(ServiceError::Invalid {
        place: "name".into(),
        problem: format!(
            "`{name}` is not a name for a stream: 1 to 64 letters, digits, `-`, `_` or `.`, the first a letter or digit"
        ),
    })
}

fn check_policy(policy: &CalibrationConfig) -> Result<()> {
    let wrong = |place: &str, problem: &str| {
        Err(ServiceError::Invalid {
            place: place.to_owned(),
            problem: problem.to_owned(),
        })
    };
    match *policy {
        CalibrationConfig::Fixed { threshold } if !threshold.is_finite() => {
            wrong("threshold", "must be a finite number")
        }
        CalibrationConfig::FalseAlarmRate { rate } if !(1e-5..=0.5).contains(&rate) => {
            wrong("rate", "must be from 0.00001 to 0.5")
        }
        CalibrationConfig::Quantile { quantile, .. } if !(0.0..=0.9999).contains(&quantile) => {
            wrong("quantile", "must be from 0 to 0.9999")
        }
        CalibrationConfig::Quantile { history, .. } if !(20..=1_000_000).contains(&history) => {
            wrong("history", "must be from 20 to 1000000")
        }
        CalibrationConfig::Quantile { warm_up, .. } if !(1..=100_000).contains(&warm_up) => {
            wrong("warm_up", "must be from 1 to 100000")
        }
        CalibrationConfig::Quantile { burn_in, .. } if burn_in > 10_000 => {
            wrong("burn_in", "must be at most 10000")
        }
        _ => Ok(()),
    }
}

fn check_submissions(images: &[Submission]) -> Result<()> {
    if images.is_empty() {
        return Err(ServiceError::Invalid {
            place: "images".into(),
            problem: "there is none in the request".into(),
        });
    }
    for image in images {
        if let Some(key) = &image.key
            && !(1..=200).contains(&key.chars().count())
        {
            return Err(ServiceError::Invalid {
                place: "idempotency key".into(),
                problem: "must have 1 to 200 characters".into(),
            });
        }
        if image.name.as_ref().is_some_and(|name| name.len() > 1024) {
            return Err(ServiceError::Invalid {
                place: "image name".into(),
                problem: "must have at most 1024 bytes".into(),
            });
        }
    }
    Ok(())
}
