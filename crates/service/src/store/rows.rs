//! The rows of the tables as plain data, and the statements that write and read them.

use std::sync::Arc;

use bytes::Bytes;
use rareclip_core::Verdict;
use rareclip_core::calibration::CalibrationConfig;

use super::{Row, Statement, Store, Value};
use crate::error::{ServiceError, StoreError};
use crate::model::{DetectorChoice, Label, ResultQuery, ResultRecord, Scores, SnapshotInfo};

/// A state file and the last journal entry that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateFile {
    pub file: String,
    pub entry: u64,
}

/// A stream as it stands in the database.
#[derive(Debug, Clone)]
pub(crate) struct StreamRow {
    pub id: i64,
    pub name: String,
    pub detector: DetectorChoice,
    pub calibration: Option<CalibrationConfig>,
    pub created_at: i64,
    pub frozen: bool,
    pub last_entry: u64,
    pub images: u64,
    /// What was known of it when it was last written out, as JSON.
    pub view: Option<String>,
    /// Without one the stream begins empty.
    pub state: Option<StateFile>,
    /// The state before that, from which the journal leads to the same end.
    pub previous: Option<StateFile>,
}

/// An image that was acknowledged.
pub(crate) struct JournalEntry {
    pub entry: u64,
    /// A known normal rather than an image that was scored.
    pub normal: bool,
    /// Whether the memory absorbed it, or the calibration alone.
    pub learn: bool,
    pub image: Bytes,
}

/// A result to be written.
pub(crate) struct NewResult<'a> {
    pub record: &'a ResultRecord,
    pub at: i64,
    pub key: Option<&'a str>,
    pub digest: Option<&'a str>,
}

const RESULT: &str = "entry, sequence, at, image, score, raw_score, p_value, verdict, threshold, calibration, map_median, \
    scale_low, scale_high, remembered, feedback, note, pictures";

/// Milliseconds since 1970 as RFC 3339.
pub(crate) fn time(at: i64) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |time| time.to_string())
}

fn unknown(what: &str, found: &str) -> StoreError {
    StoreError::Failed {
        place: "database".into(),
        problem: format!(
            "unknown {what} {found:?}: a newer version of rareclip may have written it"
        ),
    }
}

fn verdict(text: &str) -> Result<Verdict, StoreError> {
    match text {
        "anomalous" => Ok(Verdict::Anomalous),
        "normal" => Ok(Verdict::Normal),
        "uncalibrated" => Ok(Verdict::Uncalibrated),
        other => Err(unknown("verdict", other)),
    }
}

fn label(text: Option<String>) -> Result<Option<Label>, StoreError> {
    match text.as_deref() {
        None => Ok(None),
        Some("normal") => Ok(Some(Label::Normal)),
        Some("defect") => Ok(Some(Label::Defect)),
        Some(other) => Err(unknown("label", other)),
    }
}

/// How a label stands in the database.
pub(crate) fn label_word(label: Label) -> &'static str {
    match label {
        Label::Normal => "normal",
        Label::Defect => "defect",
    }
}

fn record(mut row: Row) -> Result<ResultRecord, StoreError> {
    // The columns of RESULT in their order.
    let (id, sequence) = (row.count()?, row.count()?);
    Ok(ResultRecord {
        id,
        at: time(row.int()?),
        image: row.maybe_text()?,
        result: rareclip_pipeline::ResultRecord {
            sequence,
            score: row.float()?,
            raw_score: row.float()?,
            p_value: row.maybe_real()?,
            verdict: verdict(&row.text()?)?,
            threshold: row.maybe_float()?,
            calibration: row.text()?,
            map_median: row.float()?,
            scale_low: row.float()?,
            scale_high: row.float()?,
            remembered: row.flag()?,
        },
        feedback: label(row.maybe_text()?)?,
        note: row.maybe_text()?,
        pictures: row.flag()?,
    })
}

fn json<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Failed {
        place: "database".into(),
        problem: format!("{what}: {error}"),
    })
}

