//! What is deleted by age and size.

use std::sync::Arc;
use std::time::Duration;

use crate::error::StoreError;
use crate::streams::{Shared, now};

/// Time between two rounds.
const EVERY: Duration = Duration::from_secs(600);
/// Rows in one go, so that images are recorded in between.
const AT_ONCE: i64 = 500;
const DAY: i64 = 24 * 60 * 60 * 1000;

/// Starts the rounds; they end with the service.
pub(super) fn start(shared: &Arc<Shared>) {
    let weak = Arc::downgrade(shared);
    tokio::spawn(async move {
        loop {
            let Some(shared) = weak.upgrade() else {
                return;
            };
            if let Err(error) = round(&shared).await {
                tracing::warn!(%error, "Old results not deleted.");
            }
            drop(shared);
            tokio::time::sleep(EVERY).await;
        }
    });
}

/// Deletes results that are too old, and pictures beyond the bound.
pub(super) async fn round(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let oldest = now() - i64::from(shared.settings.keep_days) * DAY;
    while delete_results(shared, oldest).await? {}
    while delete_pictures(shared).await? {}
    Ok(())
}

async fn delete_results(shared: &Arc<Shared>, oldest: i64) -> Result<bool, StoreError> {
    let sql = "SELECT stream, entry, pictures FROM results WHERE at < $1 ORDER BY at LIMIT $2";
    let rows = shared
        .store
        .read(sql, vec![oldest.into(), AT_ONCE.into()])
        .await?;
    let mut statements = Vec::with_capacity(rows.len());
    for mut row in rows {
        let (stream, entry) = (row.int()?, row.count()?);
        if row.flag()? {
            shared.pictures.delete((stream, entry));
        }
        let sql = "DELETE FROM results WHERE stream = $1 AND entry = $2";
        statements.push((sql, vec![stream.into(), entry.into()]));
    }
    let any = !statements.is_empty();
    if any {
        shared.store.write(statements).await?;
    }
    Ok(any)
}

async fn delete_pictures(shared: &Arc<Shared>) -> Result<bool, StoreError> {
    let sql =
        "SELECT CAST(COALESCE(SUM(picture_bytes), 0) AS BIGINT) FROM results WHERE pictures = 1";
    let mut rows = shared.store.read(sql, Vec::new()).await?;
    let held = rows.pop().map_or(Ok(0), |mut row| row.count())?;
    let Some(mut excess) = held
        .checked_sub(shared.settings.keep_picture_bytes)
        .filter(|excess| *excess > 0)
    else {
        return Ok(false);
    };
    let sql =
        "SELECT stream, entry, picture_bytes FROM results WHERE pictures = 1 ORDER BY at LIMIT $1";
    let rows = shared.store.read(sql, vec![AT_ONCE.into()]).await?;
    let mut statements = Vec::new();
    for mut row in rows {
        if excess == 0 {
            break;
        }
        let (stream, entry) = (row.int()?, row.count()?);
        excess = excess.saturating_sub(row.count()?);
        shared.pictures.delete((stream, entry));
        let sql =
            "UPDATE results SET pictures = 0, picture_bytes = 0 WHERE stream = $1 AND entry = $2";
        statements.push((sql, vec![stream.into(), entry.into()]));
    }
    let any = !statements.is_empty();
    if any {
        shared.store.write(statements).await?;
    }
    Ok(any)
}
