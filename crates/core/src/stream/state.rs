//! The state of a stream to a file and back.

use std::path::Path;

use serde_json::Value;

use super::Stream;
use crate::config::{Difference, differences};
use crate::snapshot::{Snapshot, SnapshotError, SnapshotReader, SnapshotWriter};
use crate::{Error, Result};

impl Stream {
    /// Writes the whole state into `writer`.
    pub fn save_into<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
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
    }

    /// Writes the state to a file, atomically.
    ///
    /// # Errors
    /// [`Error::Snapshot`]; an older file stays whole.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut writer = SnapshotWriter::new();
        self.save_into(&mut writer);
        Ok(writer.write(path)?)
    }

    /// Replaces the state by a saved one. The policy of the calibration stays the present one.
    ///
    /// # Errors
    /// [`Error::Snapshot`] or [`Error::StateMismatch`]. After an error the stream must not be used.
    pub fn load(&mut self, path: &Path) -> Result<()> {
        let snapshot = Snapshot::read(path)?;
        let mut reader = snapshot.reader()?;
        self.load_from(path, &mut reader)
    }

    /// [`load`](Self::load) from entries already read; `path` is for messages.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn load_from(&mut self, path: &Path, reader: &mut SnapshotReader<'_>) -> Result<()> {
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
        self.sequence = count(reader, "sequence")?;
        self.absorbed_queries = count(reader, "absorbed_queries")?;
        self.fitted = reader.value("fitted")?;
        reader.scoped("update", |reader| self.gate.load(reader))?;
        reader.scoped("calibration", |reader| self.calibrator.load(reader))?;
        let scorer = reader.scoped("scorer", |reader| self.scorer.load(reader));
        scorer.map_err(|error| self.scorer_error(error))?;
        let loaded = match &mut self.bank {
            Some(bank) => reader.scoped("bank", |reader| bank.load(reader)),
            None => Ok(()),
        };
        loaded.map_err(|error| self.bank_error(error))
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
