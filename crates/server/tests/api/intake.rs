//! What a request may make the service do before an image is scored.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use rareclip_server::api::ApiOptions;
use serde_json::json;

use crate::client::{Site, base64};
use crate::common::picture;

/// A body that has one image more than the queue has places, and is not JSON after that.
fn too_many(head: &str, image: &str, queue: usize) -> String {
    format!("{head}[{}@", format!("{image},").repeat(queue + 1))
}

#[tokio::test]
async fn images_are_counted_while_a_body_is_read() {
    let site = Site::with(ApiOptions::default(), |settings| settings.max_queue = 3).await;
    site.stream("s").await;
    let image = r#"{"data":"QUI="}"#;
    let routes = [
        ("/v1/streams/s/images", r#"{"images":"#, image),
        ("/v1/streams/s/normals", r#"{"images":"#, image),
        (
            "/v2/models/rarity/infer",
            r#"{"parameters":{"sequence_id":"s"},"inputs":[{"name":"image","shape":[4],"datatype":"BYTES","data":"#,
            r#""QUI=""#,
        ),
    ];
    for (path, head, image) in routes {
        for queue in [3, 100_000] {
            let body = too_many(head, image, queue);
            let answer = site
                .call("POST", path)
                .raw("application/json", body)
                .send()
                .await;
            assert_eq!(answer.status, 413, "{path}: {}", answer.text());
            assert!(
                answer.text().contains("more than 3 images"),
                "{}",
                answer.text()
            );
        }
    }
    let answer = site
        .call("POST", "/v1/streams/s/calibrate?rate=0.1")
        .raw(
            "application/json",
            format!("{{\"images\":[{}]}}", [image; 5].join(",")),
        )
        .send()
        .await;
    answer.problem(413, "too-large");
}

#[tokio::test]
async fn lists_and_tables_that_no_request_needs_are_refused_while_they_are_read() {
    let site = Site::open().await;
    let infer = |parameters: &str, shape: &str, outputs: &str| {
        format!(
            r#"{{"parameters":{{"sequence_id":"s"{parameters}}},"inputs":[{{"name":"image","shape":[{shape}1],"datatype":"BYTES","data":["QUI="]}}],"outputs":[{outputs}{{"name":"score"}}]}}"#
        )
    };
    let many: String = (0..1000)
        .map(|number| format!(r#","p{number}":1"#))
        .collect();
    let bodies = [
        infer(&many, "", ""),
        infer(r#","sequence_id":"t""#, "", ""),
        infer(&format!(r#","x":"{}""#, "x".repeat(10_000)), "", ""),
        infer("", &"1,".repeat(1000), ""),
        infer("", "", &r#"{"name":"score"},"#.repeat(1000)),
    ];
    for body in bodies {
        let call = site.call("POST", "/v2/models/rarity/infer");
        let answer = call.raw("application/json", body.clone()).send().await;
        let start: String = body.chars().take(200).collect();
        assert_eq!(answer.status, 400, "{start}: {}", answer.text());
    }
    // What is nested deeply is skipped, not unfolded; the image is what is wrong here.
    let deep = format!(r#","x":{}1{}"#, "[".repeat(100_000), "]".repeat(100_000));
    let call = site.call("POST", "/v2/models/rarity/infer");
    let answer = call
        .raw("application/json", infer(&deep, "", ""))
        .send()
        .await;
    answer.is(422);
    site.get("/v1/streams/s").await.problem(404, "not-found");
}

#[tokio::test]
async fn there_are_no_more_streams_than_allowed_whoever_creates_them() {
    let site = Site::with(ApiOptions::default(), |settings| settings.max_streams = 2).await;
    let infer = |stream: &str| {
        json!({
            "parameters": {"sequence_id": stream},
            "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64(&picture(1))]}],
        })
    };
    let path = "/v2/models/rarity/infer";
    site.stream("a").await;
    site.post(path, infer("b")).await.is(200);
    let new = json!({"name": "c", "detector": "rarity"});
    let said = site
        .post("/v1/streams", new.clone())
        .await
        .problem(409, "too-many-streams");
    assert!(said.contains("--max-streams"), "{said}");
    site.post(path, infer("c")).await.is(409);
    site.get("/v1/streams/c").await.problem(404, "not-found");
    // Those there are go on, and a deleted one makes room.
    site.post(path, infer("b")).await.is(200);
    site.stream_again("a").await;
    site.call("DELETE", "/v1/streams/a").send().await.is(204);
    site.post("/v1/streams", new).await.is(201);
}

#[tokio::test]
async fn a_stream_is_created_once_one_of_its_images_can_be_decoded() {
    let site = Site::open().await;
    let infer = |data: Vec<String>| {
        json!({
            "parameters": {"sequence_id": "new"},
            "inputs": [{"name": "image", "shape": [data.len()], "datatype": "BYTES", "data": data}],
        })
    };
    let path = "/v2/models/rarity/infer";
    let bad = base64(b"not an image");
    let said = site
        .post(path, infer(vec![bad.clone(), bad]))
        .await
        .is(422)
        .text();
    assert!(said.contains("image 0: "), "{said}");
    site.get("/v1/streams/new").await.problem(404, "not-found");
    let cut = base64(&picture(1)[..200]);
    site.post(path, infer(vec![cut])).await.is(422);
    site.get("/v1/streams/new").await.problem(404, "not-found");
    site.post(path, infer(vec![base64(&picture(1))]))
        .await
        .is(200);
    site.get("/v1/streams/new").await.is(200);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn bodies_in_gzip_are_read_as_if_they_were_plain() {
    let site = Site::open().await;
    let new = json!({"name": "s", "detector": "rarity"}).to_string();
    let sent = |path: &'static str, kind: &'static str, body: Vec<u8>, encoding: &'static str| {
        let call = site.call("POST", path).raw(kind, body);
        call.header("content-encoding", encoding).send()
    };
    let json = "application/json";
    sent("/v1/streams", json, gzip(new.as_bytes()), "gzip")
        .await
        .is(201);
    let raw = sent(
        "/v1/streams/s/images",
        "image/png",
        gzip(&picture(1)),
        "x-gzip",
    );
    raw.await.is(200);
    let body = json!({"data": base64(&picture(2))}).to_string();
    // Two members are one body.
    let (head, tail) = body.as_bytes().split_at(100);
    let members = [gzip(head), gzip(tail)].concat();
    sent("/v1/streams/s/images", json, members, "GZIP")
        .await
        .is(200);
    let plain = sent("/v1/streams/s/images", "image/png", picture(3), "identity");
    plain.await.is(200);
}

#[tokio::test]
async fn another_encoding_is_refused_by_its_name_and_bytes_that_are_not_gzip_are_an_error() {
    let site = Site::open().await;
    site.stream("s").await;
    let sent = |body: Vec<u8>, encoding: &'static str| {
        let call = site.call("POST", "/v1/streams/s/images");
        let call = call.raw("image/png", body);
        call.header("content-encoding", encoding).send()
    };
    for encoding in ["deflate", "br", "gzip, br", "aws-chunked"] {
        let detail = sent(picture(1), encoding).await;
        let detail = detail.problem(415, "content-encoding");
        assert!(
            detail.contains(encoding) && detail.contains("gzip"),
            "{detail}"
        );
    }
    let whole = gzip(&picture(1));
    for broken in [picture(1), whole[..whole.len() / 2].to_vec(), Vec::new()] {
        let detail = sent(broken, "gzip").await.problem(400, "invalid");
        assert!(detail.contains("gzip"), "{detail}");
    }
}

#[tokio::test]
async fn a_body_in_gzip_may_be_no_larger_than_a_plain_one() {
    let site = Site::with(ApiOptions::default(), |settings| {
        settings.max_body_bytes = 1 << 20;
    });
    let site = site.await;
    site.stream("s").await;
    // A megabyte of zeros takes a kilobyte.
    let bomb = gzip(&vec![0; (1 << 20) + 1]);
    assert!(bomb.len() < 4096);
    let call = site.call("POST", "/v1/streams/s/images");
    let call = call.raw("image/png", bomb);
    let answer = call.header("content-encoding", "gzip").send().await;
    answer.problem(413, "too-large");
}

#[tokio::test]
async fn base64_is_read_in_every_form_that_clients_send() {
    let site = Site::open().await;
    site.stream("s").await;
    let plain = base64(&picture(1));
    assert!(plain.contains('+') || plain.contains('/'), "{plain}");
    let lines: Vec<&str> = plain
        .as_bytes()
        .chunks(76)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let forms = [
        plain.trim_end_matches('=').to_owned(),
        lines.join("\r\n"),
        plain.replace('+', "-").replace('/', "_"),
        format!("data:image/png;base64,{plain}"),
    ];
    let mut scores = Vec::new();
    for form in forms {
        let answer = site.post("/v1/streams/s/images?update=false", json!({"data": form}));
        scores.push(answer.await.is(200).json()["record"]["score"].clone());
    }
    assert!(scores.iter().all(|score| *score == scores[0]), "{scores:?}");
    for wrong in ["data:image/png,abc", "QUI$"] {
        let answer = site.post("/v1/streams/s/images", json!({"data": wrong}));
        let detail = answer.await.problem(400, "invalid");
        assert!(detail.contains("not base64"), "{detail}");
    }
}
