//! What a config of a request may choose, how much memory it may take, and what waits while it is
//! built.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use crate::common::trusting;
use rareclip_server::api::{self, ApiOptions};
use rareclip_server::model::{Condition, DetectorChoice, NewStream};
use rareclip_server::{Service, Settings};
use serde_json::{Value, json};

use crate::client::Site;
use crate::common;
use crate::components::{begun, gate, open_gate};

/// A config with the backbone of the service.
fn config(bank: Value, scorer: Value) -> Value {
    json!({
        "backbone": {"type": "thumbnail", "image_size": 64, "cell": 8},
        "bank": bank,
        "scorer": scorer,
    })
}

fn stream(bank: Value, scorer: Value) -> Value {
    json!({"name": "own", "detector": config(bank, scorer)})
}

fn bank(more: Value) -> Value {
    let mut bank =
        json!({"type": "prototype", "blocks": [1], "neighbourhoods": [1], "capacity": 1.0});
    for (key, value) in more.as_object().unwrap() {
        bank[key] = value.clone();
    }
    bank
}

fn rarity() -> Value {
    json!({"type": "rarity"})
}

/// A command that creates `file`.
fn touch(file: &Path) -> Value {
    json!({"type": "process", "blocks": [1], "start_timeout_s": 2, "command": ["touch", file.to_str().unwrap()]})
}

/// That a post of `new` is refused with all of `parts`, and makes no stream.
async fn refused(site: &Site, new: Value, parts: &[&str]) {
    let detail = site
        .post("/v1/streams", new.clone())
        .await
        .problem(400, "invalid");
    for part in parts {
        assert!(
            detail.contains(part),
            "{part} is missing for {new}: {detail}"
        );
    }
    site.get("/v1/streams/own").await.is(404);
}

#[tokio::test]
async fn no_config_of_a_request_starts_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pwned");
    let site = Site::open().await;
    let remedy = ["commands, sockets, files", "--allow-component"];
    for new in [
        stream(touch(&file), rarity()),
        stream(bank(json!({})), touch(&file)),
        // Whatever else the config has.
        json!({"name": "own", "detector": {"backbone": touch(&file), "scorer": touch(&file)}}),
    ] {
        refused(&site, new, &remedy).await;
    }
    let mut new = stream(bank(json!({})), rarity());
    new["detector"]["backbone"] = touch(&file);
    refused(&site, new, &["/v1/detectors"]).await;
    let mut new = stream(bank(json!({})), rarity());
    new["detector"]["prompt"] = touch(&file);
    refused(&site, new, &["/v1/detectors"]).await;
    let new = stream(bank(json!({"index": touch(&file)})), rarity());
    refused(&site, new, &["bank.index"]).await;
    assert!(!file.exists(), "a request started a command");
}

#[tokio::test]
async fn no_config_of_a_request_connects_to_a_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("tcp:{}", listener.local_addr().unwrap());
    let table = json!({"type": "process", "blocks": [1], "start_timeout_s": 2, "address": address});
    let site = Site::open().await;
    refused(&site, stream(table.clone(), rarity()), &["sockets"]).await;
    refused(&site, stream(bank(json!({})), table), &["sockets"]).await;
    let waiting = listener.accept().unwrap_err().kind();
    assert_eq!(waiting, std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn components_of_other_crates_are_refused_until_the_operator_allows_them_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("built");
    let marker = |name: &str| json!({"type": name, "file": file.to_str().unwrap()});
    let site = Site::open().await;
    let other = "not part of the program";
    for (new, name) in [
        (stream(marker("marker"), rarity()), "bank/marker"),
        (stream(marker("file-marker"), rarity()), "bank/file-marker"),
        (stream(bank(json!({})), marker("marker")), "scorer/marker"),
        (
            stream(bank(json!({"index": marker("marker")})), rarity()),
            "index/marker",
        ),
    ] {
        refused(&site, new, &[other, name]).await;
    }
    assert!(!file.exists());
    let allowing = Site::with(ApiOptions::default(), |settings| {
        settings.trust.allow("bank/file-marker").unwrap();
    });
    let allowing = allowing.await;
    refused(&allowing, stream(marker("marker"), rarity()), &[other]).await;
    assert!(!file.exists());
    let new = stream(marker("file-marker"), rarity());
    allowing.post("/v1/streams", new).await.is(201);
    assert!(file.exists());
    allowing.image("own", 1).await;
}

