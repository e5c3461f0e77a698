use serde_json::json;

use crate::client::Site;
use crate::common::picture;

#[tokio::test]
async fn a_route_that_is_not_there_is_named() {
    let site = Site::open().await;
    let said = site.get("/v1/stream").await.problem(404, "no-route");
    assert!(said.contains("GET /v1/stream;"), "{said}");
}

#[tokio::test]
async fn a_method_that_is_not_possible_says_which_are() {
    let site = Site::open().await;
    let answer = site.call("PUT", "/v1/streams").send().await;
    let allow = answer.header("allow").to_owned();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    let said = answer.problem(405, "method");
    assert!(
        said.contains("PUT is not possible on /v1/streams"),
        "{said}"
    );
}

#[tokio::test]
async fn unknown_and_wrong_query_parameters_are_named() {
    let site = Site::open().await;
    site.stream("s").await;
    let cases = [
        ("/v1/streams?x=1", "`x`"),
        ("/v1/streams/s/results?limt=2", "`limt`"),
        ("/v1/streams/s/results?limit=many", "limit"),
        ("/v1/streams/s/results?limit=0", "limit"),
        ("/v1/streams/s/results?from=yesterday", "from"),
        ("/v1/streams/s/results?verdict=odd", "verdict"),
        ("/v1/streams/s/scores?last=0", "last"),
        ("/v1/streams/s/threshold/preview", "threshold"),
        ("/v1/streams/s/threshold/preview?threshold=NaN", "threshold"),
        ("/v1/streams/s/results/1/overlay?opacity=2", "opacity"),
        ("/v1/streams/s/results/one", "one"),
        ("/v1/streams/s/events?after=x", "after"),
    ];
    for (path, named) in cases {
        let said = site.get(path).await.problem(400, "invalid");
        assert!(said.contains(named), "{path}: {said}");
    }
    let call = site
        .call("POST", "/v1/streams/s/images?updte=false")
        .raw("image/png", picture(1));
    let said = call.send().await.problem(400, "invalid");
    assert!(said.contains("updte"), "{said}");
    let call = site
        .call("POST", "/v1/streams/s/images?timeout_ms=0")
        .raw("image/png", picture(1));
    let said = call.send().await.problem(400, "invalid");
    assert!(said.contains("timeout_ms"), "{said}");
}

#[tokio::test]
async fn a_body_that_is_not_understood_is_told_where() {
    let site = Site::open().await;
    let said = site
        .post("/v1/streams", json!({"name": "s", "detectr": "x"}))
        .await;
    let said = said.problem(400, "invalid");
    assert!(said.contains("unknown field `detectr`"), "{said}");
    let call = site
        .call("POST", "/v1/streams")
        .raw("application/json", "{\"name\":");
    let said = call.send().await.problem(400, "invalid");
    assert!(said.contains("line 1"), "{said}");
    let call = site.call("POST", "/v1/streams").raw("text/plain", "s");
    let said = call.send().await.problem(415, "media-type");
    assert!(said.contains("application/json"), "{said}");
    site.post("/v1/streams", json!({"name": "a/b"}))
        .await
        .problem(400, "invalid");
    let rate = json!({"type": "false-alarm-rate", "rate": 0});
    let said = site
        .post("/v1/streams", json!({"name": "s", "calibration": rate}))
        .await;
    let said = said.problem(400, "invalid");
    assert!(said.contains("calibration.rate: found 0"), "{said}");
    let said = site
        .post("/v1/streams", json!({"name": "s", "detector": "rarety"}))
        .await;
    let said = said.problem(404, "not-found");
    assert!(said.contains("rarity"), "{said}");
}

#[tokio::test]
async fn images_in_a_form_that_is_not_served_are_told_which_are() {
    let site = Site::open().await;
    site.stream("s").await;
    let call = |kind| {
        site.call("POST", "/v1/streams/s/images")
            .raw(kind, picture(1))
    };
    let said = call("application/x-www-form-urlencoded")
        .send()
        .await
        .problem(415, "media-type");
    assert!(said.contains("multipart/form-data"), "{said}");
    let said = call("multipart/form-data")
        .send()
        .await
        .problem(400, "invalid");
    assert!(said.contains("boundary"), "{said}");
    let empty = site
        .call("POST", "/v1/streams/s/images")
        .raw("image/png", "");
    let said = empty.send().await.problem(400, "invalid");
    assert!(said.contains("empty"), "{said}");
    let wanted = call("image/png").header("accept", "text/csv").send().await;
    wanted.problem(406, "not-acceptable");
    let text = site
        .call("POST", "/v1/streams/s/images")
        .raw("image/png", "no image");
    text.send().await.problem(422, "image");
    let key = call("image/png")
        .header("idempotency-key", &"k".repeat(201))
        .send()
        .await;
    key.problem(400, "invalid");
    assert_eq!(site.get("/v1/streams/s").await.json()["images"], 0);
}

