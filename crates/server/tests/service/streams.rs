//! Streams and what can be done with them.

use rareclip_core::Verdict;
use rareclip_core::calibration::CalibrationConfig;
use rareclip_server::model::{Calibrate, Condition, DetectorChoice, Label, NewStream, ResultQuery};
use rareclip_server::{Settings, SubmitOptions};
use serde_json::json;

use super::common::*;

async fn with_images(images: u32) -> (tempfile::TempDir, std::sync::Arc<rareclip_server::Service>) {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "line", "rarity").await;
    for seed in 0..images {
        send(&service, "line", submission(seed)).await;
    }
    (data, service)
}

#[tokio::test(flavor = "multi_thread")]
async fn creating_a_stream_twice_is_the_same_stream_unless_the_detector_differs() {
    let (_data, service) = with_images(0).await;
    let new = |detector: &str| NewStream {
        name: "line".into(),
        detector: Some(DetectorChoice::Name(detector.into())),
        calibration: None,
    };
    let (info, created) = service.create(new("rarity")).await.unwrap();
    assert!(!created && info.detector == "rarity");
    assert_eq!(
        service.create(new("patchcore")).await.unwrap_err().status(),
        409
    );
    let error = service.create(new("rariti")).await.unwrap_err();
    assert_eq!(error.status(), 404);
    assert!(error.to_string().contains("rarity, patchcore"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_could_be_paths_are_refused() {
    let (_data, service) = with_images(0).await;
    for name in ["", "../x", "a/b", ".hidden", "a b", "é", &"x".repeat(65)] {
        let new = NewStream {
            name: name.into(),
            detector: None,
            calibration: None,
        };
        assert_eq!(
            service.create(new).await.unwrap_err().status(),
            400,
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_of_a_request_shares_a_backbone_and_names_no_files() {
    let (_data, service) = with_images(0).await;
    let config = |backbone: serde_json::Value, index: serde_json::Value| {
        let table = json!({
            "backbone": backbone,
            "bank": {"type": "prototype", "blocks": [1], "capacity": 1.0, "index": index},
            "scorer": {"type": "rarity"},
        });
        NewStream {
            name: "own".into(),
            detector: serde_json::from_value(table)
                .ok()
                .map(DetectorChoice::Config),
            calibration: None,
        }
    };
    let backbone = json!({"type": "thumbnail", "image_size": 64, "cell": 8});
    let other = json!({"type": "thumbnail", "image_size": 128, "cell": 8});
    let exact = json!({"type": "exact"});
    let error = service
        .create(config(other, exact.clone()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("/v1/detectors"), "{error}");
    let path = json!({"type": "../../etc/passwd"});
    let error = service
        .create(config(backbone.clone(), path))
        .await
        .unwrap_err();
    assert_eq!(error.status(), 400);
    let (info, created) = service.create(config(backbone, exact)).await.unwrap();
    assert!(created);
    assert_eq!(info.detector, "rarity (own config)");
    send(&service, "own", submission(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_stream_scores_and_remembers_nothing() {
    let (_data, service) = with_images(6).await;
    let before = service.stream("line").await.unwrap();
    service.set_frozen("line", true).await.unwrap();
    let first = send(&service, "line", submission(50)).await;
    let second = send(&service, "line", submission(50)).await;
    assert_eq!(
        first.record.result.raw_score,
        second.record.result.raw_score
    );
    assert!(!first.record.result.remembered && first.recorded);
    let after = service.stream("line").await.unwrap();
    assert_eq!(after.bank.unwrap().images, before.bank.unwrap().images);
    assert_eq!(after.skipped_updates, 2);
    service.set_frozen("line", false).await.unwrap();
    assert!(
        send(&service, "line", submission(51))
            .await
            .record
            .result
            .remembered
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_begins_anew_and_keeps_the_history() {
    let (_data, service) = with_images(12).await;
    let info = service.reset("line").await.unwrap();
    assert_eq!((info.images, info.results), (0, 12));
    let mut scores = Vec::new();
    for seed in 0..12 {
        scores.push(send(&service, "line", submission(seed)).await.record);
    }
    let found: Vec<f32> = scores.iter().map(|record| record.result.score).collect();
    assert_eq!(found, expected(0..12));
    assert_eq!(scores[0].id, 13);
    assert_eq!(scores[0].result.sequence, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_brings_back_what_was() {
    let (_data, service) = with_images(9).await;
    let kept = service.snapshot("line", Some("good".into())).await.unwrap();
    assert_eq!(kept.images, 9);
    for seed in 100..110 {
        send(&service, "line", submission(seed)).await;
    }
    assert_eq!(
        service.snapshots("line").await.unwrap(),
        std::slice::from_ref(&kept)
    );
    let info = service.restore("line", kept.id).await.unwrap();
    assert_eq!(info.images, 9);
    let next = send(&service, "line", submission(9)).await;
    assert_eq!(next.record.result.score, expected(0..10)[9]);
    service.delete_snapshot("line", kept.id).await.unwrap();
    assert_eq!(
        service.restore("line", kept.id).await.unwrap_err().status(),
        404
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_state_goes_on_in_another_stream_and_not_in_another_detector() {
    let (_data, service) = with_images(9).await;
    let state = service.export("line").await.unwrap();
    stream(&service, "copy", "rarity").await;
    service.import("copy", state.clone()).await.unwrap();
    let next = send(&service, "copy", submission(9)).await;
    assert_eq!(next.record.result.score, expected(0..10)[9]);
    stream(&service, "other", "patchcore").await;
    assert_eq!(
        service.import("other", state).await.unwrap_err().status(),
        409
    );
    let cut = service.export("line").await.unwrap().slice(..100);
    assert_eq!(service.import("copy", cut).await.unwrap_err().status(), 400);
    assert_eq!(service.stream("copy").await.unwrap().images, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detector_that_learns_from_normals_says_so_and_scores_once_it_has_them() {
    let (_data, service) = with_images(0).await;
    stream(&service, "fit", "patchcore").await;
    let error = try_send(&service, "fit", submission(1)).await.unwrap_err();
    assert_eq!(error.status(), 409);
    let normals = (1..9).map(submission).collect();
    let info = service.normals("fit", normals).await.unwrap();
    assert_eq!(info.images, 8);
    let normal = send(&service, "fit", submission(9))
        .await
        .record
        .result
        .score;
    let spot = send(&service, "fit", submission(10))
        .await
        .record
        .result
        .score;
    assert!(spot > normal, "{spot} {normal}");
    let late = service.normals("fit", vec![submission(11)]).await;
    assert_eq!(late.unwrap_err().status(), 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn normals_survive_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "fit", "patchcore").await;
    let normals = (1..6).map(submission).collect();
    service.normals("fit", normals).await.unwrap();
    let peek = SubmitOptions {
        update: false,
        ..SubmitOptions::default()
    };
    let one = |mut done: Vec<Result<rareclip_server::Submitted, _>>| {
        done.pop().unwrap().unwrap().record.result.score
    };
    let before = one(service
        .submit("fit", vec![submission(9)], peek)
        .await
        .unwrap());
    service.close().await;
    drop(service);
    let service = open(settings(data.path())).await;
    let after = one(service
        .submit("fit", vec![submission(9)], peek)
        .await
        .unwrap());
    assert_eq!(before, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_threshold_changes_verdicts_from_then_on_and_can_be_tried_before() {
    let (_data, service) = with_images(30).await;
    let scores = service.scores("line", 1000).await.unwrap();
    let mut sorted = scores.scores.clone();
    sorted.sort_by(f32::total_cmp);
    let threshold = sorted[24];
    let preview = service.preview("line", threshold).await.unwrap();
    let above = sorted.iter().filter(|score| **score > threshold).count() as u64;
    assert_eq!((preview.judged, preview.anomalous), (30, above));
    assert_eq!(preview.basis, "history");
    let policy = CalibrationConfig::Fixed { threshold: -1.0 };
    let info = service.set_policy("line", policy).await.unwrap();
    assert_eq!(info.calibration.unwrap().threshold, Some(-1.0));
    let done = send(&service, "line", submission(31)).await;
    assert_eq!(done.record.result.verdict, Verdict::Anomalous);
    let wrong = CalibrationConfig::Fixed {
        threshold: f32::NAN,
    };
    assert_eq!(
        service
            .set_policy("line", wrong)
            .await
            .unwrap_err()
            .status(),
        400
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn feedback_calibrates_once_there_is_enough_of_it() {
    let (_data, service) = with_images(30).await;
    let results = service
        .results("line", ResultQuery::default())
        .await
        .unwrap();
    for record in &results[..8] {
        let label = Some(Label::Normal);
        service
            .feedback("line", record.id, label, None)
            .await
            .unwrap();
    }
    let error = service
        .calibrate("line", Calibrate::Feedback { rate: 0.1 })
        .await
        .unwrap_err();
    assert!(error.to_string().contains("8 of 9"), "{error}");
    let id = results[8].id;
    service
        .feedback("line", id, Some(Label::Normal), None)
        .await
        .unwrap();
    let info = service
        .calibrate("line", Calibrate::Feedback { rate: 0.1 })
        .await
        .unwrap();
    let calibration = info.calibration.unwrap();
    assert_eq!(calibration.known_normals, 9);
    assert!(calibration.threshold.is_some());
    // And stays after a restart.
    service.close().await;
    let images = (200..212).map(submission).collect();
    assert_eq!(
        service
            .calibrate_images("line", 0.1, images)
            .await
            .unwrap_err()
            .status(),
        503
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_searched_and_paged() {
    let (_data, service) = with_images(25).await;
    let page = |before, limit| ResultQuery {
        before,
        limit: Some(limit),
        ..ResultQuery::default()
    };
    let first = service.results("line", page(None, 10)).await.unwrap();
    let second = service
        .results("line", page(Some(first[9].id), 10))
        .await
        .unwrap();
    let ids: Vec<u64> = first.iter().chain(&second).map(|r| r.id).collect();
    assert_eq!(ids, (6..=25).rev().collect::<Vec<u64>>());
    let named = ResultQuery {
        image: Some("2.png".into()),
        ..ResultQuery::default()
    };
    let named = service.results("line", named).await.unwrap();
    let names: Vec<&str> = named.iter().filter_map(|r| r.image.as_deref()).collect();
    assert_eq!(names, ["22.png", "12.png", "2.png"]);
    let literal = ResultQuery {
        image: Some("%".into()),
        ..ResultQuery::default()
    };
    assert!(service.results("line", literal).await.unwrap().is_empty());
    let since = ResultQuery {
        after: Some(23),
        ..ResultQuery::default()
    };
    let since = service.results("line", since).await.unwrap();
    assert_eq!(since.iter().map(|r| r.id).collect::<Vec<_>>(), [24, 25]);
    let wrong = ResultQuery {
        from: Some("yesterday".into()),
        ..ResultQuery::default()
    };
    assert_eq!(
        service.results("line", wrong).await.unwrap_err().status(),
        400
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_of_anomalies_are_kept_and_old_ones_make_room() {
    let data = tempfile::tempdir().unwrap();
    let service = open(Settings {
        keep_pictures: rareclip_server::KeepPictures::All,
        ..settings(data.path())
    })
    .await;
    stream(&service, "line", "rarity").await;
    let id = send(&service, "line", submission(1)).await.record.id;
    let live = service.shown("line", id).await.unwrap();
    service.close().await;
    // Pictures are written beside the answer's way.
    for _ in 0..100 {
        if std::fs::read_dir(data.path().join("pictures/1")).is_ok_and(|files| files.count() == 2) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    drop(service);
    let service = open(settings(data.path())).await;
    let kept = service.shown("line", id).await.unwrap();
    assert_eq!(kept.map, live.map);
    assert_eq!(kept.picture.width(), 48);
    assert_eq!(service.shown("line", 99).await.unwrap_err().status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stream_is_gone_with_its_files_and_its_name_is_free() {
    let (data, service) = with_images(10).await;
    service.delete("line").await.unwrap();
    assert_eq!(service.stream("line").await.unwrap_err().status(), 404);
    assert_eq!(
        try_send(&service, "line", submission(1))
            .await
            .unwrap_err()
            .status(),
        404
    );
    assert!(!data.path().join("streams/1").exists());
    stream(&service, "line", "patchcore").await;
    let info = service.stream("line").await.unwrap();
    assert_eq!((info.images, info.results), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_detector_the_service_has_not_is_damaged_until_it_has_it() {
    let (data, service) = with_images(3).await;
    service.close().await;
    drop(service);
    let only = rareclip_server::NamedConfig {
        name: "patchcore".into(),
        config: config(PATCHCORE),
    };
    let detectors = rareclip_server::Detectors::build(vec![only], 4).unwrap();
    let service = rareclip_server::Service::open(settings(data.path()), detectors)
        .await
        .unwrap();
    let info = service.stream("line").await.unwrap();
    assert_eq!(info.condition, Condition::Damaged);
    assert!(info.notice.unwrap().contains("rarity"));
    assert_eq!(
        try_send(&service, "line", submission(3))
            .await
            .unwrap_err()
            .status(),
        409
    );
    // Nor can what it has learnt be thrown away by mistake.
    let error = service.reset("line").await.unwrap_err();
    assert!(error.to_string().contains("state waits for it"), "{error}");
    service.close().await;
    drop(service);
    let service = open(settings(data.path())).await;
    assert_eq!(
        send(&service, "line", submission(3))
            .await
            .record
            .result
            .score,
        expected(0..4)[3]
    );
}
