//! `rareclip models` and `rareclip doctor` on files that are not those of the catalogue.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::process::{Command, Output};

/// A checkpoint of one number, which no pinned artefact is.
fn checkpoint(path: &Path) {
    let header = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    std::fs::write(path, bytes).unwrap();
}

fn rareclip(cache: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rareclip"))
        .args(args)
        .env("RARECLIP_CACHE", cache)
        .env_remove("RARECLIP_MIRROR")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A cache in which a checkpoint was given for `dinov2-small`.
fn given() -> tempfile::TempDir {
    let cache = tempfile::tempdir().unwrap();
    let file = cache.path().join("mine.safetensors");
    checkpoint(&file);
    let args = [
        "models",
        "pull",
        "dinov2-small",
        "--from",
        file.to_str().unwrap(),
    ];
    let output = rareclip(cache.path(), &args);
    assert!(output.status.success(), "{}", stderr(&output));
    cache
}

#[test]
fn a_given_file_is_called_so_by_verify_doctor_and_list() {
    let cache = given();
    let output = rareclip(cache.path(), &["models", "verify"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let not_pinned = "not the pinned artefact: `mine.safetensors` was given with --from";
    assert!(stdout(&output).contains(not_pinned), "{}", stdout(&output));

    // It fails for other reasons: the detector's weights are no DINOv2.
    let text = stdout(&rareclip(
        cache.path(),
        &["doctor", "--config", "knn-embedding"],
    ));
    let line = text.lines().find(|line| line.contains("dinov2-small:"));
    assert!(line.unwrap().contains(not_pinned), "{text}");

    let output = rareclip(cache.path(), &["models", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let entry = list
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["name"] == "dinov2-small");
    assert_eq!(entry.unwrap()["pinned"], false);
    let text = stdout(&rareclip(cache.path(), &["models", "list"]));
    assert!(text.contains("not pinned"), "{text}");
}

#[test]
fn a_mirror_cannot_give_another_file_for_a_pinned_artefact() {
    let (mirror, cache) = (given(), tempfile::tempdir().unwrap());
    let place = mirror.path().to_str().unwrap();
    let output = rareclip(
        cache.path(),
        &["models", "pull", "dinov2-small", "--mirror", place],
    );
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(
        stderr(&output).contains("dinov2-small/local"),
        "{}",
        stderr(&output)
    );
    let output = rareclip(cache.path(), &["models", "verify", "dinov2-small"]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
}
