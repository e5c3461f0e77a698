//! An image in its stream: assessed, written down, absorbed, answered - in this order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use rareclip_core::{Assessed, Features, Learning, Outcome, PushOptions, Stream, Verdict};
use rareclip_pipeline::{Encoded, Stage, StageTimes};
use sha2::{Digest, Sha256};

use super::job::{ImageJob, Ready};
use super::record::record;
use super::{Owner, Shared, now};
use crate::clean::Logged;
use crate::error::{ServiceError, StoreError};
use crate::metrics::{StreamLabels, VerdictLabels};
use crate::model::{ResultRecord, Timings};
use crate::pictures::{Key, Shown};
use crate::service::Event;
use crate::settings::KeepPictures;
use crate::store::{JournalEntry, NewResult, append, insert_result};
use crate::submission::Submitted;

fn digest_of(image: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(image))
}

/// The result that is recorded under an idempotency key of a stream; `None` if there is none.
///
/// # Errors
/// [`ServiceError::Conflict`] if it is that of another image; [`ServiceError::Store`] if it cannot
/// be read.
pub(crate) async fn replay(
    shared: &Shared,
    stream: i64,
    key: &str,
    image: &Bytes,
) -> Result<Option<Submitted>, ServiceError> {
    let Some((record, earlier)) = shared.store.by_key(stream, key).await? else {
        return Ok(None);
    };
    let image = image.clone();
    let digest = tokio::task::spawn_blocking(move || digest_of(&image)).await;
    let digest = digest.map_err(|error| ServiceError::Internal(error.to_string()))?;
    match earlier == Some(digest) {
        true => Ok(Some(Submitted::replayed(record))),
        false => Err(ServiceError::Conflict(format!(
            "idempotency key `{key}` was used for another image: give every image its own key"
        ))),
    }
}

impl Owner {
    pub(super) async fn image(&mut self, mut job: ImageJob) {
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
        // Looked up again: the image of this key may have been under way when this one arrived.
        if let Some(key) = &job.key
            && let Some(replay) = replay(&self.shared, self.id, key, &job.bytes).await?
        {
            return Ok(replay);
        }
        let digest = job.key.as_ref().map(|_| digest_of(&job.bytes));
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

    /// A known normal: remembered first, then written down; a memory that could not be written down
    /// is given up.
    async fn show_normal(
        &mut self,
        job: &ImageJob,
        ready: Ready,
    ) -> Result<Submitted, ServiceError> {
        let Ready {
            encoded: Encoded { features, .. },
            window,
            ..
        } = ready;
        let shown = self
            .with_memory(move |stream| {
                let shown = stream.push_normal(&features);
                drop(window);
                shown
            })
            .await?;
        if let Err(error @ rareclip_core::Error::LateNormal { .. }) = shown {
            // Refused before anything was changed.
            return Err(error.into());
        }
        let images = self.memory.as_ref().map_or(0, Stream::sequence);
        let written = match shown {
            Err(error) => Err(error.into()),
            Ok(()) => {
                let entry = JournalEntry {
                    entry: self.last_entry + 1,
                    normal: true,
                    learn: true,
                    image: job.bytes.clone(),
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
        let Encoded {
            features,
            time,
            batch,
        } = ready.encoded;
        let mut times = StageTimes::default();
        times.add(Stage::Queue, ready.queued);
        times.add_encode(time);
        let (features, assessed) = self.assess(features, options, &mut times).await?;
        let at = now();
        let keep = match self.shared.settings.keep_pictures {
            KeepPictures::All => true,
            KeepPictures::None => false,
            KeepPictures::Anomalous => assessed.outcome().judgement.verdict == Verdict::Anomalous,
        };
        let mut record = record(
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
                    times.add(Stage::Store, start.elapsed());
                    self.absorb(features, assessed, &mut times).await?;
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
            record.result.remembered = false;
            record.pictures = false;
        }
        let total = job.arrived.elapsed();
        self.shared.metrics.timings(&times, total);
        Ok(Submitted {
            record,
            recorded,
            replayed: false,
            notice,
            timings: Timings::of(&times, batch, total),
            shown: job.keep_shown.then_some(shown),
        })
    }

    /// The outcome of an image; the memory stays as it is.
    async fn assess(
        &mut self,
        features: Features,
        options: PushOptions,
        times: &mut StageTimes,
    ) -> Result<(Features, Assessed), ServiceError> {
        self.make_ready().await?;
        let mut so_far = *times;
        let (features, assessed, so_far) = self
            .with_memory(move |stream| {
                let assessed = stream.assess(&features, options, &mut |slot, time| {
                    so_far.add(slot, time);
                });
                (features, assessed, so_far)
            })
            .await?;
        *times = so_far;
        Ok((features, assessed?))
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
            image: job.bytes.clone(),
        };
        let mut statements = append(self.id, entry, record.result.sequence + 1);
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
        times: &mut StageTimes,
    ) -> Result<(), ServiceError> {
        self.last_entry += 1;
        self.unsaved += 1;
        let mut so_far = *times;
        let done = self
            .with_memory(move |stream| {
                let mut observe = |slot, time| so_far.add(slot, time);
                let absorbed = stream.absorb(&features, assessed, &mut observe);
                let learns =
                    stream.bank_status().is_some() && stream.learning() == Learning::Online;
                absorbed.map(|outcome: Outcome| (learns && !outcome.remembered, so_far))
            })
            .await;
        let skipped = match done.and_then(|absorbed| Ok(absorbed?)) {
            Ok((skipped, so_far)) => {
                *times = so_far;
                skipped
            }
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
            tracing::error!(stream = %self.handle.name, entry, error = %Logged(&error), "Entry not taken back.");
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
                verdict: record.result.verdict.to_string(),
            })
            .inc();
        metrics
            .scores
            .get_or_create(&StreamLabels { stream })
            .observe(f64::from(record.result.score));
        let key = (self.id, record.id);
        self.shared.pictures.hold(key, Arc::clone(shown));
        if record.pictures {
            self.keep_pictures(key, Arc::clone(shown));
        }
        self.shared.tell(Event::result(&self.handle.name, record));
        if drifting
            && record
                .result
                .sequence
                .is_multiple_of(rareclip_core::calibration::RECENT as u64)
        {
            self.tell();
        }
    }

    /// Writes picture and map beside the answer's way. That they cannot be written is logged; the
    /// result stands.
    fn keep_pictures(&self, key: Key, shown: Arc<Shown>) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let pictures = Arc::clone(&shared.pictures);
            let kept = shared
                .compute("keeping a picture", move || pictures.keep(key, &shown))
                .await;
            let (sql, values) = match kept.and_then(|kept| kept) {
                Ok(bytes) => (
                    "UPDATE results SET picture_bytes = $1 WHERE stream = $2 AND entry = $3",
                    vec![bytes.into(), key.0.into(), key.1.into()],
                ),
                Err(error) => {
                    tracing::warn!(error = %Logged(&error), "Picture not kept.");
                    (
                        "UPDATE results SET pictures = 0 WHERE stream = $1 AND entry = $2",
                        vec![key.0.into(), key.1.into()],
                    )
                }
            };
            if let Err(error) = shared.store.write(vec![(sql, values)]).await {
                tracing::warn!(error = %Logged(&error), "Size of a kept picture not noted.");
            }
        });
    }
}