#[tokio::test]
async fn a_service_that_is_given_no_trust_builds_no_config_of_a_request() {
    let site = Site::with(ApiOptions::default(), |settings| {
        settings.trust = Default::default();
    });
    let site = site.await;
    refused(&site, stream(bank(json!({})), rarity()), &["`prototype`"]).await;
    site.stream("named").await;
}

/// The service, and what it needs to be opened again with other settings.
async fn open(data: &Path, change: impl FnOnce(&mut Settings)) -> std::sync::Arc<Service> {
    let mut settings = common::settings(data);
    change(&mut settings);
    common::open(settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_stream_with_a_command_is_not_built_and_names_the_remedy() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("pwned");
    let service = open(data.path(), |_| {}).await;
    common::stream(&service, "line", "rarity").await;
    common::send(&service, "line", common::submission(1)).await;
    let state = service.export("line").await.unwrap();
    service.close().await;
    drop(service);
    let database = rusqlite::Connection::open(data.path().join("rareclip.sqlite")).unwrap();
    let stored = config(touch(&file), rarity()).to_string();
    let changed = database.execute("UPDATE streams SET detector = ?1", [stored]);
    assert_eq!(changed.unwrap(), 1);
    drop(database);

    let service = open(data.path(), |_| {}).await;
    let info = service.stream("line").await.unwrap();
    assert_eq!(info.condition, Condition::Damaged);
    let notice = info.notice.unwrap();
    for part in [
        "bank `process`",
        "commands",
        "--allow-component bank/process",
    ] {
        assert!(notice.contains(part), "{part} is missing: {notice}");
    }
    let error = common::try_send(&service, "line", common::submission(2)).await;
    assert_eq!(error.unwrap_err().kind(), "no-detector");
    let error = service.import("line", state).await.unwrap_err();
    assert_eq!(error.kind(), "no-detector");
    service.reset("line").await.unwrap_err();
    assert!(!file.exists(), "a stored config started a command");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_stream_waits_until_its_component_is_allowed_again() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("built");
    let allow = |settings: &mut Settings| settings.trust.allow("bank/file-marker").unwrap();
    let service = open(data.path(), allow).await;
    let table = config(
        json!({"type": "file-marker", "file": file.to_str().unwrap()}),
        rarity(),
    );
    let new = NewStream {
        name: "line".into(),
        detector: table.as_object().cloned().map(DetectorChoice::Config),
        calibration: None,
    };
    service.create(new).await.unwrap();
    common::send(&service, "line", common::submission(1)).await;
    service.close().await;
    drop(service);
    std::fs::remove_file(&file).unwrap();

    let service = open(data.path(), |_| {}).await;
    let info = service.stream("line").await.unwrap();
    assert_eq!(info.condition, Condition::Damaged);
    assert!(info.notice.unwrap().contains("bank/file-marker"));
    assert!(!file.exists(), "a stored config was built");
    service.close().await;
    drop(service);

    let service = open(data.path(), allow).await;
    common::send(&service, "line", common::submission(2)).await;
    assert_eq!(service.stream("line").await.unwrap().images, 2);
}

#[tokio::test]
async fn the_config_in_the_header_of_an_imported_state_builds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("built");
    let allowing = Site::with(ApiOptions::default(), |settings| {
        settings.trust.allow("bank/file-marker").unwrap();
    });
    let allowing = allowing.await;
    let marker = json!({"type": "file-marker", "file": file.to_str().unwrap()});
    let new = stream(marker, rarity());
    allowing.post("/v1/streams", new).await.is(201);
    allowing.image("own", 1).await;
    let state = allowing.get("/v1/streams/own/export").await.is(200).bytes;
    std::fs::remove_file(&file).unwrap();
    let site = Site::open().await;
    site.stream("s").await;
    let import = site
        .call("POST", "/v1/streams/s/import")
        .raw("application/octet-stream", state);
    let detail = import.send().await.problem(409, "detector");
    assert!(detail.contains("another detector"), "{detail}");
    assert!(!file.exists(), "an import built a component");
}

