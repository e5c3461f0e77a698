//! `rareclip keys` by many processes at once.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Additions, and as many revocations, at the same time.
const EACH: usize = 12;

fn keys(data: &Path, action: &str, name: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_rareclip"))
        .args(["keys", action, name, "--data"])
        .arg(data)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn ended(child: Child) {
    let output = child.wait_with_output().unwrap();
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{problem}");
}

#[test]
fn keys_added_and_revoked_by_many_processes_at_once_are_all_added_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for number in 0..EACH {
        ended(keys(&data, "add", &format!("old-{number}")));
    }
    let mut running = Vec::new();
    for number in 0..EACH {
        running.push(keys(&data, "revoke", &format!("old-{number}")));
        running.push(keys(&data, "add", &format!("new-{number}")));
    }
    running.into_iter().for_each(ended);
    let text = std::fs::read(data.join("keys.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let all = file["keys"].as_array().unwrap().iter();
    let mut found: Vec<String> = all
        .map(|key| key["name"].as_str().unwrap().to_owned())
        .collect();
    found.sort();
    let mut expected: Vec<String> = (0..EACH).map(|number| format!("new-{number}")).collect();
    expected.sort();
    assert_eq!(found, expected);
}
