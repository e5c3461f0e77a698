use serde_json::{Value, json};

use crate::client::{Site, base64};
use crate::common::{expected, picture};

async fn site() -> Site {
    let site = Site::open().await;
    site.stream("s").await;
    site
}

fn score(answer: &Value) -> f32 {
    answer["score"].as_f64().unwrap() as f32
}

#[tokio::test]
async fn raw_multipart_and_base64_images_get_the_scores_of_the_library() {
    let site = site().await;
    let mut scores = vec![score(&site.image("s", 1).await)];
    let form = site.call("POST", "/v1/streams/s/images");
    let form = form.form(&[("two.png", picture(2)), ("three.png", picture(3))]);
    let form = form.send().await.is(200).json();
    let results = form["results"].as_array().unwrap();
    scores.extend(results.iter().map(score));
    assert_eq!(results[1]["image"], "three.png");
    let single = json!({"image": "four", "data": base64(&picture(4))});
    let single = site
        .post("/v1/streams/s/images", single)
        .await
        .is(200)
        .json();
    assert_eq!(single["image"], "four");
    scores.push(score(&single));
    let list = json!({"images": [{"data": base64(&picture(5))}, {"data": base64(&picture(6))}]});
    let list = site.post("/v1/streams/s/images", list).await.is(200).json();
    scores.extend(list["results"].as_array().unwrap().iter().map(score));
    assert_eq!(scores, expected(1..=6));
}

#[tokio::test]
async fn an_answer_names_the_stream_and_links_to_what_can_be_seen() {
    let site = site().await;
    let answer = site.image("s", 1).await;
    assert_eq!(answer["stream"], "s");
    assert_eq!(answer["recorded"], true);
    assert_eq!(answer["warm_up"], true);
    assert_eq!(answer["verdict"], "uncalibrated");
    assert!(answer["timings"]["total_ms"].as_f64().unwrap() > 0.0);
    for (link, kind) in [
        ("self", "application/json"),
        ("heatmap", "image/png"),
        ("overlay", "image/png"),
        ("picture", "image/jpeg"),
        ("map", "application/x-npy"),
        ("stream", "application/json"),
    ] {
        let there = site
            .get(answer["links"][link].as_str().unwrap())
            .await
            .is(200);
        assert_eq!(there.header("content-type"), kind, "{link}");
        assert!(!there.bytes.is_empty());
    }
}

#[tokio::test]
async fn a_peek_leaves_no_trace() {
    let site = site().await;
    site.image("s", 1).await;
    let peek = site.call("POST", "/v1/streams/s/images?update=false");
    let peek = peek
        .raw("image/png", picture(2))
        .send()
        .await
        .is(200)
        .json();
    assert_eq!(peek["recorded"], false);
    assert_eq!(peek["links"]["self"], Value::Null);
    let info = site.get("/v1/streams/s").await.json();
    assert_eq!((&info["images"], &info["results"]), (&json!(1), &json!(1)));
    let update = site.image("s", 2).await;
    assert_eq!(update["score"], peek["score"]);
}

#[tokio::test]
async fn an_image_sent_again_with_its_key_is_not_counted_again() {
    let site = site().await;
    let send = || {
        let call = site.call("POST", "/v1/streams/s/images");
        let call = call
            .header("idempotency-key", "k")
            .raw("image/png", picture(1));
        async { call.send().await.is(200).json() }
    };
    let (first, second) = (send().await, send().await);
    assert_eq!(first["replayed"], false);
    assert_eq!(second["replayed"], true);
    assert_eq!(first["id"], second["id"]);
    let batch = || {
        let call = site.call("POST", "/v1/streams/s/images");
        let call = call.header("idempotency-key", "b");
        let call = call.form(&[("a", picture(2)), ("b", picture(3))]);
        async { call.send().await.is(200).json() }
    };
    batch().await;
    let again = batch().await;
    assert_eq!(again["results"][1]["replayed"], true);
    let info = site.get("/v1/streams/s").await.json();
    assert_eq!(info["images"], 3);
}

#[tokio::test]
async fn a_map_is_the_answer_where_it_is_asked_for() {
    let site = site().await;
    let send = |query: &'static str, accept: &'static str| {
        let call = site.call("POST", format!("/v1/streams/s/images{query}"));
        let call = call.header("accept", accept).raw("image/png", picture(1));
        async { call.send().await.is(200) }
    };
    let png = send("", "image/png").await;
    assert!(png.bytes.starts_with(b"\x89PNG"));
    let result: Value = serde_json::from_str(png.header("rareclip-result")).unwrap();
    assert_eq!(result["id"], 1);
    let npy = send("", "application/x-npy").await;
    assert!(npy.bytes.starts_with(b"\x93NUMPY"));
    let floats = send("?map=f32", "*/*").await;
    assert_eq!(floats.header("rareclip-shape"), "64,64");
    assert_eq!(floats.bytes.len(), 4 * 64 * 64);
    let peek = send("?map=overlay&update=false", "*/*").await;
    assert!(peek.bytes.starts_with(b"\x89PNG"));
    let result: Value = serde_json::from_str(peek.header("rareclip-result")).unwrap();
    assert_eq!(result["recorded"], false);
}

