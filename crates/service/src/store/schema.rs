//! The tables, and whose they are.

use super::sql::{Connection, Value};
use crate::error::StoreError;

/// The version of the tables that this program writes.
const VERSION: i64 = 1;

/// `{bytes}` is the type of a run of bytes, which the two databases call by different names;
/// `{real}` that of an f64.
const TABLES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, number BIGINT NOT NULL, word TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS streams (
        id BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE, detector TEXT NOT NULL, calibration TEXT, created_at BIGINT NOT NULL,
        frozen BIGINT NOT NULL, last_entry BIGINT NOT NULL, images BIGINT NOT NULL, view TEXT,
        state_file TEXT, state_entry BIGINT NOT NULL, previous_file TEXT, previous_entry BIGINT)",
    "CREATE TABLE IF NOT EXISTS journal (
        stream BIGINT NOT NULL, entry BIGINT NOT NULL, role TEXT NOT NULL, learn BIGINT NOT NULL, image {bytes} NOT NULL,
        PRIMARY KEY (stream, entry))",
    "CREATE TABLE IF NOT EXISTS results (
        stream BIGINT NOT NULL, entry BIGINT NOT NULL, sequence BIGINT NOT NULL, at BIGINT NOT NULL, image TEXT,
        idempotency_key TEXT, digest TEXT, score {real} NOT NULL, raw_score {real} NOT NULL, p_value {real}, verdict TEXT NOT NULL,
        threshold {real}, calibration TEXT NOT NULL, map_median {real} NOT NULL, scale_low {real} NOT NULL, scale_high {real} NOT NULL,
        remembered BIGINT NOT NULL, feedback TEXT, note TEXT, pictures BIGINT NOT NULL, picture_bytes BIGINT NOT NULL,
        PRIMARY KEY (stream, entry))",
    "CREATE UNIQUE INDEX IF NOT EXISTS results_by_key ON results (stream, idempotency_key)",
    "CREATE INDEX IF NOT EXISTS results_by_time ON results (at)",
    "CREATE INDEX IF NOT EXISTS results_with_pictures ON results (pictures, at)",
    "CREATE TABLE IF NOT EXISTS snapshots (
        stream BIGINT NOT NULL, id BIGINT NOT NULL, file TEXT NOT NULL, at BIGINT NOT NULL, images BIGINT NOT NULL,
        bytes BIGINT NOT NULL, note TEXT, PRIMARY KEY (stream, id))",
];

/// Makes the tables where they are missing, and checks that the database belongs to the data folder
/// `owner` is the mark of.
pub(super) fn prepare(
    connection: &mut dyn Connection,
    bytes: &str,
    place: &str,
    owner: &str,
) -> Result<(), StoreError> {
    for table in TABLES {
        let sql = table.replace("{bytes}", bytes);
        let sql = sql.replace("{real}", "DOUBLE PRECISION");
        connection.execute(&sql, &[])?;
    }
    let unusable = |problem: String| StoreError::Unusable {
        place: place.to_owned(),
        problem,
    };
    let mut read = |name: &str, number: i64, word: &str| {
        connection.execute(
            "INSERT INTO meta (name, number, word) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
            &[name.into(), Value::Int(number), word.into()],
        )?;
        let mut rows = connection.query(
            "SELECT number, word FROM meta WHERE name = $1",
            &[name.into()],
        )?;
        let mut row = rows
            .pop()
            .ok_or_else(|| unusable("lost its meta table".into()))?;
        Ok::<_, StoreError>((row.int()?, row.text()?))
    };
    let (version, _) = read("schema", VERSION, "")?;
    if version != VERSION {
        return Err(unusable(format!(
            "its tables have version {version}, this program knows {VERSION}: upgrade rareclip"
        )));
    }
    let (_, found) = read("owner", 0, owner)?;
    if found != owner {
        return Err(unusable(
            "it belongs to another data folder: give the folder it was made with, or another database".into(),
        ));
    }
    read("next_stream", 1, "")?;
    Ok(())
}
