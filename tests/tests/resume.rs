//! A killed run goes on as if nothing had happened.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod common;

use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Bench, code, stderr};

/// Kills a scan in the middle of the image after `images`, as soon as the state of that many is
/// saved.
fn kill_after(bench: &Bench, images: usize, more: &[&str]) {
    let mut child = bench
        .command(more)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let results = bench.path("out/results.jsonl");
    loop {
        let lines = std::fs::read_to_string(&results).map_or(0, |text| text.lines().count());
        if lines >= images && bench.path("state").exists() {
            break;
        }
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "the scan does not come to image {images}"
        );
        assert!(
            child.try_wait().unwrap().is_none(),
            "the scan ended before it was killed"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    // SIGKILL: no handler runs.
    child.kill().unwrap();
    child.wait().unwrap();
}

fn resumed_equals_whole(more: &[&str], count: usize, kill_at: usize) {
    let bench = Bench::new(count, &[5, 20]);
    let mut whole = vec!["--out", "whole"];
    whole.extend(more);
    assert_eq!(code(&bench.scan(&whole)), 0);
    let mut args = vec!["--out", "out", "--state", "state"];
    args.extend(more);
    kill_after(&bench, kill_at, &args);
    let output = bench.scan(&args);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let read = |out: &str| std::fs::read(bench.path(out).join("results.jsonl")).unwrap();
    assert_eq!(
        read("whole"),
        read("out"),
        "the resumed run's results differ"
    );
}

#[test]
fn killed_in_the_middle_of_the_18th_of_30_images_equals_never_stopped() {
    resumed_equals_whole(
        &["--save-every", "17", "--set", "backbone.image_size=224"],
        30,
        17,
    );
}

#[test]
fn killed_between_two_saves_equals_never_stopped() {
    resumed_equals_whole(
        &["--save-every", "4", "--set", "backbone.image_size=224"],
        24,
        10,
    );
}

#[test]
fn the_direct_bank_resumes_too() {
    let direct = [
        "--save-every",
        "3",
        "--set",
        "bank.type=\"prototype-direct\"",
        "--set",
        "bank.blocks=[1,2]",
        "--set",
        "backbone.image_size=224",
    ];
    resumed_equals_whole(&direct, 24, 8);
}

#[test]
fn killed_with_a_real_backbone_equals_never_stopped() {
    if !common::weights("killed_with_a_real_backbone_equals_never_stopped") {
        return;
    }
    let vit = [
        "--save-every",
        "17",
        "--set",
        "backbone.type=\"vit\"",
        "--set",
        "backbone.model=\"dinov2-small\"",
        "--set",
        "backbone.image_size=112",
        "--set",
        "bank.blocks=[3,6]",
    ];
    resumed_equals_whole(&vit, 30, 17);
}

#[test]
fn a_finished_stream_goes_on_with_new_images() {
    let bench = Bench::new(8, &[]);
    assert_eq!(code(&bench.scan(&["--state", "state"])), 0);
    common::line(&bench.path("more"), 4, &[]);
    let output = common::rareclip(&[
        "scan",
        "more",
        "--config",
        "pixels.toml",
        "--state",
        "state",
        "--out",
        "out",
    ])
    .current_dir(bench.folder.path())
    .output()
    .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(
        bench.results("out")[0]["calibration"],
        "uncalibrated, 8 of 20 images"
    );
}

#[test]
fn the_state_of_an_unfinished_run_is_not_mixed_with_another() {
    let bench = Bench::new(24, &[]);
    kill_after(
        &bench,
        6,
        &[
            "--out",
            "out",
            "--state",
            "state",
            "--save-every",
            "2",
            "--set",
            "backbone.image_size=224",
        ],
    );
    common::line(&bench.path("images"), 26, &[]);
    let args = [
        "--out",
        "out2",
        "--state",
        "state",
        "--set",
        "backbone.image_size=224",
    ];
    let output = bench.scan(&args);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("unfinished run") && stderr(&output).contains("--new-run"),
        "{}",
        stderr(&output)
    );
    let mut args = args.to_vec();
    args.push("--new-run");
    assert_eq!(code(&bench.scan(&args)), 0);
}

#[test]
fn a_truncated_state_file_is_refused_and_kept() {
    let bench = Bench::new(3, &[]);
    assert_eq!(code(&bench.scan(&["--state", "state"])), 0);
    let bytes = std::fs::read(bench.path("state")).unwrap();
    std::fs::write(bench.path("state"), &bytes[..bytes.len() / 2]).unwrap();
    let output = bench.scan(&["--state", "state"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("cut short"), "{}", stderr(&output));
    assert_eq!(
        std::fs::read(bench.path("state")).unwrap().len(),
        bytes.len() / 2
    );
}

#[test]
fn the_state_of_another_detector_is_refused() {
    let bench = Bench::new(3, &[]);
    assert_eq!(code(&bench.scan(&["--state", "state"])), 0);
    let output = bench.scan(&["--state", "state", "--set", "bank.capacity=2.0"]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("bank.capacity was 3.0, is 2.0"),
        "{}",
        stderr(&output)
    );
}

#[cfg(unix)]
#[test]
fn a_termination_signal_saves_and_the_run_goes_on() {
    let bench = Bench::new(200, &[]);
    let args = [
        "--out",
        "out",
        "--state",
        "state",
        "--save-every",
        "100",
        "--set",
        "backbone.image_size=224",
        "--no-pictures",
    ];
    let mut child = bench
        .command(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while std::fs::read_to_string(bench.path("out/results.jsonl"))
        .map_or(0, |text| text.lines().count())
        < 3
    {
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = child.id().to_string();
    std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let done = bench.results("out").len();
    assert!((3..200).contains(&done), "{done}");
    assert!(bench.path("state").exists() && bench.path("out/report.html").exists());
    assert_eq!(code(&bench.scan(&args)), 0);
    assert_eq!(bench.results("out").len(), 200);
}
