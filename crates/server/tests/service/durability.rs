//! Nothing acknowledged is lost, nothing is counted twice.

use std::path::{Path, PathBuf};

use rareclip_server::model::{Condition, Label};
use rareclip_server::{Service, Settings};

use super::common::*;

/// What a power failure leaves: a copy of the folder at this moment, while the service runs on.
fn power_failure(data: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let after = tempfile::tempdir().unwrap();
    copy(data, after.path());
    after
}

fn states(data: &Path) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(data.join("streams")).unwrap();
    let mut files: Vec<PathBuf> = folder
        .flat_map(|stream| std::fs::read_dir(stream.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files
}

async fn score(service: &Service, seeds: std::ops::Range<u32>) -> Vec<f32> {
    let mut scores = Vec::new();
    for seed in seeds {
        let done = send(service, "line", keyed(seed)).await;
        assert!(done.recorded, "{:?}", done.notice);
        scores.push(done.record.result.score);
    }
    scores
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_power_failure_the_stream_goes_on_as_if_nothing_had_happened() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "line", "rarity").await;
    let whole = expected(0..40);
    let mut expected_state = None;
    // Before the first state file, just after one, between two, after the second.
    for stop in [3, 8, 13, 17, 24] {
        let already = service.stream("line").await.unwrap().images as u32;
        assert_eq!(
            score(&service, already..stop).await,
            whole[already as usize..stop as usize]
        );
        // A copy takes longer than a power failure: no file may come or go meanwhile.
        service.export("line").await.unwrap();
        let after = power_failure(data.path());
        let resumed = open(settings(after.path())).await;
        assert_eq!(
            resumed.stream("line").await.unwrap().results,
            u64::from(stop)
        );
        assert_eq!(score(&resumed, stop..40).await, whole[stop as usize..]);
        let state = resumed.export("line").await.unwrap();
        assert_eq!(*expected_state.get_or_insert(state.clone()), state);
        resumed.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_proper_end_the_journal_is_not_needed() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "line", "rarity").await;
    score(&service, 0..11).await;
    service.close().await;
    drop(service);
    let again = open(settings(data.path())).await;
    let info = again.stream("line").await.unwrap();
    assert_eq!((info.images, info.results), (11, 11));
    assert_eq!(info.condition, Condition::Stored);
    assert!(info.bank.is_some_and(|bank| bank.prototypes > 0));
    assert_eq!(score(&again, 11..20).await, expected(0..20)[11..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_sent_again_with_its_key_is_not_counted_again() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "line", "rarity").await;
    let first = send(&service, "line", keyed(1)).await;
    let again = send(&service, "line", keyed(1)).await;
    assert!(again.replayed && !first.replayed);
    assert_eq!(first.record, again.record);
    let other = rareclip_server::Submission {
        key: Some("key-1".into()),
        ..submission(2)
    };
    let error = try_send(&service, "line", other).await.unwrap_err();
    assert_eq!(error.status(), 409);
    // Also by a service that was started since.
    service.close().await;
    drop(service);
    let service = open(settings(data.path())).await;
    let again = send(&service, "line", keyed(1)).await;
    assert_eq!(first.record, again.record);
    assert_eq!(service.stream("line").await.unwrap().images, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_state_file_is_replaced_by_the_one_before_and_the_journal() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "line", "rarity").await;
    score(&service, 0..20).await;
    service.close().await;
    drop(service);
    let newest = states(data.path()).pop().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, &bytes).unwrap();

    let service = open(settings(data.path())).await;
    assert_eq!(score(&service, 20..30).await, expected(0..30)[20..]);
    let info = service.stream("line").await.unwrap();
    let notice = info.notice.unwrap();
    assert!(
        notice.contains("checksum") && notice.contains("Nothing is lost"),
        "{notice}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_every_state_is_damaged_says_so_and_touches_nothing() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "line", "rarity").await;
    score(&service, 0..20).await;
    let export = service.export("line").await.unwrap();
    service.close().await;
    drop(service);
    let before = states(data.path());
    for file in &before {
        std::fs::write(file, b"RARECLIP").unwrap();
    }
    let service = open(settings(data.path())).await;
    let error = try_send(&service, "line", submission(20))
        .await
        .unwrap_err();
    assert_eq!(error.status(), 409);
    assert!(error.to_string().contains("import"), "{error}");
    assert_eq!(
        service.stream("line").await.unwrap().condition,
        Condition::Damaged
    );
    assert_eq!(states(data.path()), before);
    // The way out that it names.
    service.import("line", export).await.unwrap();
    assert_eq!(score(&service, 20..25).await, expected(0..25)[20..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_beyond_the_memory_budget_are_written_out_and_loaded_again() {
    let data = tempfile::tempdir().unwrap();
    let settings = Settings {
        // Room for some of them.
        memory_bytes: 3 << 20,
        ..settings(data.path())
    };
    let service = open(settings).await;
    let names: Vec<String> = (0..12).map(|n| format!("line-{n}")).collect();
    for name in &names {
        stream(&service, name, "rarity").await;
    }
    let whole = expected(0..12);
    for seed in 0..12 {
        for name in &names {
            let done = send(&service, name, submission(seed)).await;
            assert_eq!(done.record.result.score, whole[seed as usize], "{name}");
        }
    }
    let info = service.info();
    assert!((1..12).contains(&info.loaded), "{}", info.loaded);
    assert!(info.memory_bytes <= info.memory_limit_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_belongs_to_one_service() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    let second = Service::open(settings(data.path()), detectors()).await;
    let error = second.err().unwrap().to_string();
    assert!(error.contains("another service"), "{error}");
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn feedback_is_stored_with_the_result() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "line", "rarity").await;
    let id = send(&service, "line", submission(1)).await.record.id;
    let label = Some(Label::Defect);
    service
        .feedback("line", id, label, Some("scratch".into()))
        .await
        .unwrap();
    service.close().await;
    drop(service);
    let service = open(settings(data.path())).await;
    let record = service.result("line", id).await.unwrap();
    assert_eq!(
        (record.feedback, record.note.as_deref()),
        (label, Some("scratch"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn states_that_the_database_does_not_know_are_put_aside_and_not_deleted() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "line", "rarity").await;
    score(&service, 0..10).await;
    let export = service.export("line").await.unwrap();
    service.close().await;
    drop(service);
    for file in [
        "rareclip.sqlite",
        "rareclip.sqlite-wal",
        "rareclip.sqlite-shm",
    ] {
        let _ = std::fs::remove_file(data.path().join(file));
    }
    let service = open(settings(data.path())).await;
    assert!(service.streams().await.is_empty());
    let lost = std::fs::read_dir(data.path().join("streams/lost-1")).unwrap();
    let states: Vec<Vec<u8>> = lost
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .collect();
    assert!(states.iter().any(|state| *state == export));
    // The way back.
    stream(&service, "line", "rarity").await;
    service.import("line", export).await.unwrap();
    assert_eq!(score(&service, 10..15).await, expected(0..15)[10..]);
}
