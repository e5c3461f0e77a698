//! Scores, order, queue.

use std::time::Duration;

use rareclip_server::{ServiceError, Settings, SubmitOptions};

use super::common::*;

#[tokio::test(flavor = "multi_thread")]
async fn scores_are_those_of_the_library_to_the_bit() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "line", "rarity").await;
    let mut scores = Vec::new();
    for seed in 0..30 {
        scores.push(
            send(&service, "line", submission(seed))
                .await
                .record
                .result
                .score,
        );
    }
    assert_eq!(scores, expected(0..30));
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_one_request_and_of_many_at_once_are_taken_in_the_order_they_came() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "a", "rarity").await;
    stream(&service, "b", "rarity").await;
    let all = |range: std::ops::Range<u32>| range.map(submission).collect::<Vec<_>>();
    let options = SubmitOptions::default();
    let (a, b, more) = tokio::join!(
        service.submit("a", all(0..25), options),
        service.submit("b", all(0..25), options),
        service.submit("a", all(25..30), options),
    );
    let scores = |done: Vec<Result<rareclip_server::Submitted, ServiceError>>| {
        done.into_iter()
            .map(|image| image.unwrap().record.result.score)
            .collect::<Vec<_>>()
    };
    let (mut a, b, more) = (
        scores(a.unwrap()),
        scores(b.unwrap()),
        scores(more.unwrap()),
    );
    assert_eq!(b, expected(0..25));
    a.extend(more);
    assert_eq!(a, expected(0..30));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_image_is_an_error_in_its_place_and_the_others_are_scored() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "line", "rarity").await;
    let mut images = vec![submission(1), submission(2), submission(3)];
    images[1].bytes = b"not an image".as_slice().into();
    let done = service
        .submit("line", images, SubmitOptions::default())
        .await
        .unwrap();
    assert!(done[0].is_ok() && done[2].is_ok());
    let error = done[1].as_ref().unwrap_err();
    assert_eq!(error.status(), 422);
    assert!(error.to_string().contains("2.png"), "{error}");
    assert_eq!(service.stream("line").await.unwrap().images, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peek_leaves_no_trace() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "line", "rarity").await;
    for seed in 0..5 {
        send(&service, "line", submission(seed)).await;
    }
    let before = service.export("line").await.unwrap();
    let peek = SubmitOptions {
        update: false,
        ..SubmitOptions::default()
    };
    let peeked = service.submit("line", vec![submission(9)], peek).await;
    let peeked = peeked.unwrap().pop().unwrap().unwrap();
    assert!(!peeked.recorded && peeked.record.id == 0);
    assert_eq!(service.export("line").await.unwrap(), before);
    let history = service.results("line", Default::default()).await.unwrap();
    assert_eq!(history.len(), 5);
    // And it says what would have been said.
    let learnt = send(&service, "line", submission(9)).await;
    assert_eq!(learnt.record.result.score, peeked.record.result.score);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_images_than_can_wait_are_refused_whole_with_a_time_to_come_back() {
    let data = tempfile::tempdir().unwrap();
    let settings = Settings {
        max_queue: 8,
        ..settings(data.path())
    };
    let service = open(settings).await;
    stream(&service, "line", "rarity").await;
    let all = |range: std::ops::Range<u32>| range.map(submission).collect::<Vec<_>>();
    let options = SubmitOptions::default();
    let (first, second) = tokio::join!(
        service.submit("line", all(0..7), options),
        service.submit("line", all(7..12), options),
    );
    assert_eq!(first.unwrap().len(), 7);
    let Err(error) = second else {
        panic!("twelve images in a queue of eight");
    };
    assert_eq!(error.status(), 429);
    assert!(error.retry_after_s().unwrap() >= 1);
    let error = service.submit("line", all(0..9), options).await;
    assert_eq!(error.unwrap_err().status(), 413);
    assert_eq!(service.stream("line").await.unwrap().images, 7);
    assert_eq!(service.info().waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_whose_time_is_over_leaves_no_trace() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "line", "rarity").await;
    let hasty = SubmitOptions {
        deadline: Some(Duration::ZERO),
        ..SubmitOptions::default()
    };
    let done = service.submit("line", vec![submission(1)], hasty).await;
    let error = done.unwrap().pop().unwrap().unwrap_err();
    assert_eq!(error.status(), 504);
    assert_eq!(service.stream("line").await.unwrap().images, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_takes_its_waiting_images_with_it() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "line", "rarity").await;
    let images = (0..40).map(submission).collect();
    let sent = service.submit("line", images, SubmitOptions::default());
    // Long enough to be queued, too short to be done.
    let _ = tokio::time::timeout(Duration::from_millis(5), sent).await;
    send(&service, "line", submission(100)).await;
    let info = service.stream("line").await.unwrap();
    assert!(info.images < 41, "{}", info.images);
    assert_eq!(info.images, info.results);
    assert_eq!(service.info().waiting, 0);
}
