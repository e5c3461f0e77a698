use axum::body::{Body, BodyDataStream};
use std::time::Duration;
use tokio_stream::StreamExt;
use tower::ServiceExt;

use crate::client::Site;

/// What a client of an event stream reads.
struct Listener {
    body: BodyDataStream,
    rest: String,
}

#[derive(Debug)]
struct Event {
    kind: String,
    id: Option<u64>,
    data: serde_json::Value,
}

impl Listener {
    async fn follow(site: &Site, path: &str, last: Option<u64>) -> Self {
        let mut call = site.call("GET", path);
        if let Some(last) = last {
            call = call.header("last-event-id", &last.to_string());
        }
        let response = site.router.clone().oneshot(call.request()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body: Body = response.into_body();
        Self {
            body: body.into_data_stream(),
            rest: String::new(),
        }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((frame, rest)) = self.rest.split_once("\n\n") {
                let frame = frame.to_owned();
                self.rest = rest.to_owned();
                let field = |name: &str| {
                    let mut lines = frame.lines();
                    lines
                        .find_map(|line| line.strip_prefix(name))
                        .map(|v| v.trim_start().to_owned())
                };
                let Some(data) = field("data:") else {
                    continue;
                };
                return Some(Event {
                    kind: field("event:").unwrap(),
                    id: field("id:").map(|id| id.parse().unwrap()),
                    data: serde_json::from_str(&data).unwrap(),
                });
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.body.next());
            let chunk = chunk.await.expect("an event within 20 s")?.unwrap();
            self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn results(&mut self, count: usize) -> Vec<u64> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let event = self.next().await.unwrap();
            if event.kind == "result" {
                assert_eq!(event.data["id"].as_u64(), event.id);
                ids.push(event.id.unwrap());
            }
        }
        ids
    }
}

#[tokio::test]
async fn a_result_is_told_as_it_happens() {
    let site = Site::open().await;
    site.stream("s").await;
    site.stream("other").await;
    let mut listener = Listener::follow(&site, "/v1/streams/s/events", None).await;
    site.image("other", 1).await;
    let answer = site.image("s", 1).await;
    let event = listener.next().await.unwrap();
    assert_eq!((event.kind.as_str(), event.id), ("result", Some(1)));
    assert_eq!(event.data["stream"], "s");
    assert_eq!(event.data["score"], answer["score"]);
}

#[tokio::test]
async fn a_client_that_comes_again_gets_what_it_missed_once_and_in_order() {
    let site = Site::open().await;
    site.stream("s").await;
    for seed in 1..=5 {
        site.image("s", seed).await;
    }
    let mut listener = Listener::follow(&site, "/v1/streams/s/events", Some(2)).await;
    for seed in 6..=8 {
        site.image("s", seed).await;
    }
    assert_eq!(listener.results(6).await, [3, 4, 5, 6, 7, 8]);
    let mut listener = Listener::follow(&site, "/v1/streams/s/events?after=7", None).await;
    assert_eq!(listener.results(1).await, [8]);
}

#[tokio::test]
async fn nothing_is_lost_or_twice_at_the_seam_while_images_come() {
    let site = Site::open().await;
    site.stream("s").await;
    let sender = async {
        for seed in 1..=60 {
            site.image("s", seed).await;
        }
    };
    let listeners = async {
        for round in 0..6 {
            let mut listener = Listener::follow(&site, "/v1/streams/s/events?after=0", None).await;
            let count = 10 * (round + 1);
            let ids = listener.results(count).await;
            assert_eq!(ids, (1..=count as u64).collect::<Vec<_>>());
        }
    };
    tokio::join!(sender, listeners);
}

#[tokio::test]
async fn a_client_that_lags_is_caught_up_from_the_history() {
    let site = Site::open().await;
    site.stream("s").await;
    site.stream("noise").await;
    let mut listener = Listener::follow(&site, "/v1/streams/s/events", None).await;
    // Nobody reads meanwhile: far more events than are held for a listener.
    for seed in 1..=150 {
        site.image("s", seed).await;
    }
    for _ in 0..600 {
        site.call("POST", "/v1/streams/noise/freeze")
            .send()
            .await
            .is(200);
        site.call("POST", "/v1/streams/noise/unfreeze")
            .send()
            .await
            .is(200);
    }
    site.image("s", 151).await;
    assert_eq!(listener.results(151).await, (1..=151).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_that_is_deleted_ends_its_events() {
    let site = Site::open().await;
    site.stream("s").await;
    let mut listener = Listener::follow(&site, "/v1/streams/s/events", None).await;
    site.call("DELETE", "/v1/streams/s").send().await.is(204);
    let mut last = None;
    while let Some(event) = listener.next().await {
        last = Some(event);
    }
    let last = last.unwrap();
    assert_eq!(
        (last.kind.as_str(), &last.data["stream"]),
        ("deleted", &"s".into())
    );
}

#[tokio::test]
async fn events_of_all_streams_name_their_stream_and_have_no_id_to_resume_from() {
    let site = Site::open().await;
    let mut listener = Listener::follow(&site, "/v1/events", None).await;
    site.stream("a").await;
    site.image("a", 1).await;
    let mut kinds = Vec::new();
    while kinds.last().map(String::as_str) != Some("result") {
        let event = listener.next().await.unwrap();
        assert_eq!(event.data["stream"], "a");
        assert_eq!(event.id, None);
        kinds.push(event.kind);
    }
    assert_eq!(kinds[0], "stream");
}

#[tokio::test]
async fn event_streams_are_bounded_and_given_back() {
    let options = rareclip_server::api::ApiOptions {
        max_event_streams: 1,
        ..Default::default()
    };
    let site = Site::with(options, |_| {}).await;
    let first = Listener::follow(&site, "/v1/events", None).await;
    let refused = site.get("/v1/events").await;
    // By the rule of the queue, which is empty.
    assert_eq!(refused.header("retry-after"), "1");
    refused.problem(429, "busy");
    drop(first);
    tokio::time::sleep(Duration::from_millis(100)).await;
    Listener::follow(&site, "/v1/events", None).await;
}
