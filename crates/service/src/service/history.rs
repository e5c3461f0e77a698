//! What was scored before: reading it, judging it anew, saying what it was.

use std::sync::Arc;

use super::{Event, Result, Service};
use crate::error::ServiceError;
use crate::model::{Label, ResultQuery, ResultRecord, Scores, SnapshotInfo, ThresholdPreview};
use crate::pictures::Shown;
use crate::store::label_word;
use crate::text;

/// Results in one answer at most.
const MOST: usize = 1000;
/// Scores in one answer at most.
const MOST_SCORES: usize = 100_000;

fn milliseconds(place: &str, time: Option<&String>) -> Result<Option<i64>> {
    time.map(|text| {
        let time: jiff::Timestamp = text.parse().map_err(|_| ServiceError::Invalid {
            place: place.to_owned(),
            problem: format!(
                "`{}` is not a time such as 2026-01-31T12:00:00Z",
                text::repeated(text)
            ),
        })?;
        Ok(time.as_millisecond())
    })
    .transpose()
}

impl Service {
    fn no_result(name: &str, id: u64) -> ServiceError {
        ServiceError::NotFound {
            what: "result",
            name: format!("{name}/{id}"),
            hint: "; it may have been deleted by age".into(),
        }
    }

    /// Results of a stream, the newest first; with `after` those that came since, the oldest first.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] on a time or limit that is none.
    pub async fn results(&self, name: &str, query: ResultQuery) -> Result<Vec<ResultRecord>> {
        let handle = self.handle(name)?;
        text::IMAGE.maybe("image", query.image.as_ref())?;
        let times = (
            milliseconds("from", query.from.as_ref())?,
            milliseconds("until", query.until.as_ref())?,
        );
        let limit = query.limit.unwrap_or(100);
        if !(1..=MOST).contains(&limit) {
            return Err(ServiceError::Invalid {
                place: "limit".into(),
                problem: format!("must be from 1 to {MOST}"),
            });
        }
        let store = &self.shared.store;
        Ok(store.results(handle.id, &query, times, limit).await?)
    }

    /// One result.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`].
    pub async fn result(&self, name: &str, id: u64) -> Result<ResultRecord> {
        let handle = self.handle(name)?;
        let found = self.shared.store.result(handle.id, id).await?;
        found.ok_or_else(|| Self::no_result(name, id))
    }

    /// The last scores of a stream, in order.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], or when the database cannot be read.
    pub async fn scores(&self, name: &str, last: usize) -> Result<Scores> {
        let handle = self.handle(name)?;
        let last = last.min(MOST_SCORES);
        Ok(self.shared.store.scores(handle.id, last).await?)
    }

    /// Notes what a person says of a result.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], or when the database cannot be written.
    pub async fn feedback(
        &self,
        name: &str,
        id: u64,
        label: Option<Label>,
        note: Option<String>,
    ) -> Result<ResultRecord> {
        text::NOTE.maybe("note", note.as_ref())?;
        let handle = self.handle(name)?;
        self.result(name, id).await?;
        let sql = "UPDATE results SET feedback = $1, note = $2 WHERE stream = $3 AND entry = $4";
        let values = vec![
            label.map(label_word).into(),
            note.into(),
            handle.id.into(),
            id.into(),
        ];
        self.shared.store.write(vec![(sql, values)]).await?;
        let record = self.result(name, id).await?;
        {
            let mut view = handle.view();
            if view.last.as_ref().is_some_and(|last| last.id == id) {
                view.last = Some(record.clone());
            }
        }
        self.shared
            .tell(Event::stream(&handle.name, &handle.info()));
        Ok(record)
    }

    /// What a threshold would do to the history.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] when it is not a finite number.
    pub async fn preview(&self, name: &str, threshold: f32) -> Result<ThresholdPreview> {
        if !threshold.is_finite() {
            return Err(ServiceError::Invalid {
                place: "threshold".into(),
                problem: "must be a finite number".into(),
            });
        }
        let scores = self.scores(name, MOST_SCORES).await?;
        let judged: Vec<(bool, Option<Label>)> = scores
            .scores
            .iter()
            .zip(scores.feedback)
            .map(|(score, label)| (*score > threshold, label))
            .collect();
        let count = |which: &dyn Fn(bool, Option<Label>) -> bool| {
            let rows = judged.iter().filter(|(above, label)| which(*above, *label));
            rows.count() as u64
        };
        let called_normal = count(&|_, label| label == Some(Label::Normal));
        // A person's word is better than none; with too few words the rest must do.
        let (basis, normal): (_, &dyn Fn(Option<Label>) -> bool) = if called_normal >= 20 {
            ("feedback", &|label| label == Some(Label::Normal))
        } else {
            ("history", &|label| label != Some(Label::Defect))
        };
        let normals = count(&|_, label| normal(label));
        let alarms = count(&|above, label| above && normal(label));
        Ok(ThresholdPreview {
            threshold,
            judged: judged.len() as u64,
            anomalous: count(&|above, _| above),
            false_alarm_rate: (normals > 0).then(|| alarms as f64 / normals as f64),
            basis: basis.to_owned(),
            missed_defects: count(&|above, label| !above && label == Some(Label::Defect)),
        })
    }

    /// Picture and map of a result.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], or [`ServiceError::Gone`] where they are not kept.
    pub async fn shown(&self, name: &str, id: u64) -> Result<Arc<Shown>> {
        let handle = self.handle(name)?;
        let key = (handle.id, id);
        if let Some(shown) = self.shared.pictures.held(key) {
            return Ok(shown);
        }
        let record = self.result(name, id).await?;
        let gone = |reason: &str| ServiceError::Gone {
            what: format!("the picture of result {name}/{id}"),
            reason: reason.to_owned(),
        };
        if !record.pictures {
            return Err(gone(
                "pictures are kept for the last few results and for anomalous ones, as the service is set",
            ));
        }
        let pictures = Arc::clone(&self.shared.pictures);
        let scale = (record.result.scale_low, record.result.scale_high);
        let what = "reading a kept picture";
        let read = self.shared.compute(what, move || pictures.read(key, scale));
        let shown = read.await?.ok_or_else(|| gone("its file is missing"))?;
        let shown = Arc::new(shown);
        self.shared.pictures.hold(key, Arc::clone(&shown));
        Ok(shown)
    }

    /// The kept snapshots of a stream, the newest first.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], or when the database cannot be read.
    pub async fn snapshots(&self, name: &str) -> Result<Vec<SnapshotInfo>> {
        let handle = self.handle(name)?;
        let kept = self.shared.store.snapshots(handle.id).await?;
        Ok(kept.into_iter().map(|(info, _)| info).collect())
    }

    /// Deletes a kept snapshot.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], or when the database cannot be written.
    pub async fn delete_snapshot(&self, name: &str, id: u64) -> Result<()> {
        let handle = self.handle(name)?;
        let file = self.shared.store.snapshot_file(handle.id, id).await?;
        let sql = "DELETE FROM snapshots WHERE stream = $1 AND id = $2";
        let values = vec![handle.id.into(), id.into()];
        self.shared.store.write(vec![(sql, values)]).await?;
        let path = self.shared.settings.stream_folder(handle.id).join(file);
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "Snapshot not deleted.");
        }
        Ok(())
    }
}