#[tokio::test]
async fn free_text_in_options_is_refused_whatever_it_says() {
    let site = Site::open().await;
    let new = stream(
        bank(json!({"index": {"type": "exact", "file": "x"}})),
        rarity(),
    );
    refused(&site, new, &["bank.index.file", "unknown key"]).await;
    let allowing = Site::with(ApiOptions::default(), |settings| {
        let plugins = [crate::components::COMPONENTS, rareclip_rarity::COMPONENTS];
        settings.trust = trusting(&plugins);
    });
    let allowing = allowing.await;
    let new = stream(json!({"type": "marker", "file": "plainword"}), rarity());
    refused(&allowing, new, &["bank.file", "free text"]).await;
}

#[tokio::test]
async fn a_bank_that_can_outgrow_the_memory_is_refused_before_it_is_built() {
    let site = Site::with(ApiOptions::default(), |settings| {
        settings.memory_bytes = 64 << 20;
    });
    let site = site.await;
    let refused_by_size = |new: Value| {
        let site = &site;
        async move {
            let answer = site.post("/v1/streams", new).await;
            answer.problem(400, "detector")
        }
    };
    // 64000 prototypes of 24 bytes and 100000 images each.
    let huge = bank(json!({"capacity": 1000, "keep_images": 100_000}));
    let detail = refused_by_size(stream(huge, rarity())).await;
    for part in [
        "bank `prototype`",
        "at most 67108864",
        "`capacity`",
        "`keep_images`",
    ] {
        assert!(detail.contains(part), "{part} is missing: {detail}");
    }
    let scorer = json!({"type": "rarity", "keep_images": 1_000_000});
    let detail = refused_by_size(stream(bank(json!({})), scorer)).await;
    assert!(detail.contains("scorer `rarity`"), "{detail}");
    let normals = json!({"type": "coreset", "blocks": [1], "max_normals": 1_000_000});
    let detail = refused_by_size(stream(normals, json!({"type": "nearest-neighbour"}))).await;
    assert!(detail.contains("`max_normals`"), "{detail}");
    // A bank that does not say is refused by default.
    let unbounded = Site::with(ApiOptions::default(), |settings| {
        let plugins = [crate::components::COMPONENTS, rareclip_rarity::COMPONENTS];
        settings.trust = trusting(&plugins);
    });
    let new = stream(json!({"type": "marker"}), rarity());
    let answer = unbounded.await.post("/v1/streams", new).await;
    let detail = answer.problem(400, "detector");
    assert!(
        detail.contains("does not declare how much memory"),
        "{detail}"
    );
    let new = stream(bank(json!({})), rarity());
    site.post("/v1/streams", new).await.is(201);
}

#[tokio::test]
async fn options_beyond_what_the_grid_allows_are_refused_by_name_and_bound() {
    let site = Site::open().await;
    for (side, parts) in [
        (1_099_511_627_777_u64, ["bank.neighbourhoods.0", "8191"]),
        (17, ["`neighbourhoods` is 17", "at most 15"]),
    ] {
        let new = stream(bank(json!({"neighbourhoods": [side]})), rarity());
        refused(&site, new, &parts).await;
    }
    let many: Vec<u64> = (0..1000).map(|at| 2 * at + 1).collect();
    let new = stream(bank(json!({"neighbourhoods": many})), rarity());
    refused(&site, new, &["1000 entries", "1 to 64"]).await;
    let new = stream(
        json!({"type": "windows", "sides": [9]}),
        json!({"type": "nearest-neighbour"}),
    );
    refused(&site, new, &["`sides` is 9", "at most 8"]).await;
}

#[tokio::test]
async fn names_and_descriptions_are_short_and_without_control_characters() {
    let site = Site::open().await;
    for (key, text) in [
        ("name", "a\nb".to_owned()),
        ("name", String::new()),
        ("name", "a".repeat(65)),
        ("name", "\u{1b}[31m".into()),
        ("description", "a\u{0}".into()),
        ("description", "a".repeat(1025)),
    ] {
        let mut new = stream(bank(json!({})), rarity());
        new["detector"][key] = text.into();
        refused(&site, new, &[&format!("detector.{key}")]).await;
    }
    let new = stream(bank(json!({"blocks": vec![1; 40_000]})), rarity());
    refused(&site, new, &["at most 65536"]).await;
    let mut new = stream(bank(json!({})), rarity());
    new["detector"]["name"] = "a".repeat(64).into();
    new["detector"]["description"] = "d".repeat(1024).into();
    site.post("/v1/streams", new).await.is(201);
}

