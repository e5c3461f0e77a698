//! `rareclip scan` as its users meet it.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod common;

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Bench, code, rows, stderr, stdout};

#[test]
fn every_image_gets_a_row_with_the_promised_keys() {
    let bench = Bench::new(25, &[23]);
    let output = bench.scan(&["--out", "out", "--maps"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let rows = bench.results("out");
    assert_eq!(rows.len(), 25);
    for (at, row) in rows.iter().enumerate() {
        for key in [
            "index",
            "image",
            "score",
            "raw_score",
            "p_value",
            "verdict",
            "error",
        ] {
            assert!(row.get(key).is_some(), "{key} is missing in {row}");
        }
        assert_eq!(row["index"], at);
        assert_eq!(row["image"], format!("images/img{at}.png"));
        let warm = at >= 20;
        assert_eq!(row["verdict"] != "uncalibrated", warm, "{row}");
    }
    assert_eq!(rows[7]["calibration"], "uncalibrated, 7 of 20 images");
    assert_eq!(rows[23]["verdict"], "anomalous");
    for file in [
        "results.csv",
        "report.html",
        "heatmaps/000023_img23.png",
        "overlays/000023_img23.png",
        "maps/000023_img23.npy",
    ] {
        assert!(bench.path("out").join(file).is_file(), "{file}");
    }
    let report = std::fs::read_to_string(bench.path("out/report.html")).unwrap();
    assert!(report.contains("img23.png"));
    let table = std::fs::read_to_string(bench.path("out/results.csv")).unwrap();
    assert_eq!(table.lines().count(), 26);
}

#[test]
fn an_unreadable_image_is_reported_and_the_stream_goes_on() {
    let bench = Bench::new(6, &[]);
    let clean: Vec<_> = rows(&stdout(&bench.scan(&["--json"])));
    std::fs::write(bench.path("images/img2a.png"), b"").unwrap();
    std::fs::write(
        bench.path("images/img2b.jpg"),
        b"\xff\xd8\xff\xe0 this is no picture",
    )
    .unwrap();
    let mut bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bomb.extend(40_000u32.to_be_bytes());
    bomb.extend(40_000u32.to_be_bytes());
    bomb.extend([8, 2, 0, 0, 0]);
    // The checksum of that header.
    bomb.extend(0xde6e_9952u32.to_be_bytes());
    std::fs::write(bench.path("images/img2c.png"), bomb).unwrap();
    let output = bench.scan(&["--json"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(stderr(&output).contains("3 failed"), "{}", stderr(&output));
    let rows = rows(&stdout(&output));
    assert_eq!(rows.len(), 9);
    let errors: Vec<String> = rows
        .iter()
        .filter_map(|row| row["error"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(errors.len(), 3);
    assert!(errors[0].contains("empty"), "{errors:?}");
    assert!(errors[1].to_lowercase().contains("jpeg"), "{errors:?}");
    assert!(errors[2].contains("40000"), "{errors:?}");
    // What could be read is scored as if the rest had not been there.
    let scores = |rows: &[serde_json::Value]| -> Vec<String> {
        rows.iter()
            .filter(|row| row["error"].is_null())
            .map(|row| row["score"].to_string())
            .collect()
    };
    assert_eq!(scores(&rows), scores(&clean));
}

#[test]
fn a_folder_without_images_is_an_error_that_names_it() {
    let bench = Bench::new(1, &[]);
    std::fs::create_dir(bench.path("empty")).unwrap();
    let output = common::rareclip(&["scan", "empty", "--config", "pixels.toml"])
        .current_dir(bench.folder.path())
        .output()
        .unwrap();
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("empty holds no images"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_list_on_stdin_keeps_its_order() {
    let bench = Bench::new(4, &[]);
    let mut child = common::rareclip(&[
        "scan",
        "-",
        "--config",
        "pixels.toml",
        "--json",
        "--root",
        "images",
    ])
    .current_dir(bench.folder.path())
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"img3.png\nimg0.png\n\nimg2.png\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let names: Vec<_> = rows(&stdout(&output))
        .iter()
        .map(|row| row["image"].clone())
        .collect();
    assert_eq!(names, ["img3.png", "img0.png", "img2.png"]);
}

#[test]
fn shuffle_visits_the_images_as_the_papers_code_does() {
    let bench = Bench::new(10, &[]);
    let output = bench.scan(&["--json", "--shuffle", "0"]);
    let names: Vec<_> = rows(&stdout(&output))
        .iter()
        .map(|row| row["image"].as_str().unwrap().to_owned())
        .collect();
    let expected = [7, 8, 1, 5, 3, 4, 2, 0, 9, 6].map(|at| format!("images/img{at}.png"));
    assert_eq!(names, expected);
}

#[test]
fn a_frozen_stream_after_normals_scores_every_image_by_itself() {
    let bench = Bench::new(8, &[6]);
    common::line(&bench.path("normals"), 4, &[]);
    let frozen = |order: &[usize]| {
        let images: Vec<String> = order
            .iter()
            .map(|at| format!("images/img{at}.png"))
            .collect();
        let mut args = vec!["scan"];
        args.extend(images.iter().map(String::as_str));
        args.extend([
            "--config",
            "pixels.toml",
            "--json",
            "--normals",
            "normals",
            "--freeze",
        ]);
        args.extend(["--set", "scorer.rescoring.enabled=false"]);
        let output = common::rareclip(&args)
            .current_dir(bench.folder.path())
            .output()
            .unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let mut found: Vec<(String, String)> = rows(&stdout(&output))
            .iter()
            .map(|row| (row["image"].to_string(), row["score"].to_string()))
            .collect();
        found.sort();
        found
    };
    let forward = frozen(&[0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(forward, frozen(&[6, 2, 7, 0, 5, 1, 4, 3]));
    let worst = forward.into_iter().max_by(|a, b| {
        let score = |pair: &(String, String)| pair.1.parse::<f64>().unwrap();
        score(a).total_cmp(&score(b))
    });
    assert!(worst.unwrap().0.contains("img6"));
}

#[test]
fn fail_on_anomaly_ends_with_code_4() {
    let bench = Bench::new(6, &[5]);
    assert_eq!(
        code(&bench.scan(&["--fail-on-anomaly", "--threshold", "1e9"])),
        0
    );
    assert_eq!(
        code(&bench.scan(&["--fail-on-anomaly", "--threshold=-1"])),
        4
    );
}

#[test]
fn results_are_not_replaced_unasked() {
    let bench = Bench::new(3, &[]);
    assert_eq!(code(&bench.scan(&["--out", "out"])), 0);
    let before = std::fs::read(bench.path("out/results.jsonl")).unwrap();
    let output = bench.scan(&["--out", "out"]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("--overwrite"),
        "{}",
        stderr(&output)
    );
    assert_eq!(
        std::fs::read(bench.path("out/results.jsonl")).unwrap(),
        before
    );
    assert_eq!(code(&bench.scan(&["--out", "out", "--overwrite"])), 0);
}

/// A detector whose images score each other: MuSc's bank and scorer on pixels.
const MUTUAL: &str = r#"
name = "mutual"
[backbone]
type = "pixels"
[bank]
type = "mutual"
blocks = [1, 2]
neighbourhoods = [1]
[scorer]
type = "mutual"
windows = []
"#;

/// A detector with a training pass: PatchCore's on pixels.
const CORESET: &str = r#"
name = "coreset"
[backbone]
type = "pixels"
[bank]
type = "coreset"
blocks = [1]
neighbourhood = 1
[scorer]
type = "nearest-neighbour"
"#;

/// A scan of `images` by another config.
fn scan_by(bench: &Bench, config: &str, more: &[&str]) -> std::process::Output {
    std::fs::write(bench.path("other.toml"), config).unwrap();
    let mut command = common::rareclip(&["scan", "images", "--config", "other.toml"]);
    command.args(more).current_dir(bench.folder.path());
    command.output().unwrap()
}

fn scores_by_image(rows: &[serde_json::Value]) -> std::collections::BTreeMap<String, f64> {
    rows.iter()
        .map(|row| (row["image"].to_string(), row["score"].as_f64().unwrap()))
        .collect()
}

#[test]
fn images_that_score_each_other_get_their_rows_in_order_and_the_same_files() {
    let bench = Bench::new(8, &[5]);
    let output = scan_by(&bench, MUTUAL, &["--out", "out", "--maps"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let rows = bench.results("out");
    let names: Vec<_> = rows.iter().map(|row| row["image"].clone()).collect();
    let expected: Vec<_> = (0..8).map(|at| format!("images/img{at}.png")).collect();
    assert_eq!(names, expected);
    let worst = rows.iter().max_by(|a, b| {
        a["score"]
            .as_f64()
            .unwrap()
            .total_cmp(&b["score"].as_f64().unwrap())
    });
    assert_eq!(worst.unwrap()["index"], 5);
    for file in [
        "results.csv",
        "report.html",
        "heatmaps/000005_img5.png",
        "thumbnails/000005_img5.jpg",
        "maps/000005_img5.npy",
    ] {
        assert!(bench.path("out").join(file).is_file(), "{file}");
    }
    // Where the features were and how many there were is said; nothing of them is left.
    let text = stderr(&output);
    assert!(
        text.contains("MB an image") && text.contains("wait on disk in out"),
        "{text}"
    );
    let left = std::fs::read_dir(bench.path("out")).unwrap();
    let hidden = left.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(hidden.count(), 0);
}

#[test]
fn images_that_score_each_other_do_so_in_any_order() {
    let bench = Bench::new(9, &[2]);
    let one = rows(&stdout(&scan_by(&bench, MUTUAL, &["--json"])));
    let two = rows(&stdout(&scan_by(
        &bench,
        MUTUAL,
        &["--json", "--shuffle", "3"],
    )));
    assert_ne!(one[0]["image"], two[0]["image"]);
    let (one, two) = (scores_by_image(&one), scores_by_image(&two));
    assert_eq!(one.len(), 9);
    for (image, score) in &one {
        assert!((two[image] - score).abs() < 1e-5, "{image}");
    }
}

#[test]
fn an_unreadable_image_is_left_out_of_the_batch_and_keeps_its_row() {
    let bench = Bench::new(6, &[4]);
    let clean = rows(&stdout(&scan_by(&bench, MUTUAL, &["--json"])));
    std::fs::write(bench.path("images/img2a.png"), b"").unwrap();
    std::fs::write(bench.path("images/img9.png"), b"no image").unwrap();
    let output = scan_by(&bench, MUTUAL, &["--json", "--timings"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    let all = rows(&stdout(&output));
    let failed: Vec<_> = all.iter().filter(|row| row["score"].is_null()).collect();
    assert_eq!(
        (
            failed.len(),
            failed[0]["index"].as_u64(),
            failed[1]["index"].as_u64()
        ),
        (2, Some(3), Some(7))
    );
    assert!(
        failed[0]["error"].as_str().unwrap().contains("empty"),
        "{}",
        failed[0]
    );
    let scored: Vec<_> = all
        .iter()
        .filter(|row| !row["score"].is_null())
        .cloned()
        .collect();
    assert_eq!(scores_by_image(&scored), scores_by_image(&clean));
    for stage in ["decode", "backbone", "bank"] {
        assert!(stderr(&output).contains(stage), "{}", stderr(&output));
    }
}

#[test]
fn one_image_cannot_score_itself_and_none_is_no_batch() {
    let bench = Bench::new(1, &[]);
    let output = scan_by(&bench, MUTUAL, &[]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("mutual"), "{}", stderr(&output));
    std::fs::write(bench.path("images/img0.png"), b"").unwrap();
    let output = scan_by(&bench, MUTUAL, &["--json"]);
    assert_eq!(code(&output), 1);
    assert_eq!(rows(&stdout(&output)).len(), 1);
    assert!(stderr(&output).contains("1 failed"), "{}", stderr(&output));
}

#[test]
fn options_of_a_memory_do_not_apply_to_a_batch() {
    let bench = Bench::new(3, &[]);
    for options in [
        &["--state", "state"][..],
        &["--watch"],
        &["--normals", "images"],
        &["--freeze"],
    ] {
        let output = scan_by(&bench, MUTUAL, options);
        assert_eq!(code(&output), 1);
        let text = stderr(&output);
        let expected = format!("{} does not apply to mutual", options[0]);
        assert!(
            text.contains(&expected) && text.contains("Leave it out"),
            "{text}"
        );
    }
    assert!(!bench.path("state").exists());
}

#[test]
fn a_detector_with_a_training_pass_asks_for_normals_and_says_how() {
    let bench = Bench::new(4, &[2]);
    common::line_from(&bench.path("normals"), 500, 6, &[]);
    let output = scan_by(&bench, CORESET, &["--json"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("--normals"), "{}", stderr(&output));
    assert!(rows(&stdout(&output)).is_empty());
    let output = scan_by(
        &bench,
        CORESET,
        &["--json", "--normals", "normals", "--state", "state"],
    );
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let first = rows(&stdout(&output));
    let scores = scores_by_image(&first);
    let worst = scores.iter().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    assert!(worst.0.contains("img2"), "{scores:?}");
    // The state remembers the training pass: no normals are needed any more.
    let output = scan_by(&bench, CORESET, &["--json", "--state", "state"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(scores_by_image(&rows(&stdout(&output))), scores);
}

#[test]
fn a_watched_folder_is_scored_as_it_grows() {
    let bench = Bench::new(3, &[]);
    let mut child = bench
        .command(&["--json", "--watch", "--watch-idle", "3"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1200));
    std::fs::copy(bench.path("images/img0.png"), bench.path("images/late.png")).unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the watch does not end"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = child.wait_with_output().unwrap();
    let rows = rows(&stdout(&output));
    assert_eq!(rows.len(), 4, "{}", stderr(&output));
    assert_eq!(rows[3]["image"], "images/late.png");
}

#[test]
fn timings_name_the_stages() {
    let bench = Bench::new(4, &[]);
    let output = bench.scan(&["--timings"]);
    for stage in ["decode", "backbone", "bank", "scorer", "total", "peak MiB"] {
        assert!(
            stderr(&output).contains(stage),
            "{stage}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn weights_that_changed_since_they_were_fetched_are_refused() {
    if !common::weights("weights_that_changed_since_they_were_fetched_are_refused") {
        return;
    }
    let bench = Bench::new(1, &[]);
    let cache = bench.path("cache");
    for name in ["onnxruntime", "dinov2-small"] {
        let file = rareclip_artifacts::locate(name).unwrap();
        let version = file.parent().unwrap();
        let to = cache.join(name).join(version.file_name().unwrap());
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(version).unwrap() {
            let from = entry.unwrap().path();
            std::fs::copy(&from, to.join(from.file_name().unwrap())).unwrap();
        }
    }
    let scan = || {
        common::rareclip(&[
            "scan",
            "images",
            "--config",
            "rarity-dinov2",
            "--set",
            "backbone.image_size=70",
        ])
        .env("RARECLIP_CACHE", &cache)
        .current_dir(bench.folder.path())
        .output()
        .unwrap()
    };
    assert_eq!(code(&scan()), 0);
    let folder = std::fs::read_dir(cache.join("dinov2-small"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let weights = folder.join("dinov2-small.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, &bytes).unwrap();
    let output = scan();
    assert_eq!(code(&output), 1);
    let text = stderr(&output);
    assert!(
        text.contains("dinov2-small.safetensors: sha256 is") && text.contains("models pull"),
        "{text}"
    );
    // Of another length it counts as not fetched at all.
    std::fs::write(&weights, &bytes[..last]).unwrap();
    let text = stderr(&scan());
    assert!(
        text.contains("dinov2-small") && text.contains("models pull"),
        "{text}"
    );
}
