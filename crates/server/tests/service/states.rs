//! States that come from elsewhere.

use std::path::Path;
use std::sync::Arc;

use rareclip_server::Service;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::common::*;

/// Bytes before the body of a state file.
const HEAD: usize = 56;

/// A state file with another body.
fn with_body(state: &[u8], body: &[u8]) -> Vec<u8> {
    let mut file = state[..16].to_vec();
    file.extend((body.len() as u64).to_le_bytes());
    file.extend(Sha256::digest(body));
    file.extend(body);
    file
}

/// The list of entries of a state, and where their data begin.
fn entries(state: &[u8]) -> (Value, usize) {
    let length = u64::from_le_bytes(state[HEAD..HEAD + 8].try_into().unwrap());
    let data = HEAD + 8 + usize::try_from(length).unwrap();
    let list = serde_json::from_slice(&state[HEAD + 8..data]).unwrap();
    (list, data)
}

/// Puts `value` at the beginning of the float entry `name`.
fn with_value(state: &[u8], name: &str, value: f32) -> Vec<u8> {
    let (list, data) = entries(state);
    let at = data + usize::try_from(list[name]["data_offsets"][0].as_u64().unwrap()).unwrap();
    let mut changed = state.to_vec();
    changed[at..at + 4].copy_from_slice(&value.to_le_bytes());
    with_body(state, &changed[HEAD..])
}

/// Every float entry of a state that is not empty.
fn floats(state: &[u8]) -> Vec<String> {
    let (list, _) = entries(state);
    let entries = list.as_object().unwrap().iter();
    entries
        .filter(|(_, entry)| {
            entry["dtype"] == "F32" && entry["data_offsets"][0] != entry["data_offsets"][1]
        })
        .map(|(name, _)| name.clone())
        .collect()
}

fn files(data: &Path) -> Vec<String> {
    let folder = std::fs::read_dir(data.join("streams/1")).unwrap();
    let mut names: Vec<String> = folder
        .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

async fn shown(images: u32) -> (tempfile::TempDir, Arc<Service>) {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "line", "rarity").await;
    for seed in 0..images {
        send(&service, "line", submission(seed)).await;
    }
    (data, service)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_with_a_number_that_is_not_finite_is_refused_by_its_name() {
    let (data, service) = shown(20).await;
    let state = service.export("line").await.unwrap();
    let before = files(data.path());
    let names = floats(&state);
    assert!(names.len() >= 4, "{names:?}");
    for name in &names {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            // There it stands for a neighbour that is not there, and the first prototype has none.
            if value == f32::NEG_INFINITY && name.ends_with("earlier.similarity") {
                continue;
            }
            let spoilt = with_value(&state, name, value);
            let error = service.import("line", spoilt.into()).await;
            let error = error
                .err()
                .unwrap_or_else(|| panic!("{name}: {value} was taken"));
            assert!((400..500).contains(&error.status()), "{name}: {error}");
            assert!(error.to_string().contains(name.as_str()), "{name}: {error}");
        }
    }
    // Nothing was given up: neither a file, nor what the stream knows.
    assert_eq!(files(data.path()), before);
    let whole = expected(0..24);
    for seed in 20..24 {
        let done = send(&service, "line", submission(seed)).await;
        assert_eq!(done.record.result.score, whole[seed as usize]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_whose_list_of_entries_is_too_long_is_refused_before_it_is_read() {
    let (_data, service) = shown(3).await;
    let state = service.export("line").await.unwrap();
    let (list, data) = entries(&state);
    let mut long = list.to_string().into_bytes();
    long.resize(2 << 20, b' ');
    let mut body = (long.len() as u64).to_le_bytes().to_vec();
    body.extend(long);
    body.extend(&state[data..]);
    let error = service
        .import("line", with_body(&state, &body).into())
        .await
        .unwrap_err();
    assert_eq!(error.status(), 400, "{error}");
    assert!(error.to_string().contains("1048576"), "{error}");
    // The same state with its own list is taken.
    service.import("line", state).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_no_stream_reaches_is_refused() {
    let (_data, service) = shown(3).await;
    let state = service.export("line").await.unwrap();
    let (mut list, data) = entries(&state);
    let values = list["__metadata__"]["values"].as_str().unwrap();
    let mut values: Value = serde_json::from_str(values).unwrap();
    values["sequence"] = u64::MAX.to_string().into();
    list["__metadata__"]["values"] = values.to_string().into();
    let list = list.to_string().into_bytes();
    let mut body = (list.len() as u64).to_le_bytes().to_vec();
    body.extend(list);
    body.extend(&state[data..]);
    let error = service
        .import("line", with_body(&state, &body).into())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("sequence"), "{error}");
    send(&service, "line", submission(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_damaged_gives_nothing_up() {
    let (data, service) = shown(10).await;
    let id = service.snapshot("line", None).await.unwrap().id;
    let path = data.path().join(format!("streams/1/snapshot-{id}.state"));
    let whole = std::fs::read(&path).unwrap();
    for spoilt in [&whole[..whole.len() / 2], &whole[..0]] {
        std::fs::write(&path, spoilt).unwrap();
        let before = files(data.path());
        service.restore("line", id).await.unwrap_err();
        assert_eq!(files(data.path()), before);
    }
    let scored = send(&service, "line", submission(10)).await;
    assert_eq!(scored.record.result.score, expected(0..11)[10]);
    std::fs::write(&path, whole).unwrap();
    service.restore("line", id).await.unwrap();
    let scored = send(&service, "line", submission(10)).await;
    assert_eq!(scored.record.result.score, expected(0..11)[10]);
}