/// A site where the bank `marker` may be chosen and builds have `limit` to end.
async fn patient(limit: Duration) -> Site {
    let change = |settings: &mut Settings| {
        settings.trust.allow("bank/marker").unwrap();
        settings.build_timeout = limit;
    };
    Site::with(ApiOptions::default(), change).await
}

fn gated(id: u32) -> Value {
    stream(json!({"type": "marker", "gate": id}), rarity())
}

// The runtime of the test has one thread: a build on it would stop everything else.
#[tokio::test]
async fn while_a_component_is_built_the_service_answers() {
    const GATE: u32 = 1;
    let site = patient(Duration::from_secs(60)).await;
    let meanwhile = async {
        begun(GATE, 1).await;
        site.get("/livez").await.is(200);
        site.get("/v1/detectors").await.is(200);
        site.stream("other").await;
        // Another config is not held up by it.
        let mut new = stream(bank(json!({})), rarity());
        new["name"] = "another".into();
        site.post("/v1/streams", new).await.is(201);
        assert!(!gate(GATE).open);
        open_gate(GATE);
    };
    let (answer, ()) = tokio::join!(site.post("/v1/streams", gated(GATE)), meanwhile);
    answer.is(201);
}

#[tokio::test]
async fn a_component_that_is_not_built_in_time_is_answered_503_and_built_once() {
    const GATE: u32 = 2;
    let site = patient(Duration::from_millis(200)).await;
    for _ in 0..3 {
        let answer = site.post("/v1/streams", gated(GATE)).await;
        assert_eq!(answer.header("retry-after"), "5");
        let detail = answer.problem(503, "building");
        assert!(detail.contains("0.2 s"), "{detail}");
    }
    assert_eq!(gate(GATE).started, 1);
    open_gate(GATE);
    let created = async {
        loop {
            let answer = site.post("/v1/streams", gated(GATE)).await;
            if answer.status == 201 {
                return;
            }
            answer.is(503);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), created)
        .await
        .unwrap();
}

#[tokio::test]
async fn no_more_components_are_built_at_once_than_allowed() {
    const GATES: std::ops::Range<u32> = 10..14;
    let site = Site::with(ApiOptions::default(), |settings| {
        settings.trust.allow("bank/marker").unwrap();
        settings.build_timeout = Duration::from_millis(200);
        settings.max_builds = 2;
    });
    let site = site.await;
    for id in GATES {
        site.post("/v1/streams", gated(id)).await.is(503);
    }
    let started: u32 = GATES.map(|id| gate(id).started).sum();
    assert_eq!(started, 2);
    GATES.for_each(open_gate);
}

#[tokio::test]
async fn describing_a_detector_builds_nothing() {
    const GATE: u32 = 3;
    let data = tempfile::tempdir().unwrap();
    open_gate(GATE);
    let table = config(json!({"type": "marker", "gate": GATE}), rarity());
    let named = rareclip_server::NamedConfig {
        name: "slow".into(),
        config: serde_json::from_value(table).unwrap(),
    };
    let detectors = rareclip_server::Detectors::build(vec![named], 4).unwrap();
    let service = Service::open(common::settings(data.path()), detectors);
    let router = api::router(service.await.unwrap(), ApiOptions::default());
    let before = gate(GATE).started;
    for _ in 0..3 {
        let request = axum::http::Request::get("/v1/detectors").header("host", "localhost");
        let request = request.body(axum::body::Body::empty()).unwrap();
        let answer = tower::ServiceExt::oneshot(router.clone(), request).await;
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert_eq!(gate(GATE).started, before);
}

#[tokio::test]
async fn a_config_that_is_kept_ready_holds_no_memory_of_a_stream() {
    const GATE: u32 = 40;
    open_gate(GATE);
    let site = patient(Duration::from_secs(60)).await;
    site.post("/v1/streams", json!({"name": "own"}))
        .await
        .is(201);
    // The name is taken by a stream with another detector, so no stream takes what was built.
    site.post("/v1/streams", gated(GATE)).await.is(409);
    assert_eq!(gate(GATE).started, 1);
    let mut other = gated(GATE);
    other["name"] = "other".into();
    site.post("/v1/streams", other).await.is(201);
    // Had the first build been kept, the new stream would have taken it over.
    assert_eq!(gate(GATE).started, 2);
}
