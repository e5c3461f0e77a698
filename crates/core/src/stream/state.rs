//! The state of a stream to a file and back.

use std::path::Path;

use serde_json::Value;

use super::Stream;
use crate::config::{Difference, differences};
use crate::snapshot::{Snapshot, SnapshotError, SnapshotReader, SnapshotWriter};
use crate::{Error, Result, Slot};

impl Stream {
    /// Writes the whole state into `writer`.
    ///
    /// # Errors
    /// [`Error::Poisoned`], before anything is written.
    pub fn save_into<'a>(&'a self, writer: &mut SnapshotWriter<'a>) -> Result<()> {
        self.whole()?;
        writer.value("rareclip", env!("CARGO_PKG_VERSION"));
        writer.value("detector", &self.config);
        writer.value("identity", &self.identity);
        writer.value("sequence", &self.sequence);
        writer.value("absorbed_queries", &self.absorbed_queries);
        writer.value("fitted", &self.fitted);
        writer.scoped("update", |writer| self.gate.save(writer));
        writer.scoped("calibration", |writer| self.calibrator.save(writer));
        writer.scoped("scorer", |writer| self.scorer.save(writer));
        if let Some(bank) = &self.bank {
            writer.scoped("bank", |writer| bank.save(writer));
        }
        Ok(())
    }

    /// Writes the state to a file, atomically.
    ///
    /// # Errors
    /// [`Error::Snapshot`] or [`Error::Poisoned`]; an older file stays whole.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut writer = SnapshotWriter::new();
        self.save_into(&mut writer)?;
        Ok(writer.write(path)?)
    }

    /// This stream, just opened, with the state that was saved in a file. The policy of the
    /// calibration stays that of the config.
    ///
    /// # Errors
    /// [`Error::Snapshot`] or [`Error::StateMismatch`].
    pub fn restore(self, path: &Path) -> Result<Self> {
        let snapshot = Snapshot::read(path)?;
        let mut reader = snapshot.reader()?;
        self.restore_from(path, &mut reader)
    }

    /// [`restore`](Self::restore) from entries already read; `path` is for messages.
    ///
    /// # Errors
    /// As for [`restore`](Self::restore).
    pub fn restore_from(mut self, path: &Path, reader: &mut SnapshotReader<'_>) -> Result<Self> {
        let identity: Value = reader.value("identity")?;
        if identity != self.identity {
            let told = differences(&identity, &self.identity).into_iter();
            let told = told.map(|Difference { key, was, is }| format!("{key} was {was}, is {is}"));
            return Err(Error::StateMismatch {
                path: path.to_owned(),
                difference: told.collect::<Vec<_>>().join(", "),
            });
        }
        self.changes += 1;
        self.poisoned = None;
        self.sequence = count(reader, "sequence")?;
        self.absorbed_queries = count(reader, "absorbed_queries")?;
        self.fitted = reader.value("fitted")?;
        reader.scoped("update", |reader| self.gate.load(reader))?;
        reader.scoped("calibration", |reader| self.calibrator.load(reader))?;
        let of_component = |slot, name: &str, source| Error::Component {
            slot,
            name: name.to_owned(),
            source,
        };
        let scorer = self.scorer;
        let scorer = reader.scoped("scorer", |reader| scorer.restore(reader));
        let name = self.config.scorer.name();
        self.scorer = scorer.map_err(|error| of_component(Slot::Scorer, name, error))?;
        if let (Some(bank), Some(options)) = (self.bank.take(), &self.config.bank) {
            let bank = reader.scoped("bank", |reader| bank.restore(reader));
            let bank = bank.map_err(|error| of_component(Slot::Bank, options.name(), error))?;
            self.bank = Some(bank);
        }
        Ok(self)
    }
}

/// A number of images, which no stream reaches that counts from 0.
fn count(reader: &SnapshotReader<'_>, name: &str) -> Result<u64> {
    const MOST: u64 = 1 << 53;
    let count = reader.value(name)?;
    if count > MOST {
        let problem = format!("found {count}, expected at most {MOST}");
        let name = name.to_owned();
        return Err(SnapshotError::Entry { name, problem }.into());
    }
    Ok(count)
}