fn stream_row(mut row: Row) -> Result<StreamRow, StoreError> {
    let id = row.int()?;
    let name = row.text()?;
    let detector = json(&row.text()?, "detector of a stream")?;
    let calibration = row.maybe_text()?;
    let created_at = row.int()?;
    let frozen = row.flag()?;
    let last_entry = row.count()?;
    let images = row.count()?;
    let view = row.maybe_text()?;
    let (state, entry) = (row.maybe_text()?, row.count()?);
    let (previous, previous_entry) = (row.maybe_text()?, row.maybe_count()?);
    Ok(StreamRow {
        id,
        name,
        detector,
        calibration: calibration
            .map(|text| json(&text, "calibration of a stream"))
            .transpose()?,
        created_at,
        frozen,
        last_entry,
        images,
        view,
        state: state.map(|file| StateFile { file, entry }),
        previous: previous
            .zip(previous_entry)
            .map(|(file, entry)| StateFile { file, entry }),
    })
}

impl StreamRow {
    /// Creates the stream.
    pub(crate) fn insert(&self) -> Vec<Statement> {
        let detector = serde_json::to_string(&self.detector).unwrap_or_default();
        let calibration = self
            .calibration
            .as_ref()
            .and_then(|policy| serde_json::to_string(policy).ok());
        vec![
            (
                "INSERT INTO streams (id, name, detector, calibration, created_at, frozen, last_entry, images, state_entry) \
                 VALUES ($1, $2, $3, $4, $5, 0, 0, 0, 0)",
                vec![
                    self.id.into(),
                    self.name.as_str().into(),
                    detector.into(),
                    calibration.into(),
                    self.created_at.into(),
                ],
            ),
            (
                "UPDATE meta SET number = $1 WHERE name = 'next_stream'",
                vec![(self.id + 1).into()],
            ),
        ]
    }

    /// Deletes the stream `id` and all that belongs to it.
    pub(crate) fn delete(id: i64) -> Vec<Statement> {
        [
            "DELETE FROM journal WHERE stream = $1",
            "DELETE FROM results WHERE stream = $1",
            "DELETE FROM snapshots WHERE stream = $1",
            "DELETE FROM streams WHERE id = $1",
        ]
        .into_iter()
        .map(|sql| (sql, vec![Value::Int(id)]))
        .collect()
    }
}

/// An image into the journal. `images` is how many the stream has been shown after it.
pub(crate) fn append(stream: i64, entry: JournalEntry, images: u64) -> Vec<Statement> {
    let role = if entry.normal { "normal" } else { "query" };
    vec![
        (
            "INSERT INTO journal (stream, entry, role, learn, image) VALUES ($1, $2, $3, $4, $5)",
            vec![
                stream.into(),
                entry.entry.into(),
                role.into(),
                entry.learn.into(),
                entry.image.into(),
            ],
        ),
        (
            "UPDATE streams SET last_entry = $1, images = $2 WHERE id = $3",
            vec![entry.entry.into(), images.into(), stream.into()],
        ),
    ]
}

/// A result into the history.
pub(crate) fn insert_result(stream: i64, new: &NewResult<'_>) -> Statement {
    let record = new.record;
    (
        "INSERT INTO results (stream, entry, sequence, at, image, idempotency_key, digest, score, raw_score, p_value, verdict, \
         threshold, calibration, map_median, scale_low, scale_high, remembered, pictures, picture_bytes) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, 0)",
        vec![
            stream.into(),
            record.id.into(),
            record.result.sequence.into(),
            new.at.into(),
            record.image.clone().into(),
            new.key.into(),
            new.digest.into(),
            record.result.score.into(),
            record.result.raw_score.into(),
            record.result.p_value.into(),
            record.result.verdict.to_string().into(),
            record.result.threshold.into(),
            record.result.calibration.as_str().into(),
            record.result.map_median.into(),
            record.result.scale_low.into(),
            record.result.scale_high.into(),
            record.result.remembered.into(),
            record.pictures.into(),
        ],
    )
}

