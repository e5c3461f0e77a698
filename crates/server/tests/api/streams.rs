use serde_json::{Value, json};

use crate::client::{Site, base64};
use crate::common::picture;

#[tokio::test]
async fn a_stream_is_created_once_and_gone_when_deleted() {
    let site = Site::open().await;
    let new = json!({"name": "s", "detector": "rarity"});
    let created = site.post("/v1/streams", new.clone()).await.is(201);
    assert_eq!(created.header("location"), "/v1/streams/s");
    site.post("/v1/streams", new).await.is(200);
    let other = json!({"name": "s", "detector": "patchcore"});
    site.post("/v1/streams", other)
        .await
        .problem(409, "conflict");
    let list = site.get("/v1/streams").await.is(200).json();
    assert_eq!(list["streams"][0]["name"], "s");
    site.call("DELETE", "/v1/streams/s").send().await.is(204);
    site.get("/v1/streams/s").await.problem(404, "not-found");
}

#[tokio::test]
async fn a_frozen_stream_scores_without_remembering_and_a_reset_one_is_empty() {
    let site = Site::open().await;
    site.stream("s").await;
    site.image("s", 1).await;
    let frozen = site
        .call("POST", "/v1/streams/s/freeze")
        .send()
        .await
        .is(200);
    assert_eq!(frozen.json()["frozen"], true);
    assert_eq!(site.image("s", 2).await["remembered"], false);
    let learning = site.call("POST", "/v1/streams/s/unfreeze").send().await;
    assert_eq!(learning.is(200).json()["frozen"], false);
    let reset = site.call("POST", "/v1/streams/s/reset").send().await;
    assert_eq!(reset.is(200).json()["images"], 0);
}

#[tokio::test]
async fn a_threshold_is_tried_and_set_without_scoring_again() {
    let site = Site::open().await;
    site.stream("s").await;
    for seed in 1..=3 {
        site.image("s", seed).await;
    }
    let tried = site
        .get("/v1/streams/s/threshold/preview?threshold=-1")
        .await;
    assert_eq!(tried.is(200).json()["anomalous"], 3);
    let policy = json!({"type": "fixed", "threshold": 0.25});
    let info = site
        .put("/v1/streams/s/threshold", policy)
        .await
        .is(200)
        .json();
    assert_eq!(info["calibration"]["threshold"], 0.25);
    assert_ne!(site.image("s", 4).await["verdict"], "uncalibrated");
    let wrong = json!({"type": "fixed", "treshold": 0.25});
    let said = site
        .put("/v1/streams/s/threshold", wrong)
        .await
        .problem(400, "invalid");
    assert!(said.contains("treshold"), "{said}");
}

#[tokio::test]
async fn known_normals_calibrate_by_image_or_by_history() {
    let site = Site::open().await;
    site.stream("s").await;
    for seed in 1..=12 {
        site.image("s", seed).await;
    }
    let form: Vec<_> = (21..=32).map(|seed| ("n.png", picture(seed))).collect();
    let call = site
        .call("POST", "/v1/streams/s/calibrate?rate=0.2")
        .form(&form);
    let info = call.send().await.is(200).json();
    assert_eq!(info["calibration"]["known_normals"], 12);
    let history = json!({"by": "history", "rate": 0.2, "last": 12});
    let info = site
        .post("/v1/streams/s/calibrate", history)
        .await
        .is(200)
        .json();
    assert!(info["calibration"]["threshold"].is_number(), "{info}");
    let encoded = json!({"images": [{"data": base64(&picture(1))}]});
    let said = site
        .post("/v1/streams/s/calibrate", encoded)
        .await
        .problem(400, "invalid");
    assert!(said.contains("query: rate: missing"), "{said}");
}

#[tokio::test]
async fn a_method_with_a_training_pass_is_shown_its_normals() {
    let site = Site::open().await;
    let new = json!({"name": "p", "detector": "patchcore"});
    site.post("/v1/streams", new).await.is(201);
    let early = site
        .call("POST", "/v1/streams/p/images")
        .raw("image/png", picture(1));
    early.send().await.problem(409, "detector");
    let form: Vec<_> = (1..=4).map(|seed| ("n.png", picture(seed))).collect();
    let info = site
        .call("POST", "/v1/streams/p/normals")
        .form(&form)
        .send()
        .await
        .is(200);
    assert_eq!(info.json()["images"], 4);
    site.image("p", 5).await;
}