#[tokio::test]
async fn results_and_streams_that_are_not_there_are_404() {
    let site = Site::open().await;
    for path in [
        "/v1/streams/x",
        "/v1/streams/x/results",
        "/v1/streams/x/events",
        "/v1/streams/x/export",
        "/v1/streams/x/scores",
    ] {
        site.get(path).await.problem(404, "not-found");
    }
    let call = site
        .call("POST", "/v1/streams/x/images")
        .raw("image/png", picture(1));
    call.send().await.problem(404, "not-found");
}

#[tokio::test]
async fn options_that_a_component_rejects_are_a_mistake_of_the_request() {
    let site = Site::open().await;
    let table = |bank: serde_json::Value, scorer: serde_json::Value| {
        json!({
            "backbone": {"type": "thumbnail", "image_size": 64, "cell": 8},
            "bank": bank,
            "scorer": scorer,
        })
    };
    let rarity = json!({"type": "rarity"});
    let prototype = json!({"type": "prototype", "blocks": [1], "neighbourhoods": [1]});
    let mistakes = [
        table(json!({"type": "prototype", "blocks": [9]}), rarity.clone()),
        table(
            json!({"type": "prototype", "blocks": [1], "neighbourhoods": [2]}),
            rarity.clone(),
        ),
        table(
            json!({"type": "prototype", "blocks": [1], "capacity": -1}),
            rarity.clone(),
        ),
        table(json!({"type": "nothing"}), rarity.clone()),
        table(
            json!({"type": "coreset", "blocks": [1], "share": 2}),
            rarity,
        ),
        table(prototype, json!({"type": "rarity", "wrong": 1})),
    ];
    let mut wrong = Vec::new();
    for detector in mistakes {
        let new = json!({"name": "s", "detector": detector});
        let answer = site.post("/v1/streams", new).await;
        if answer.status != 400 {
            let text = answer.text();
            wrong.push(format!("{} {detector}: {text}", answer.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(site.get("/v1/streams").await.json()["streams"], json!([]));
}

#[tokio::test]
async fn parts_that_do_not_fit_together_are_not_a_fault_of_the_program() {
    let site = Site::open().await;
    let parts = [
        (
            json!({"type": "prototype", "blocks": [1]}),
            json!({"type": "nearest-neighbour"}),
        ),
        (
            json!({"type": "coreset", "blocks": [1]}),
            json!({"type": "rarity"}),
        ),
    ];
    for (at, (bank, scorer)) in parts.into_iter().enumerate() {
        let detector = json!({
            "backbone": {"type": "thumbnail", "image_size": 64, "cell": 8},
            "bank": bank,
            "scorer": scorer,
        });
        let name = format!("s{at}");
        let new = json!({"name": &name, "detector": detector});
        site.post("/v1/streams", new).await.is(201);
        for path in ["normals", "images", "calibrate?rate=0.5"] {
            let call = site.call("POST", format!("/v1/streams/{name}/{path}"));
            let answer = call.raw("image/png", picture(1)).send().await;
            let status = answer.status.as_u16();
            assert!(status < 500, "{at} {path} {status}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn an_explanation_does_not_repeat_a_long_text_whole() {
    let site = Site::open().await;
    let long = "x".repeat(150_000);
    let new = json!({"name": "s", "detector": {"bank": {"type": "prototype", &long: 1}}});
    for answer in [
        site.post("/v1/streams", new).await,
        site.post("/v1/streams", json!({"name": long})).await,
        site.get(format!("/v1/streams/{}", &long[..50_000])).await,
        site.get(format!("/{}", &long[..50_000])).await,
    ] {
        assert!((400..500).contains(&answer.status.as_u16()));
        assert!(answer.bytes.len() < 6000, "{}", answer.bytes.len());
    }
}
