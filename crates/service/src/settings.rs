//! What an operator can set.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rareclip_core::Trust;
use rareclip_imaging::Limits;

/// Whose pictures and maps are kept on disk for later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeepPictures {
    /// Those of anomalous images.
    #[default]
    Anomalous,
    /// Those of every image.
    All,
    /// None.
    None,
}

/// How the service works. Every default suits a machine of 4 cores and 8 GiB.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder of the database, the state files and the pictures; one service at a time.
    pub data: PathBuf,
    /// URL of a PostgreSQL database that is used instead of the embedded one,
    /// `postgres://user:password@host/name`.
    pub database: Option<String>,
    /// Bounds on an image.
    pub limits: Limits,
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Bytes that decoding may take for all images together, working copies included: images wait
    /// for room. One that needs more by itself is refused. Default 1 GiB.
    pub decode_bytes: u64,
    /// Streams that there may be; more are refused. Default 10 000.
    pub max_streams: usize,
    /// Time that the computation for one image, or reading or writing one state, may take. One that
    /// takes longer is given up and takes its stream out of service. Default 120 s.
    pub compute_limit: Duration,
    /// The same for the training pass of a method that has one. Default 2 h.
    pub fit_limit: Duration,
    /// Time that streams have to write themselves out when the service closes; what is not written
    /// is in the journal. Default 30 s.
    pub close_grace: Duration,
    /// Images in work or waiting; more are answered with 429.
    pub max_queue: usize,
    /// Images that one call of the backbone takes at most.
    pub max_batch: usize,
    /// Bytes that the memories of streams may hold together; streams in excess are written out.
    pub memory_bytes: u64,
    /// Images after which the state of a stream is written out; those since are journaled.
    pub snapshot_every: u64,
    /// Time without images after which the state of a stream is written out.
    pub snapshot_idle: Duration,
    /// Time within which an image is answered, where the request does not say.
    pub deadline: Duration,
    /// Whose pictures are kept.
    pub keep_pictures: KeepPictures,
    /// Bytes of kept pictures, the oldest deleted first.
    pub keep_picture_bytes: u64,
    /// Age in days at which results and pictures are deleted.
    pub keep_days: u32,
    /// The components that configs of requests and of stored streams may choose; the default is
    /// none.
    pub trust: Trust,
    /// Time within which a component that a request needs must be built; 503 after it.
    pub build_timeout: Duration,
    /// Components that requests build at once; others wait. Each may take up to `memory_bytes`.
    pub max_builds: usize,
}

impl Settings {
    /// The defaults, with everything in the folder `data`.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            database: None,
            limits: Limits::default(),
            max_body_bytes: 64 << 20,
            decode_bytes: 1 << 30,
            max_streams: 10_000,
            compute_limit: Duration::from_secs(120),
            fit_limit: Duration::from_secs(2 * 60 * 60),
            close_grace: Duration::from_secs(30),
            max_queue: 256,
            max_batch: 8,
            memory_bytes: 2 << 30,
            snapshot_every: 64,
            snapshot_idle: Duration::from_secs(30),
            deadline: Duration::from_secs(60),
            keep_pictures: KeepPictures::default(),
            keep_picture_bytes: 2 << 30,
            keep_days: 90,
            trust: Trust::default(),
            build_timeout: Duration::from_secs(30),
            max_builds: 4,
        }
    }

    /// A file as clients are told of it: its place within the data folder. Where that folder is
    /// stays in the log.
    pub fn told(&self, path: &Path) -> String {
        let within = path.strip_prefix(&self.data).ok();
        let name = within.or_else(|| path.file_name().map(Path::new));
        name.unwrap_or(path).display().to_string()
    }

    /// The folder of all streams' states.
    pub fn streams_folder(&self) -> PathBuf {
        self.data.join("streams")
    }

    /// The folder of one stream's states.
    pub fn stream_folder(&self, id: i64) -> PathBuf {
        self.streams_folder().join(id.to_string())
    }
}

/// Makes the data folder where it is missing, for its owner alone: the journal holds images, and
/// keys stand beside it.
///
/// # Errors
/// When it cannot be made.
pub fn make_data_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
