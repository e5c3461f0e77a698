//! Large answers take bounded memory, at whatever pace they are read.

use axum::body::Body;
use axum::http::Response;
use rareclip_server::api::ApiOptions;
use serde_json::json;
use tower::ServiceExt;

use crate::client::{Site, base64};
use crate::common::picture;

/// An answer whose body is not read yet.
async fn unread(site: &Site, path: &str) -> Response<Body> {
    let request = site.call("GET", path).request();
    site.router.clone().oneshot(request).await.unwrap()
}

async fn bytes(response: Response<Body>) -> Vec<u8> {
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    body.unwrap().to_vec()
}

#[tokio::test]
async fn more_exports_at_a_time_than_allowed_are_told_to_come_back() {
    let options = ApiOptions {
        max_exports: 2,
        ..Default::default()
    };
    let site = Site::with(options, |_| {}).await;
    site.stream("s").await;
    site.image("s", 1).await;
    let slow = [
        unread(&site, "/v1/streams/s/export").await,
        unread(&site, "/v1/streams/s/export").await,
    ];
    assert!(slow.iter().all(|answer| answer.status() == 200));
    let refused = site.get("/v1/streams/s/export").await;
    assert!(refused.header("retry-after").parse::<u64>().is_ok());
    refused.problem(429, "busy");
    let [first, second] = slow;
    // One reads to the end, one hangs up.
    assert!(!bytes(first).await.is_empty());
    site.get("/v1/streams/s/export").await.is(200);
    drop(second);
    site.get("/v1/streams/s/export").await.is(200);
}

#[tokio::test]
async fn an_export_is_read_from_disk_and_stays_whole_when_the_stream_goes_on_or_is_deleted() {
    let site = Site::open().await;
    site.stream("s").await;
    for seed in 1..=3 {
        site.image("s", seed).await;
    }
    let whole = site.get("/v1/streams/s/export").await.is(200);
    let slow = unread(&site, "/v1/streams/s/export").await;
    let length = slow.headers()["content-length"]
        .to_str()
        .unwrap()
        .to_owned();
    // No copy of it waits in memory: the body does not know its own size.
    assert_eq!(axum::body::HttpBody::size_hint(slow.body()).exact(), None);
    for seed in 4..=40 {
        site.image("s", seed).await;
    }
    site.call("DELETE", "/v1/streams/s").send().await.is(204);
    let read = bytes(slow).await;
    assert_eq!(read.len().to_string(), length);
    assert_eq!(read, whole.bytes);
}

#[tokio::test]
async fn answers_that_are_not_read_fill_a_budget_and_further_ones_are_refused() {
    let size = Site::open()
        .await
        .get("/openapi.json")
        .await
        .is(200)
        .bytes
        .len();
    assert!(size > 64 << 10, "{size}");
    let options = ApiOptions {
        max_answer_bytes: 2 * size + 4096,
        ..Default::default()
    };
    let site = Site::with(options, |_| {}).await;
    let slow = [
        unread(&site, "/openapi.json").await,
        unread(&site, "/openapi.json").await,
    ];
    assert!(slow.iter().all(|answer| answer.status() == 200));
    let refused = site.get("/openapi.json").await;
    assert!(refused.header("retry-after").parse::<u64>().is_ok());
    refused.problem(429, "busy");
    // Small answers are never in the way.
    site.get("/livez").await.is(200);
    site.get("/v1/streams").await.is(200);
    drop(slow);
    site.get("/openapi.json").await.is(200);
}

#[tokio::test]
async fn maps_that_take_more_than_the_budget_are_refused_before_anything_is_scored() {
    let options = ApiOptions {
        max_answer_bytes: 8 << 20,
        ..Default::default()
    };
    let site = Site::with(options, |_| {}).await;
    let request = |images: u32, output: &str| {
        let data: Vec<String> = (0..images).map(|seed| base64(&picture(seed))).collect();
        json!({
            "parameters": {"sequence_id": "line"},
            "inputs": [{"name": "image", "shape": [images], "datatype": "BYTES", "data": data}],
            "outputs": [{"name": output}],
        })
    };
    let path = "/v2/models/rarity/infer";
    let refused = site.post(path, request(8, "anomaly_map")).await.is(413);
    let said = refused.text();
    assert!(said.contains("send fewer images at a time"), "{said}");
    site.get("/v1/streams/line").await.problem(404, "not-found");
    let few = site
        .post(path, request(2, "anomaly_map"))
        .await
        .is(200)
        .json();
    assert_eq!(few["outputs"][0]["shape"], json!([2, 64, 64]));
    // Without maps an answer is small.
    site.post(path, request(8, "score")).await.is(200);
}