impl Store {
    /// Every stream.
    pub(crate) async fn streams(self: &Arc<Self>) -> Result<Vec<StreamRow>, StoreError> {
        let sql = "SELECT id, name, detector, calibration, created_at, frozen, last_entry, images, view, \
                   state_file, state_entry, previous_file, previous_entry FROM streams ORDER BY id";
        let rows = self.read(sql, Vec::new()).await?;
        rows.into_iter().map(stream_row).collect()
    }

    /// The number of the next stream.
    pub(crate) async fn next_stream(self: &Arc<Self>) -> Result<i64, StoreError> {
        let sql = "SELECT number FROM meta WHERE name = 'next_stream'";
        let mut rows = self.read(sql, Vec::new()).await?;
        rows.pop().map_or(Ok(1), |mut row| row.int())
    }

    /// The first journal entry of a stream after `entry`.
    pub(crate) async fn journal_after(
        self: &Arc<Self>,
        stream: i64,
        entry: u64,
    ) -> Result<Option<JournalEntry>, StoreError> {
        let sql = "SELECT entry, role, learn, image FROM journal WHERE stream = $1 AND entry > $2 ORDER BY entry LIMIT 1";
        let mut rows = self.read(sql, vec![stream.into(), entry.into()]).await?;
        let Some(mut row) = rows.pop() else {
            return Ok(None);
        };
        Ok(Some(JournalEntry {
            entry: row.count()?,
            normal: row.text()? == "normal",
            learn: row.flag()?,
            image: row.bytes()?,
        }))
    }

