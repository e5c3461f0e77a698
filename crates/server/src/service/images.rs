//! Images: queued in the order they come, answered when their stream has had them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Result, Service, Work};
use crate::error::ServiceError;
use crate::model::{ResultRecord, Timings};
use crate::pictures::Shown;
use crate::streams::{self, ImageJob, Job};
use crate::text;

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

impl Service {
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

    /// The recorded results of images whose idempotency key was used before; `None` where an image is to be scored.
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
