//! Computations that do not end: their stream is given up, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use rareclip_server::model::Condition;
use rareclip_server::{Detectors, NamedConfig, Service, ServiceError, Settings, Submission};
use tokio::task::JoinHandle;

use super::blocking::{hang, let_go};
use super::common::*;

/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A service with `rarity`, and `blocking` whose images end unless `name` hangs.
async fn with_blocking(name: &str, settings: Settings) -> Arc<Service> {
    let blocking = format!(
        "name = \"blocking\"\n[backbone]\ntype = \"thumbnail\"\nimage_size = 64\ncell = 8\n\
         [scorer]\ntype = \"blocking\"\nname = \"{name}\"\n"
    );
    let named = [("rarity", RARITY), ("blocking", &blocking)];
    let configs = named.map(|(name, text)| NamedConfig {
        name: name.into(),
        config: config(text),
    });
    let detectors = Detectors::build(configs.into(), 4).unwrap();
    Service::open(settings, detectors).await.unwrap()
}

fn sent(service: &Arc<Service>, name: &str, seed: u32) -> JoinHandle<Result<(), ServiceError>> {
    let (service, name) = (Arc::clone(service), name.to_owned());
    tokio::spawn(async move { try_send(&service, &name, submission(seed)).await.map(drop) })
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_do_not_end_take_their_streams_out_of_service_and_no_others() {
    let data = tempfile::tempdir().unwrap();
    let limit = Settings {
        compute_limit: Duration::from_millis(400),
        ..settings(data.path())
    };
    let service = with_blocking("others", limit).await;
    stream(&service, "line", "rarity").await;
    // More than can compute at once.
    let cores = std::thread::available_parallelism().unwrap().get();
    let names: Vec<String> = (0..cores + 2)
        .map(|number| format!("stuck-{number}"))
        .collect();
    for name in &names {
        stream(&service, name, "blocking").await;
        send(&service, name, submission(1)).await;
    }
    hang("others");
    let waiting: Vec<_> = names.iter().map(|name| sent(&service, name, 2)).collect();
    for (name, answer) in names.iter().zip(waiting) {
        let error = within(answer).await.unwrap().unwrap_err();
        assert_eq!((error.status(), error.kind()), (500, "stuck"), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let whole = expected(1..4);
    for seed in 1..4u32 {
        let scored = within(send(&service, "line", submission(seed))).await;
        assert_eq!(scored.record.result.score, whole[seed as usize - 1]);
    }
    let problems = service.info().problems;
    assert!(problems[0].contains("stream stuck-"), "{problems:?}");

    // They are not tried again while their threads run.
    let error = within(try_send(&service, "stuck-0", submission(3)))
        .await
        .unwrap_err();
    assert_eq!((error.status(), error.kind()), (409, "damaged"), "{error}");
    let info = service.stream("stuck-0").await.unwrap();
    assert_eq!(info.condition, Condition::Damaged);
    assert!(info.notice.unwrap().contains("did not end"));

    let_go("others");
    while !service.info().problems.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The image that did not end left no trace.
    let scored = within(send(&service, "stuck-0", submission(4))).await;
    assert_eq!(scored.record.result.sequence, 1);
    assert_eq!(
        service.stream("stuck-0").await.unwrap().condition,
        Condition::Loaded
    );
    assert_eq!(service.stream("stuck-0").await.unwrap().notice, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_out_of_service_is_back_after_a_reset_but_not_without_end() {
    let data = tempfile::tempdir().unwrap();
    let limit = Settings {
        compute_limit: Duration::from_millis(300),
        ..settings(data.path())
    };
    let service = with_blocking("again", limit).await;
    stream(&service, "stuck", "blocking").await;
    hang("again");
    for _ in 0..2 {
        let error = within(try_send(&service, "stuck", submission(1)))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), "stuck", "{error}");
        if service.reset("stuck").await.is_err() {
            break;
        }
    }
    let error = service.reset("stuck").await.unwrap_err();
    assert_eq!(error.status(), 409, "{error}");
    assert!(error.to_string().contains("restart the service"), "{error}");
    let_go("again");
    while service.reset("stuck").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    within(send(&service, "stuck", submission(1))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_behind_one_that_does_not_end_leave_room_for_other_streams() {
    let data = tempfile::tempdir().unwrap();
    let slow = Settings {
        compute_limit: Duration::from_secs(3600),
        ..settings(data.path())
    };
    let service = with_blocking("behind", slow).await;
    stream(&service, "line", "rarity").await;
    stream(&service, "stuck", "blocking").await;
    hang("behind");
    let waiting: Vec<_> = (0..100).map(|seed| sent(&service, "stuck", seed)).collect();
    while service.info().waiting < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    within(send(&service, "line", submission(1))).await;
    let_go("behind");
    for answer in waiting {
        within(answer).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_closes_while_an_image_does_not_end() {
    let data = tempfile::tempdir().unwrap();
    let grace = Settings {
        close_grace: Duration::from_millis(300),
        compute_limit: Duration::from_secs(3600),
        ..settings(data.path())
    };
    let service = with_blocking("closing", grace).await;
    stream(&service, "line", "rarity").await;
    stream(&service, "stuck", "blocking").await;
    send(&service, "line", submission(1)).await;
    hang("closing");
    let answer = sent(&service, "stuck", 1);
    while service.info().waiting == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    within(service.close()).await;
    assert_eq!(service.late(), ["stuck"]);
    let_go("closing");
    let _ = within(answer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_answered_while_its_stream_is_stuck_and_the_queue_is_full() {
    let data = tempfile::tempdir().unwrap();
    let one_place = Settings {
        max_queue: 1,
        ..settings(data.path())
    };
    let service = with_blocking("replay", one_place).await;
    stream(&service, "line", "blocking").await;
    let first = send(&service, "line", keyed(1)).await;
    hang("replay");
    let stuck = sent(&service, "line", 2);
    within(async {
        while service.info().waiting == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let busy = within(try_send(&service, "line", submission(3))).await;
    assert_eq!(busy.unwrap_err().status(), 429);
    let again = within(send(&service, "line", keyed(1))).await;
    assert!(again.replayed);
    assert_eq!(again.record, first.record);
    let other = Submission {
        key: keyed(1).key,
        ..submission(4)
    };
    let error = within(try_send(&service, "line", other)).await.unwrap_err();
    assert_eq!(error.status(), 409, "{error}");
    let_go("replay");
    within(stuck).await.unwrap().unwrap();
}
