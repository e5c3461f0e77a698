//! The embedded database.

use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{ErrorCode, OpenFlags, ToSql, types::ToSqlOutput};

use super::sql::{Connection, Row, Value};
use crate::error::StoreError;

/// How SQLite numbers this kind of `auto_vacuum`.
const INCREMENTAL: i64 = 2;

/// A connection to a database file.
pub(super) struct Sqlite {
    connection: rusqlite::Connection,
    place: PathBuf,
}

impl Sqlite {
    /// Opens the file; the one who writes creates it where it is missing.
    pub(super) fn open(place: &Path, writer: bool) -> Result<Self, StoreError> {
        let flags = if writer {
            OpenFlags::default()
        } else {
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX
        };
        let fail = |error| failure(place, &error);
        let connection = rusqlite::Connection::open_with_flags(place, flags).map_err(fail)?;
        let set = |name: &str, value: &str| {
            connection
                .pragma_update(None, name, value)
                .map_err(|error| failure(place, &error))
        };
        set("busy_timeout", "10000")?;
        if writer {
            // Set before the first table, it lets the file shrink again.
            let vacuum: i64 = connection
                .pragma_query_value(None, "auto_vacuum", |row| row.get(0))
                .map_err(fail)?;
            // Setting what is set already writes, and on a full disk the service would not start.
            if vacuum != INCREMENTAL {
                set("auto_vacuum", "INCREMENTAL")?;
            }
            set("journal_mode", "WAL")?;
            // What was answered must be on the disk, not only in the kernel.
            set("synchronous", "FULL")?;
            set("foreign_keys", "ON")?;
        }
        Ok(Self {
            connection,
            place: place.to_owned(),
        })
    }
}

fn failure(place: &Path, error: &rusqlite::Error) -> StoreError {
    // Clients are told of it, and where the file is on this machine is not theirs to know.
    let path = place.display().to_string();
    let place = named(place);
    match error {
        rusqlite::Error::SqliteFailure(code, _) if code.code == ErrorCode::DiskFull => {
            StoreError::Full { place }
        }
        rusqlite::Error::SqliteFailure(code, _)
            if matches!(
                code.code,
                ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt
            ) =>
        {
            StoreError::Unusable {
                place,
                problem: format!("{error}; put a copy from a backup in its place"),
            }
        }
        _ => StoreError::Failed {
            problem: error.to_string().replace(&path, &place),
            place,
        },
    }
}

/// The database as clients are told of it.
pub(super) fn named(place: &Path) -> String {
    let name = place.file_name().unwrap_or(place.as_os_str());
    format!("database {}", name.display())
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::Bytes(value) => ValueRef::Blob(value),
        }))
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(value) => Self::Int(value),
            ValueRef::Real(value) => Self::Real(value),
            ValueRef::Text(value) => Self::Text(String::from_utf8_lossy(value).into_owned()),
            ValueRef::Blob(value) => value.to_vec().into(),
        }
    }
}

impl Connection for Sqlite {
    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<(), StoreError> {
        let run = || {
            self.connection
                .prepare_cached(sql)?
                .execute(rusqlite::params_from_iter(values))
        };
        run()
            .map(drop)
            .map_err(|error| failure(&self.place, &error))
    }

    fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let run = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let columns = statement.column_count();
            let mut rows = statement.query(rusqlite::params_from_iter(values))?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                let values = (0..columns).map(|at| row.get_ref(at).map(Value::from));
                all.push(Row(values.collect::<Result<_, _>>()?));
            }
            Ok(all)
        };
        run().map_err(|error: rusqlite::Error| failure(&self.place, &error))
    }

    fn alive(&self) -> bool {
        true
    }
}