#[tokio::test]
async fn a_map_of_several_images_is_refused_with_the_way_out() {
    let site = site().await;
    let call = site
        .call("POST", "/v1/streams/s/images")
        .header("accept", "image/png");
    let call = call.form(&[("a", picture(1)), ("b", picture(2))]);
    let said = call.send().await.problem(406, "not-acceptable");
    assert!(said.contains("links.map"), "{said}");
    assert_eq!(site.get("/v1/streams/s").await.json()["images"], 0);
}

#[tokio::test]
async fn a_bad_image_in_a_batch_spoils_only_itself() {
    let site = site().await;
    let call = site.call("POST", "/v1/streams/s/images");
    let call = call.form(&[
        ("a.png", picture(1)),
        ("b.png", b"no image".to_vec()),
        ("c.png", picture(2)),
    ]);
    let answer = call.send().await.is(200).json();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results[1]["error"]["kind"], "image");
    assert!(
        results[1]["error"]["detail"]
            .as_str()
            .unwrap()
            .contains("b.png")
    );
    assert_eq!(
        [score(&results[0]), score(&results[2])],
        expected(1..=2)[..]
    );
}

#[tokio::test]
async fn a_full_queue_is_429_with_retry_after_and_more_than_fits_is_413() {
    let site = Site::with(Default::default(), |settings| settings.max_queue = 2).await;
    site.stream("s").await;
    let files = [("a", picture(1)), ("b", picture(2)), ("c", picture(3))];
    let call = site.call("POST", "/v1/streams/s/images").form(&files);
    call.send().await.problem(413, "too-large");
    // Sent at once, all of them: two find a place, the others are told when to come again.
    let calls: Vec<_> = (0..8)
        .map(|seed| {
            let call = site
                .call("POST", "/v1/streams/s/images")
                .raw("image/png", picture(seed));
            let (router, request) = (site.router.clone(), call.request());
            tokio::spawn(tower::ServiceExt::oneshot(router, request))
        })
        .collect();
    let mut done = [0, 0];
    for call in calls {
        let response = call.await.unwrap().unwrap();
        match response.status().as_u16() {
            200 => done[0] += 1,
            429 => {
                let after: u64 = response.headers()["retry-after"]
                    .to_str()
                    .unwrap()
                    .parse()
                    .unwrap();
                assert!(after >= 1);
                done[1] += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(done[0] >= 2, "{done:?}");
    assert_eq!(site.get("/v1/streams/s").await.json()["images"], done[0]);
}

#[tokio::test]
async fn bodies_are_bounded_before_they_are_read() {
    let site = Site::with(Default::default(), |settings| {
        settings.max_body_bytes = 10_000
    })
    .await;
    site.stream("s").await;
    let announced = site
        .call("POST", "/v1/streams/s/images")
        .raw("image/png", vec![0; 10]);
    let announced = announced.header("content-length", "10001").send().await;
    let said = announced.problem(413, "too-large");
    assert!(said.contains("10001 bytes and at most 10000"), "{said}");
    let unannounced = site
        .call("POST", "/v1/streams/s/images")
        .raw("image/png", vec![0; 10_001]);
    let unannounced = unannounced.without("content-length").send().await;
    unannounced.problem(413, "too-large");
}

#[tokio::test]
async fn an_image_beyond_the_limits_is_422_by_its_header() {
    let site = Site::with(Default::default(), |settings| {
        settings.limits.max_width = 40
    })
    .await;
    site.stream("s").await;
    let call = site
        .call("POST", "/v1/streams/s/images")
        .raw("image/png", picture(1));
    let said = call.send().await.problem(422, "image");
    assert!(said.contains("width"), "{said}");
}

#[tokio::test]
async fn images_that_are_not_reached_in_time_leave_no_trace() {
    let site = site().await;
    let files: Vec<_> = (0..120).map(|seed| ("a.png", picture(seed))).collect();
    let call = site.call("POST", "/v1/streams/s/images?timeout_ms=1");
    let answer = call.form(&files).send().await.is(200).json();
    let results = answer["results"].as_array().unwrap();
    let late = |result: &&Value| result["error"]["kind"] == "deadline";
    let late = results.iter().filter(late).count();
    assert!(late > 0, "{answer}");
    let images = site.get("/v1/streams/s").await.json()["images"].as_u64();
    assert_eq!(images, Some((results.len() - late) as u64));
}
