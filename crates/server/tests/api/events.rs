use axum::body::{Body, BodyDataStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rareclip_server::api::{ApiOptions, Peer};
use rareclip_server::security::{KeyRing, Scope};
use tokio_stream::StreamExt;
use tower::ServiceExt;

use crate::client::{Call, Site};

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
        Self::open(site, call).await
    }

    async fn open(site: &Site, call: Call<'_>) -> Self {
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
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < Duration::from_secs(60), "only comments");
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
    let options = ApiOptions {
        write_timeout: Duration::from_secs(3600),
        ..Default::default()
    };
    let site = Site::with(options, |_| {}).await;
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
    let options = ApiOptions {
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

struct Locked {
    site: Site,
    ring: Arc<KeyRing>,
    file: std::path::PathBuf,
    secret: String,
    _folder: tempfile::TempDir,
}

/// A service with a key `a` of scope read, and a stream `s`.
async fn locked(keep_alive: Duration) -> Locked {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let ring = Arc::new(KeyRing::open(&file).unwrap());
    let options = ApiOptions {
        keys: Some(Arc::clone(&ring)),
        event_keep_alive: keep_alive,
        max_event_streams_per_key: 2,
        ..Default::default()
    };
    let site = Site::with(options, |_| {}).await;
    site.stream("s").await;
    let secret = ring.add("a", Scope::Read).unwrap();
    Locked {
        site,
        ring,
        file,
        secret,
        _folder: folder,
    }
}

impl Locked {
    fn call(&self, path: &str, secret: &str) -> Call<'_> {
        let call = self.site.call("GET", path);
        call.header("authorization", &format!("Bearer {secret}"))
    }

    async fn follow(&self, path: &str) -> Listener {
        Listener::open(&self.site, self.call(path, &self.secret)).await
    }
}

const OFTEN: Duration = Duration::from_millis(50);
const NEVER: Duration = Duration::from_secs(3600);
const PATHS: [&str; 2] = ["/v1/events", "/v1/streams/s/events"];

#[tokio::test]
async fn events_end_when_their_key_is_revoked_although_nothing_happens() {
    let locked = locked(OFTEN).await;
    let mut listeners = Vec::new();
    for path in PATHS {
        listeners.push(locked.follow(path).await);
    }
    locked.ring.revoke("a").unwrap();
    for mut listener in listeners {
        assert!(listener.next().await.is_none());
    }
}

#[tokio::test]
async fn an_event_is_not_sent_to_a_client_whose_key_was_revoked() {
    let locked = locked(NEVER).await;
    let mut listeners = Vec::new();
    for path in PATHS {
        listeners.push(locked.follow(path).await);
    }
    let admin = locked.ring.add("admin", Scope::Admin).unwrap();
    // By another process, as `rareclip keys revoke` does.
    KeyRing::open(&locked.file).unwrap().revoke("a").unwrap();
    let call = locked.site.call("POST", "/v1/streams/s/freeze");
    let call = call.header("authorization", &format!("Bearer {admin}"));
    call.send().await.is(200);
    for mut listener in listeners {
        assert!(listener.next().await.is_none());
    }
}

#[tokio::test]
async fn events_end_when_the_keys_can_no_longer_be_read() {
    let locked = locked(OFTEN).await;
    let mut listener = locked.follow("/v1/events").await;
    std::fs::write(&locked.file, "{").unwrap();
    assert!(listener.next().await.is_none());
}

#[tokio::test]
async fn events_that_were_opened_without_a_key_end_when_keys_are_set_up() {
    let folder = tempfile::tempdir().unwrap();
    let ring = Arc::new(KeyRing::open(folder.path().join("keys.json")).unwrap());
    let options = ApiOptions {
        keys: Some(Arc::clone(&ring)),
        event_keep_alive: OFTEN,
        ..Default::default()
    };
    let site = Site::with(options, |_| {}).await;
    let mut listener = Listener::follow(&site, "/v1/events", None).await;
    ring.add("a", Scope::Admin).unwrap();
    assert!(listener.next().await.is_none());
}

#[tokio::test]
async fn one_key_cannot_take_every_event_stream() {
    let locked = locked(NEVER).await;
    let other = locked.ring.add("b", Scope::Read).unwrap();
    let _held = [
        locked.follow("/v1/events").await,
        locked.follow("/v1/streams/s/events").await,
    ];
    let refused = locked.call("/v1/events", &locked.secret).send();
    let refused = tokio::time::timeout(Duration::from_secs(20), refused).await;
    let said = refused.unwrap().problem(429, "busy");
    assert!(said.contains("with this key"), "{said}");
    Listener::open(&locked.site, locked.call("/v1/events", &other)).await;
}

#[tokio::test]
async fn one_address_cannot_take_every_event_stream() {
    let options = ApiOptions {
        max_event_streams_per_address: 1,
        ..Default::default()
    };
    let site = Site::with(options, |_| {}).await;
    let ask = async |remote: &str| {
        let mut request = site.call("GET", "/v1/events").request();
        request.extensions_mut().insert(Peer {
            remote: remote.parse().unwrap(),
            local: "127.0.0.1:80".parse().unwrap(),
            tls: false,
        });
        site.router.clone().oneshot(request).await.unwrap()
    };
    let held = ask("10.0.0.1:5000").await;
    assert_eq!(held.status(), 200);
    let refused = ask("10.0.0.1:5001").await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(ask("10.0.0.2:5000").await.status(), 200);
    // Behind a proxy on this machine everyone has this address.
    let _first = ask("127.0.0.1:5000").await;
    assert_eq!(ask("127.0.0.1:5001").await.status(), 200);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_events_loses_its_place() {
    let options = ApiOptions {
        max_event_streams: 1,
        write_timeout: Duration::from_millis(100),
        event_keep_alive: NEVER,
        ..Default::default()
    };
    let site = Site::with(options, |_| {}).await;
    site.stream("s").await;
    let _unread = Listener::follow(&site, "/v1/events", None).await;
    // More events than are held for a client.
    for _ in 0..40 {
        for change in ["freeze", "unfreeze"] {
            let path = format!("/v1/streams/s/{change}");
            site.call("POST", path).send().await.is(200);
        }
    }
    let ask = async || {
        let request = site.call("GET", "/v1/events").request();
        site.router.clone().oneshot(request).await.unwrap().status()
    };
    for _ in 0..600 {
        if ask().await == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the place was not given back within 30 s");
}
