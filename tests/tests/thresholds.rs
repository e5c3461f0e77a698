//! Thresholds: set anew without scoring again, checked, and kept to.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod common;

use common::{Bench, code, rows, stderr, stdout};

#[test]
fn thresholds_change_without_scoring_again() {
    let bench = Bench::new(30, &[28]);
    bench.scan(&["--out", "out"]);
    let scores = |rows: &[serde_json::Value]| -> Vec<String> {
        rows.iter().map(|row| row["score"].to_string()).collect()
    };
    let first = bench.results("out");
    let out = bench.text("out");
    let again = rows(&stdout(&common::run(&["judge", &out, "--threshold", "-1"])));
    assert_eq!(scores(&first), scores(&again));
    assert!(again.iter().all(|row| row["verdict"] == "anomalous"));
    // The policy of the scan gives the verdicts of the scan.
    let same = rows(&stdout(&common::run(&[
        "judge",
        &out,
        "--quantile",
        "0.95",
    ])));
    for (a, b) in first.iter().zip(&same) {
        assert_eq!(
            (&a["verdict"], &a["threshold"], &a["p_value"]),
            (&b["verdict"], &b["threshold"], &b["p_value"])
        );
    }
}

#[test]
fn a_share_out_of_range_is_refused_by_name() {
    let bench = Bench::new(3, &[]);
    bench.scan(&["--out", "out"]);
    let (out, state) = (bench.text("out"), bench.text("state"));
    for (args, named) in [
        (["judge", &out, "--quantile", "1"], "calibration.quantile"),
        (
            ["judge", &out, "--false-alarm-rate", "0"],
            "calibration.rate",
        ),
        (
            ["calibrate", &out, "--rate=0", &format!("--state={state}")],
            "calibration.rate",
        ),
    ] {
        let refused = common::run(&args);
        assert_eq!(code(&refused), 1, "{}", stderr(&refused));
        assert!(stderr(&refused).contains(named), "{}", stderr(&refused));
    }
}

#[test]
fn calibrated_on_normals_a_frozen_stream_keeps_to_its_false_alarm_rate() {
    let bench = Bench::new(40, &[11, 33]);
    common::line_from(&bench.path("memory"), 1000, 12, &[]);
    common::line_from(&bench.path("normals"), 2000, 60, &[]);
    let state = bench.text("state");
    let run = |args: &[&str]| {
        let mut all = args.to_vec();
        let plain = [
            "--config",
            "pixels.toml",
            "--state",
            &state,
            "--set",
            "scorer.rescoring.enabled=false",
        ];
        all.extend(plain);
        let output = common::rareclip(&all)
            .current_dir(bench.folder.path())
            .output()
            .unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        stdout(&output)
    };
    run(&["scan", "memory"]);
    let answer: serde_json::Value =
        serde_json::from_str(&run(&["calibrate", "normals", "--json"])).unwrap();
    assert_eq!(answer["normals"], 60);
    // 60 normals cannot carry a rate of 1 %.
    assert_eq!(
        answer["thresholds"][2]["calibration"],
        "uncalibrated, 60 of 99 known normals"
    );
    let results = run(&[
        "scan",
        "images",
        "--json",
        "--freeze",
        "--false-alarm-rate",
        "0.05",
    ]);
    let anomalous: Vec<u64> = rows(&results)
        .iter()
        .filter(|row| row["verdict"] == "anomalous")
        .map(|row| row["index"].as_u64().unwrap())
        .collect();
    assert!(
        anomalous.contains(&11) && anomalous.contains(&33),
        "{anomalous:?}"
    );
    // Of 38 normals 2 are to be expected; more than 6 has a probability under 1 %.
    assert!(anomalous.len() <= 8, "{anomalous:?}");
}