#[tokio::test]
async fn a_snapshot_is_gone_back_to() {
    let site = Site::open().await;
    site.stream("s").await;
    site.image("s", 1).await;
    let taken = site
        .call("POST", "/v1/streams/s/snapshot")
        .send()
        .await
        .is(201)
        .json();
    let noted = site
        .post("/v1/streams/s/snapshot", json!({"note": "n"}))
        .await
        .is(201)
        .json();
    assert_eq!(noted["note"], "n");
    let first = site.image("s", 2).await;
    let restore = json!({"snapshot": taken["id"]});
    site.post("/v1/streams/s/restore", restore).await.is(200);
    let again = site.image("s", 2).await;
    assert_eq!(first["score"], again["score"]);
    let path = format!("/v1/streams/s/snapshots/{}", noted["id"]);
    site.call("DELETE", path).send().await.is(204);
    let list = site.get("/v1/streams/s/snapshots").await.is(200).json();
    assert_eq!(list["snapshots"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_state_moves_to_another_stream() {
    let site = Site::open().await;
    site.stream("a").await;
    site.stream("b").await;
    site.image("a", 1).await;
    let state = site.get("/v1/streams/a/export").await.is(200);
    assert_eq!(
        state.header("content-disposition"),
        "attachment; filename=\"a.state\""
    );
    let import = |body: Vec<u8>| {
        let call = site.call("POST", "/v1/streams/b/import");
        call.raw("application/octet-stream", body).send()
    };
    import(state.bytes).await.is(200);
    assert_eq!(
        site.image("a", 2).await["score"],
        site.image("b", 2).await["score"]
    );
    let broken = import(b"broken".to_vec()).await;
    assert!(broken.status.is_client_error(), "{}", broken.text());
}

#[tokio::test]
async fn the_history_is_paged_filtered_and_labelled() {
    let site = Site::open().await;
    site.stream("s").await;
    for seed in 1..=5 {
        site.image("s", seed).await;
    }
    let ids = |answer: Value| -> Vec<u64> {
        let list = answer["results"].as_array().unwrap().clone();
        list.iter().map(|r| r["id"].as_u64().unwrap()).collect()
    };
    let page = site
        .get("/v1/streams/s/results?limit=2&before=4")
        .await
        .is(200)
        .json();
    assert_eq!(ids(page), [3, 2]);
    let since = site
        .get("/v1/streams/s/results?after=3")
        .await
        .is(200)
        .json();
    assert_eq!(ids(since), [4, 5]);
    let label = json!({"label": "defect", "note": "crack"});
    let labelled = site
        .put("/v1/streams/s/results/2/feedback", label)
        .await
        .is(200)
        .json();
    assert_eq!(
        (&labelled["feedback"], &labelled["note"]),
        (&json!("defect"), &json!("crack"))
    );
    let defects = site
        .get("/v1/streams/s/results?feedback=defect&image=2.p")
        .await
        .is(200);
    assert_eq!(ids(defects.json()), [2]);
    let none = json!({"label": null});
    let cleared = site
        .put("/v1/streams/s/results/2/feedback", none)
        .await
        .is(200)
        .json();
    assert_eq!(cleared["feedback"], Value::Null);
    let said = site
        .put("/v1/streams/s/results/2/feedback", json!({}))
        .await
        .problem(400, "invalid");
    assert!(said.contains("label"), "{said}");
    let scores = site.get("/v1/streams/s/scores?last=2").await.is(200).json();
    assert_eq!(scores["ids"], json!([4, 5]));
    site.get("/v1/streams/s/results/99")
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn the_service_says_what_it_is_and_how_it_is() {
    let site = Site::open().await;
    assert_eq!(site.get("/livez").await.is(200).text(), "ok");
    assert_eq!(site.get("/readyz").await.is(200).json()["ready"], true);
    assert_eq!(site.get("/v1/info").await.is(200).json()["streams"], 0);
    let detectors = site.get("/v1/detectors").await.is(200).json();
    assert_eq!(detectors["detectors"][0]["name"], "rarity");
    let detector = site.get("/v1/detectors/patchcore").await.is(200).json();
    assert_eq!(detector["learning"], "fit");
    let said = site.get("/v1/detectors/x").await.problem(404, "not-found");
    assert!(said.contains("`rarity`"), "{said}");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_not_by_path() {
    let site = Site::open().await;
    site.stream("s").await;
    site.get("/v1/streams/s").await.is(200);
    site.get("/v1/streams/nowhere").await.is(404);
    site.get("/made/up").await.is(404);
    let metrics = site.get("/metrics").await.is(200);
    assert!(
        metrics
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let text = metrics.text();
    for status in [200, 404] {
        let wanted = format!(
            "rareclip_requests_total{{method=\"GET\",route=\"/v1/streams/{{name}}\",status=\"{status}\"}} 1"
        );
        assert!(text.contains(&wanted), "{text}");
    }
    assert!(text.contains("route=\"none\""));
    assert!(
        text.contains("rareclip_request_seconds_count{route=\"/v1/streams/{name}\"} 2"),
        "{text}"
    );
    assert!(!text.contains("nowhere") && !text.contains("made"));
}
