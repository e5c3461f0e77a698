//! A stream as the service knows it.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::job::{Job, Reply, Work};
use super::view::View;
use crate::entry::Entry;
use crate::error::ServiceError;
use crate::model::StreamInfo;

/// A stream as the service knows it.
pub(crate) struct Handle {
    pub id: i64,
    pub name: Arc<str>,
    /// Missing where the service was started without it.
    pub entry: Result<Arc<Entry>, String>,
    pub jobs: mpsc::UnboundedSender<Job>,
    /// Where images go to be decoded and encoded.
    pub lane: mpsc::UnboundedSender<Work>,
    /// Held while a request's images are queued, so that they stay together.
    pub arrival: Mutex<()>,
    pub waiting: AtomicUsize,
    view: Mutex<View>,
}

impl Handle {
    pub(crate) fn new(
        id: i64,
        name: &str,
        entry: Result<Arc<Entry>, String>,
        jobs: mpsc::UnboundedSender<Job>,
        lane: mpsc::UnboundedSender<Work>,
        view: View,
    ) -> Self {
        Self {
            id,
            name: name.into(),
            entry,
            jobs,
            lane,
            arrival: Mutex::default(),
            waiting: AtomicUsize::new(0),
            view: Mutex::new(view),
        }
    }

    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream as it is.
    pub(crate) fn info(&self) -> StreamInfo {
        let waiting = self.waiting.load(std::sync::atomic::Ordering::Relaxed);
        self.view().info(&self.name, waiting)
    }

    /// Asks the owner for something and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        job: impl FnOnce(Reply<T>) -> Job,
    ) -> Result<T, ServiceError> {
        let (reply, answer) = oneshot::channel();
        let gone = |_| ServiceError::NotFound {
            what: "stream",
            name: self.name.to_string(),
            hint: "; it was deleted".into(),
        };
        self.jobs.send(job(reply)).map_err(|_| gone(()))?;
        answer.await.map_err(|_| gone(()))?
    }
}
