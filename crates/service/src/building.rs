//! Building components off the threads that answer requests: a bounded number at once, with a
//! deadline.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::error::ServiceError;
use crate::settings::Settings;

/// Streams whose memory is built at once; what requests build does not count.
const STREAMS: usize = 16;

/// Where components are built.
pub struct Builds {
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    deadline: Duration,
}

impl Builds {
    pub fn new(settings: &Settings) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(settings.max_builds.max(1))),
            streams: Arc::new(Semaphore::new(STREAMS)),
            deadline: settings.build_timeout,
        }
    }

    /// Waits for `work` at most as long as a request may take to build.
    ///
    /// # Errors
    /// [`ServiceError::Building`] when it takes longer.
    pub async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, ServiceError> {
        let late = |_| ServiceError::Building(self.deadline.as_secs_f64());
        timeout(self.deadline, work).await.map_err(late)?
    }

    /// Runs what a request builds. Work that has begun continues when nothing waits for it any
    /// more, and keeps its place.
    ///
    /// # Errors
    /// Those of `build`; [`ServiceError::Internal`] when it panics.
    pub async fn for_request<T: Send + 'static>(
        &self,
        build: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        run(&self.requests, build).await
    }

    /// Runs what the owner of a stream builds. It has no deadline: only this stream waits for it.
    ///
    /// # Errors
    /// As for [`for_request`](Self::for_request).
    pub async fn for_stream<T: Send + 'static>(
        &self,
        build: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        run(&self.streams, build).await
    }
}

async fn run<T: Send + 'static>(
    places: &Arc<Semaphore>,
    build: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
) -> Result<T, ServiceError> {
    let place = Arc::clone(places).acquire_owned().await;
    let work = move || {
        let built = build();
        drop(place);
        built
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        ServiceError::Internal(format!("a component could not be built: {error}"))
    })?
}
