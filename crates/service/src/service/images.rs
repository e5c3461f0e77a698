//! Images: queued in the order they come, answered when their stream has had them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::{Result, Service};
use crate::error::ServiceError;
use crate::streams::Work;
use crate::streams::{self, ImageJob, Job};
use crate::submission::{Submission, SubmitOptions, Submitted};
use crate::text;

impl Service {
    /// Scores images in the order given, after all that the stream was sent before. All are
    /// admitted, or none. An image is given up without a trace when this future is dropped before
    /// its update has begun.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], [`ServiceError::Busy`], [`ServiceError::TooLarge`],
    /// [`ServiceError::Invalid`]; what is wrong with a single image stands in its place of the
    /// answer.
    pub async fn submit(
        &self,
        name: &str,
        images: Vec<Submission>,
        options: SubmitOptions,
    ) -> Result<Vec<Result<Submitted>>> {
        self.queue(name, images, options, false).await
    }

    pub(super) async fn queue(
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
            .map_err(|problem| ServiceError::NoDetector {
                stream: name.to_owned(),
                problem,
            })?;
        check_submissions(&images)?;
        // A replay costs no place in the queue, no decoding and no backbone pass.
        let replays = self.replays(handle.id, &images).await;
        let images: Vec<(usize, Submission)> = images
            .into_iter()
            .enumerate()
            .filter(|(at, _)| replays[*at].is_none())
            .collect();
        let mut places = self.admission.admit(images.len())?;
        let mut answers = Vec::with_capacity(images.len());
        {
            let _together = handle
                .arrival
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for (at, image) in images {
                let (send_ready, ready) = oneshot::channel();
                let (reply, answer) = oneshot::channel();
                let arrived = Instant::now();
                // The lane ends with the stream; the channel of the answer then says so.
                let _ = handle.lane.send(Work {
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
        let gone = || match self.stopping.load(Ordering::Relaxed) {
            true => ServiceError::Stopping,
            false => ServiceError::NotFound {
                what: "stream",
                name: name.to_owned(),
                hint: "; it was deleted".into(),
            },
        };
        let mut answers = answers.into_iter();
        let mut done = Vec::with_capacity(replays.len());
        for replay in replays {
            done.push(match replay {
                Some(result) => result,
                None => match answers.next() {
                    Some(answer) => answer.await.unwrap_or_else(|_| Err(gone())),
                    None => Err(gone()),
                },
            });
        }
        Ok(done)
    }

    /// The recorded results of images whose idempotency key was used before; `None` where an image
    /// is to be scored.
    async fn replays(&self, stream: i64, images: &[Submission]) -> Vec<Option<Result<Submitted>>> {
        let mut replays = Vec::with_capacity(images.len());
        for image in images {
            let found = match &image.key {
                None => Ok(None),
                Some(key) => streams::replay(&self.shared, stream, key, &image.bytes).await,
            };
            replays.push(match found {
                Ok(replay) => replay.map(Ok),
                Err(error @ ServiceError::Conflict(_)) => Some(Err(error)),
                // The owner of the stream looks again, and answers with the error if it persists.
                Err(_) => None,
            });
        }
        replays
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
        if let Some(key) = &image.key {
            text::KEY.check("idempotency key", key)?;
        }
        if let Some(name) = &image.name {
            text::IMAGE.check("image name", name)?;
        }
    }
    Ok(())
}