    /// How many results a stream has.
    pub(crate) async fn count_results(self: &Arc<Self>, stream: i64) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) FROM results WHERE stream = $1";
        let mut rows = self.read(sql, vec![stream.into()]).await?;
        rows.pop().map_or(Ok(0), |mut row| row.count())
    }

    /// The result that an idempotency key stands for, with the digest of its image.
    pub(crate) async fn by_key(
        self: &Arc<Self>,
        stream: i64,
        key: &str,
    ) -> Result<Option<(ResultRecord, Option<String>)>, StoreError> {
        let sql = format!(
            "SELECT digest, {RESULT} FROM results WHERE stream = $1 AND idempotency_key = $2"
        );
        let mut rows = self.read(sql, vec![stream.into(), key.into()]).await?;
        let Some(mut row) = rows.pop() else {
            return Ok(None);
        };
        let digest = row.maybe_text()?;
        Ok(Some((record(row)?, digest)))
    }

    /// One result.
    pub(crate) async fn result(
        self: &Arc<Self>,
        stream: i64,
        id: u64,
    ) -> Result<Option<ResultRecord>, StoreError> {
        let sql = format!("SELECT {RESULT} FROM results WHERE stream = $1 AND entry = $2");
        let mut rows = self.read(sql, vec![stream.into(), id.into()]).await?;
        rows.pop().map(record).transpose()
    }

    /// Results of a stream, the newest first; with `after` the oldest first. `from` and `until` are
    /// milliseconds since 1970.
    pub(crate) async fn results(
        self: &Arc<Self>,
        stream: i64,
        query: &ResultQuery,
        (from, until): (Option<i64>, Option<i64>),
        limit: usize,
    ) -> Result<Vec<ResultRecord>, StoreError> {
        let mut sql = format!("SELECT {RESULT} FROM results WHERE stream = $1");
        let mut values: Vec<Value> = vec![stream.into()];
        let mut add = |condition: &str, value: Option<Value>| {
            if let Some(value) = value {
                values.push(value);
                sql.push_str(&format!(" AND {condition} ${}", values.len()));
            }
        };
        // A part of a name, in which no character means anything but itself.
        let pattern = query.image.as_ref().map(|part| {
            let part = part.replace('\\', "\\\\");
            format!("%{}%", part.replace('%', "\\%").replace('_', "\\_"))
        });
        add("verdict =", query.verdict.map(|v| v.to_string().into()));
        add("feedback =", query.feedback.map(|l| label_word(l).into()));
        add("score >=", query.min_score.map(Into::into));
        add("score <=", query.max_score.map(Into::into));
        add("at >=", from.map(Into::into));
        add("at <", until.map(Into::into));
        add("entry <", query.before.map(Into::into));
        add("entry >", query.after.map(Into::into));
        add("pictures =", query.pictures.map(Into::into));
        add("image LIKE", pattern.map(Into::into));
        if query.image.is_some() {
            sql.push_str(" ESCAPE '\\'");
        }
        let order = if query.after.is_some() { "ASC" } else { "DESC" };
        values.push(limit.into());
        sql.push_str(&format!(" ORDER BY entry {order} LIMIT ${}", values.len()));
        let rows = self.read(sql, values).await?;
        rows.into_iter().map(record).collect()
    }

    /// The last scores of a stream, in order.
    pub(crate) async fn scores(
        self: &Arc<Self>,
        stream: i64,
        last: usize,
    ) -> Result<Scores, StoreError> {
        let sql = "SELECT entry, score, verdict, feedback FROM results WHERE stream = $1 ORDER BY entry DESC LIMIT $2";
        let rows = self.read(sql, vec![stream.into(), last.into()]).await?;
        let mut scores = Scores::default();
        for mut row in rows.into_iter().rev() {
            scores.ids.push(row.count()?);
            scores.scores.push(row.float()?);
            scores.verdicts.push(verdict(&row.text()?)?);
            scores.feedback.push(label(row.maybe_text()?)?);
        }
        Ok(scores)
    }

    /// Scores and map medians of results with this feedback, or, without one, of the last ones that
    /// no one called a defect.
    pub(crate) async fn references(
        self: &Arc<Self>,
        stream: i64,
        feedback: Option<Label>,
        last: usize,
    ) -> Result<Vec<(f32, f32)>, StoreError> {
        let condition = match feedback {
            Some(Label::Normal) => "feedback = 'normal'",
            Some(Label::Defect) => "feedback = 'defect'",
            None => "(feedback IS NULL OR feedback = 'normal')",
        };
        let sql = format!(
            "SELECT score, map_median FROM results WHERE stream = $1 AND {condition} ORDER BY entry DESC LIMIT $2"
        );
        let rows = self.read(sql, vec![stream.into(), last.into()]).await?;
        rows.into_iter()
            .map(|mut row| Ok((row.float()?, row.float()?)))
            .collect()
    }

    /// The file of a kept snapshot.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], or when the database cannot be read.
    pub(crate) async fn snapshot_file(
        self: &Arc<Self>,
        stream: i64,
        id: u64,
    ) -> Result<String, ServiceError> {
        let sql = "SELECT file FROM snapshots WHERE stream = $1 AND id = $2";
        let mut rows = self.read(sql, vec![stream.into(), id.into()]).await?;
        let mut row = rows.pop().ok_or_else(|| ServiceError::NotFound {
            what: "snapshot",
            name: id.to_string(),
            hint: String::new(),
        })?;
        Ok(row.text()?)
    }

    /// The kept snapshots of a stream with their files, the newest first.
    pub(crate) async fn snapshots(
        self: &Arc<Self>,
        stream: i64,
    ) -> Result<Vec<(SnapshotInfo, String)>, StoreError> {
        let sql = "SELECT id, at, images, bytes, note, file FROM snapshots WHERE stream = $1 ORDER BY id DESC";
        let rows = self.read(sql, vec![stream.into()]).await?;
        rows.into_iter()
            .map(|mut row| {
                let info = SnapshotInfo {
                    id: row.count()?,
                    at: time(row.int()?),
                    images: row.count()?,
                    bytes: row.count()?,
                    note: row.maybe_text()?,
                };
                Ok((info, row.text()?))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_or_label_that_is_not_known_is_an_error_that_shows_it() {
        assert_eq!(verdict("anomalous").unwrap(), Verdict::Anomalous);
        assert_eq!(label(None).unwrap(), None);
        let error = verdict("borderline").unwrap_err().to_string();
        assert!(error.contains("verdict \"borderline\""), "{error}");
        let error = label(Some("unsure".into())).unwrap_err().to_string();
        assert!(error.contains("label \"unsure\""), "{error}");
    }
}
