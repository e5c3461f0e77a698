//! Streams: making them, changing them, calibrating them, taking and bringing back their state.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use rareclip_core::Learning;
use rareclip_core::calibration::CalibrationConfig;

use super::{Event, Result, Service};
use crate::custom::Origin;
use crate::error::ServiceError;
use crate::model::{
    Calibrate, Condition, DetectorChoice, Label, NewStream, SnapshotInfo, StreamInfo,
};
use crate::store::StreamRow;
use crate::streams;
use crate::streams::{Change, Figures, Job, Shared, StateExport, View, now};
use crate::submission::{Submission, SubmitOptions};
use crate::text::{self, Text};

impl Service {
    /// Creates a stream; `false` where it was there with the same detector.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] where it was there with another one; [`ServiceError::Invalid`] on
    /// a name, detector or calibration that cannot be.
    pub async fn create(&self, new: NewStream) -> Result<(StreamInfo, bool)> {
        self.running()?;
        check_name(&new.name)?;
        if let Some(detector) = &new.detector {
            check_detector(detector)?;
        }
        if let Some(policy) = &new.calibration {
            check_policy(policy)?;
        }
        let detector = new.detector.unwrap_or_else(|| {
            let first = self.detectors.named().first();
            DetectorChoice::Name(first.map(|entry| entry.name.clone()).unwrap_or_default())
        });
        let Shared {
            settings, builds, ..
        } = &*self.shared;
        let choice = self
            .detectors
            .choose(&detector, Origin::Request, settings, builds);
        let entry = choice.await?;
        if entry.detector.learning() == Learning::Batch {
            return Err(rareclip_core::Error::NeedsBatch {
                bank: entry.name.clone(),
            }
            .into());
        }
        if let Some(info) = self.existing(&new.name, &entry.name)? {
            return Ok((info, false));
        }
        // Before anything is locked: it may take long.
        let (opened, policy) = (Arc::clone(&entry), new.calibration.clone());
        let describe = move || {
            let mut empty = opened.detector.open_stream()?;
            if let Some(policy) = policy {
                empty.calibrator_mut().set_policy(policy);
            }
            Ok(Figures::of(&empty))
        };
        let figures = builds.in_time(builds.for_request(describe)).await?;
        let _roll = self.roll.lock().await;
        if let Some(info) = self.existing(&new.name, &entry.name)? {
            return Ok((info, false));
        }
        let limit = self.settings().max_streams;
        if self.handles().len() >= limit {
            return Err(ServiceError::TooManyStreams { limit });
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
        let view = View {
            detector: entry.name.clone(),
            created_at: row.created_at,
            images: 0,
            results: 0,
            frozen: false,
            condition: Condition::Stored,
            notice: None,
            figures,
            skipped: 0,
            last: None,
        };
        let handle = self.start_owner(row, Ok(entry), view);
        let info = handle.info();
        self.shared.tell(Event::stream(&handle.name, &info));
        Ok((info, true))
    }

    /// The stream `name` where it is there with this detector.
    fn existing(&self, name: &str, detector: &str) -> Result<Option<StreamInfo>> {
        let Ok(there) = self.handle(name) else {
            return Ok(None);
        };
        let info = there.info();
        if info.detector == detector {
            return Ok(Some(info));
        }
        Err(ServiceError::Conflict(format!(
            "stream `{name}` is there with detector `{}`: delete it first, or choose another name",
            info.detector
        )))
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
        check_policy(&CalibrationConfig::FalseAlarmRate { rate })?;
        let options = SubmitOptions {
            update: false,
            ..SubmitOptions::default()
        };
        let mut references = Vec::new();
        for scored in self.submit(name, images, options).await? {
            let record = scored?.record;
            references.push((record.result.score, record.result.map_median));
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
        if let (state, None) = tried.state() {
            return Err(ServiceError::Invalid {
                place: "calibration".into(),
                problem: format!("{state}; give more normals, or bear a higher rate than {rate}"),
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
        text::NOTE.maybe("note", note.as_ref())?;
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

    /// A stream's state as an open file, for answers that take long to be read.
    ///
    /// # Errors
    /// When the memory cannot be loaded or written to disk.
    pub async fn export_file(&self, name: &str) -> Result<StateExport> {
        self.handle(name)?.ask(Job::ExportFile).await
    }

    /// Whether one more stream, called `name`, could be created now.
    ///
    /// # Errors
    /// As for [`create`](Self::create), but for what only building the stream shows.
    pub fn check_new(&self, name: &str) -> Result<()> {
        check_name(name)?;
        let limit = self.settings().max_streams;
        if self.handles().len() >= limit {
            return Err(ServiceError::TooManyStreams { limit });
        }
        Ok(())
    }

    /// Decodes images as the detector `detector` would until one can be decoded. Nothing is kept of
    /// it.
    ///
    /// # Errors
    /// What is wrong with the first image, where none can be decoded.
    pub async fn check_decodes(&self, detector: &str, images: &[Submission]) -> Result<()> {
        let entry = self.detectors.find(detector)?;
        let mut wrong = None;
        for (position, image) in images.iter().enumerate() {
            let name = image
                .name
                .clone()
                .unwrap_or_else(|| format!("{}", position + 1));
            match streams::decode(&self.shared, entry, image.bytes.clone(), name).await {
                Ok(_) => return Ok(()),
                Err(error) => wrong = wrong.or(Some(error)),
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    /// Goes on from a state file.
    ///
    /// # Errors
    /// When it is damaged or belongs to another detector; nothing is changed then.
    pub async fn import(&self, name: &str, state: Bytes) -> Result<StreamInfo> {
        self.change(name, Change::Import(state)).await
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
            "`{}` is not a name for a stream: 1 to 64 letters, digits, `-`, `_` or `.`, the first a letter or digit",
            text::repeated(name)
        ),
    })
}

/// Checks the text that a request gives for a detector: it is stored and shown.
fn check_detector(choice: &DetectorChoice) -> Result<()> {
    match choice {
        DetectorChoice::Name(name) => text::NAME.check("detector", name),
        DetectorChoice::Config(table) => table.iter().try_for_each(|(key, value)| {
            let rule = match key.as_str() {
                "name" => text::DETECTOR,
                "description" => text::DESCRIPTION,
                _ => text::OPTION,
            };
            text::NAME.check("detector: the name of a key", key)?;
            check_texts(&format!("detector.{key}"), value, rule)
        }),
    }
}

fn check_texts(place: &str, value: &serde_json::Value, rule: Text) -> Result<()> {
    use serde_json::Value;
    match value {
        Value::String(text) => rule.check(place, text),
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| check_texts(place, item, rule)),
        Value::Object(table) => table.iter().try_for_each(|(key, item)| {
            text::NAME.check(&format!("{place}: the name of a key"), key)?;
            check_texts(&format!("{place}.{key}"), item, rule)
        }),
        _ => Ok(()),
    }
}

fn check_policy(policy: &CalibrationConfig) -> Result<()> {
    policy.check().map_err(|error| {
        let problems = error.problems.into_iter();
        let (places, problems): (Vec<_>, Vec<_>) =
            problems.map(|one| (one.key, one.message)).unzip();
        ServiceError::Invalid {
            place: places.join(", "),
            problem: problems.join("; "),
        }
    })
}
