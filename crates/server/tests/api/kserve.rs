use serde_json::{Value, json};

use crate::client::{Site, base64};
use crate::common::{expected, picture};

fn request(images: &[Vec<u8>], parameters: Value) -> Value {
    let data: Vec<String> = images.iter().map(|image| base64(image)).collect();
    json!({
        "id": "cell",
        "parameters": parameters,
        "inputs": [{"name": "image", "shape": [images.len()], "datatype": "BYTES", "data": data}],
    })
}

fn output<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let outputs = answer["outputs"].as_array().unwrap();
    outputs
        .iter()
        .find(|output| output["name"] == name)
        .unwrap()
}

#[tokio::test]
async fn a_model_is_a_detector_and_a_sequence_is_a_stream() {
    let site = Site::open().await;
    let images = [picture(1), picture(2), picture(3)];
    let request = request(
        &images,
        json!({"sequence_id": "line", "sequence_start": true}),
    );
    let answer = site
        .post("/v2/models/rarity/infer", request.clone())
        .await
        .is(200)
        .json();
    assert_eq!(answer["model_name"], "rarity");
    assert_eq!(answer["id"], "cell");
    let score = output(&answer, "score");
    assert_eq!(
        (&score["datatype"], &score["shape"]),
        (&json!("FP32"), &json!([3]))
    );
    let scores: Vec<f32> = score["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap() as f32)
        .collect();
    assert_eq!(scores, expected(1..=3));
    assert_eq!(
        output(&answer, "verdict")["data"],
        json!(vec!["uncalibrated"; 3])
    );
    let names: Vec<_> = answer["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["name"].clone())
        .collect();
    assert_eq!(names, ["score", "raw_score", "p_value", "verdict"]);
    // The start of a sequence resets nothing.
    site.post("/v2/models/rarity/infer", request).await.is(200);
    let info = site.get("/v1/streams/line").await.is(200).json();
    assert_eq!(
        (&info["images"], &info["detector"]),
        (&json!(6), &json!("rarity"))
    );
    assert_eq!(info["last"]["image"], "cell/2");
}

#[tokio::test]
async fn tensors_go_in_and_out_in_binary() {
    let site = Site::open().await;
    let mut tensor = Vec::new();
    for seed in 1..=2 {
        let image = picture(seed);
        tensor.extend(u32::try_from(image.len()).unwrap().to_le_bytes());
        tensor.extend(image);
    }
    let head = json!({
        "parameters": {"sequence_id": 7},
        "inputs": [{"name": "image", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": tensor.len()}}],
        "outputs": [
            {"name": "score", "parameters": {"binary_data": true}},
            {"name": "p_value", "parameters": {"binary_data": true}},
            {"name": "verdict", "parameters": {"binary_data": true}},
            {"name": "anomaly_map", "parameters": {"binary_data": true}},
            {"name": "raw_score"},
        ],
    })
    .to_string();
    let body = [head.as_bytes(), &tensor].concat();
    let call = site
        .call("POST", "/v2/models/rarity/infer")
        .raw("application/octet-stream", body);
    let call = call.header("inference-header-content-length", &head.len().to_string());
    let answer = call.send().await.is(200);
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    let length: usize = answer
        .header("inference-header-content-length")
        .parse()
        .unwrap();
    let (json, mut binary) = answer.bytes.split_at(length);
    let json: Value = serde_json::from_slice(json).unwrap();
    let mut take = |name: &str| {
        let size = output(&json, name)["parameters"]["binary_data_size"]
            .as_u64()
            .unwrap();
        let (bytes, rest) = binary.split_at(usize::try_from(size).unwrap());
        binary = rest;
        bytes.to_vec()
    };
    let scores: Vec<f32> = take("score")
        .chunks_exact(4)
        .map(|v| f32::from_le_bytes(v.try_into().unwrap()))
        .collect();
    assert_eq!(scores, expected(1..=2));
    let p_values = take("p_value");
    let first = f64::from_le_bytes(p_values[..8].try_into().unwrap());
    assert!(first.is_nan(), "{first}");
    assert_eq!(
        take("verdict"),
        b"\x0c\0\0\0uncalibrated\x0c\0\0\0uncalibrated"
    );
    assert_eq!(output(&json, "anomaly_map")["shape"], json!([2, 64, 64]));
    assert_eq!(take("anomaly_map").len(), 2 * 64 * 64 * 4);
    assert!(binary.is_empty());
    assert!(output(&json, "raw_score")["data"].is_array());
    site.get("/v1/streams/7").await.is(200);
}

#[tokio::test]
async fn errors_are_those_of_the_protocol() {
    let site = Site::open().await;
    let said = |answer: crate::client::Answer, status: u16| {
        let answer = answer.is(status);
        assert_eq!(answer.header("content-type"), "application/json");
        let json = answer.json();
        assert_eq!(json.as_object().unwrap().len(), 1);
        json["error"].as_str().unwrap().to_owned()
    };
    let one = [picture(1)];
    let answer = site
        .post("/v2/models/rarity/infer", request(&one, json!({})))
        .await;
    let text = said(answer, 400);
    assert!(
        text.contains("sequence_id: missing; it names the stream"),
        "{text}"
    );
    let answer = site
        .post(
            "/v2/models/x/infer",
            request(&one, json!({"sequence_id": "s"})),
        )
        .await;
    assert!(said(answer, 404).contains("no model `x`"));
    let bad = [picture(1), b"no image".to_vec()];
    let answer = site
        .post(
            "/v2/models/rarity/infer",
            request(&bad, json!({"sequence_id": "s"})),
        )
        .await;
    assert!(said(answer, 422).contains("image 1: "));
    let answer = site
        .post(
            "/v2/models/patchcore/infer",
            request(&one, json!({"sequence_id": "s"})),
        )
        .await;
    said(answer, 409);
    let answer = site
        .post(
            "/v2/models/rarity/infer",
            request(&one, json!({"sequence_id": "a/b"})),
        )
        .await;
    assert!(said(answer, 400).contains("parameters.sequence_id"));
    said(site.get("/v2/nowhere").await, 404);
    said(site.call("DELETE", "/v2").send().await, 405);
}

#[tokio::test]
async fn metadata_tell_the_tensors() {
    let site = Site::open().await;
    let server = site.get("/v2").await.is(200).json();
    assert!(
        server["extensions"]
            .as_array()
            .unwrap()
            .contains(&json!("binary_tensor_data"))
    );
    site.get("/v2/health/live").await.is(200);
    site.get("/v2/health/ready").await.is(200);
    site.get("/v2/models/rarity/ready").await.is(200);
    let model = site.get("/v2/models/rarity").await.is(200).json();
    assert_eq!(
        model["inputs"],
        json!([{"name": "image", "datatype": "BYTES", "shape": [-1]}])
    );
    let map = output(&model, "anomaly_map");
    assert_eq!(map["shape"], json!([-1, 64, 64]));
}
