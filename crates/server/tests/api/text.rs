//! One rule for every text that a request brings.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::client::{Answer, Site, base64};
use crate::common::picture;

/// The text fields of the API: which, the longest that is allowed in bytes, and the name of the
/// field in the message.
const FIELDS: [(&str, usize, &str); 13] = [
    ("NewStream.name", 64, "name"),
    ("NewStream.detector", 256, "detector"),
    ("detector.name", 64, "detector.name"),
    ("detector.description", 1024, "detector.description"),
    ("detector.bank.type", 1024, "detector.bank.type"),
    ("Feedback.note", 2048, "note"),
    ("NewSnapshot.note", 2048, "note"),
    ("EncodedImage.image", 512, "image"),
    ("EncodedImage.key", 200, "key"),
    ("EncodedImages.image", 512, "image"),
    ("EncodedImages.key", 200, "key"),
    ("InferRequest.id", 512, "id"),
    ("multipart.filename", 512, "image"),
];

async fn send(site: &Site, field: &str, text: &str) -> Answer {
    let data = base64(&picture(1));
    let config = |change: &dyn Fn(&mut Value)| {
        let mut table = json!({
            "name": "own",
            "backbone": {"type": "thumbnail", "image_size": 64, "cell": 8},
            "bank": {"type": "prototype", "blocks": [1], "capacity": 1.0},
            "scorer": {"type": "rarity"},
        });
        change(&mut table);
        json!({"name": "own", "detector": table})
    };
    match field {
        "NewStream.name" => site.post("/v1/streams", json!({"name": text})).await,
        "NewStream.detector" => {
            site.post("/v1/streams", json!({"name": "x", "detector": text}))
                .await
        }
        "detector.name" => {
            site.post("/v1/streams", config(&|table| table["name"] = text.into()))
                .await
        }
        "detector.description" => {
            let new = config(&|table| table["description"] = text.into());
            site.post("/v1/streams", new).await
        }
        "detector.bank.type" => {
            let new = config(&|table| table["bank"]["type"] = text.into());
            site.post("/v1/streams", new).await
        }
        "Feedback.note" => {
            let note = json!({"label": "normal", "note": text});
            site.put("/v1/streams/s/results/1/feedback", note).await
        }
        "NewSnapshot.note" => {
            site.post("/v1/streams/s/snapshot", json!({"note": text}))
                .await
        }
        "EncodedImage.image" => {
            let body = json!({"images": [{"image": text, "data": data}]});
            site.post("/v1/streams/s/images", body).await
        }
        "EncodedImage.key" => {
            let body = json!({"images": [{"key": text, "data": data}]});
            site.post("/v1/streams/s/images", body).await
        }
        "EncodedImages.image" => {
            site.post("/v1/streams/s/images", json!({"image": text, "data": data}))
                .await
        }
        "EncodedImages.key" => {
            site.post("/v1/streams/s/images", json!({"key": text, "data": data}))
                .await
        }
        "InferRequest.id" => {
            let body = json!({
                "id": text,
                "parameters": {"sequence_id": "s"},
                "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [data]}],
            });
            site.post("/v2/models/rarity/infer", body).await
        }
        "multipart.filename" => {
            let call = site.call("POST", "/v1/streams/s/images");
            call.form(&[(text, picture(1))]).send().await
        }
        other => panic!("{other}"),
    }
}

async fn site() -> Site {
    let site = Site::open().await;
    site.stream("s").await;
    site.image("s", 1).await;
    site
}

#[tokio::test]
async fn control_characters_are_refused_in_every_field_and_the_field_is_named() {
    let site = site().await;
    for (field, _, named) in FIELDS {
        for bad in ["a\0b", "a\u{1b}[31mb", "a\u{85}b", "a\nb", "a\u{2028}b"] {
            // A line end ends the header of a form's part, not the name.
            if field == "multipart.filename" && bad == "a\nb" {
                continue;
            }
            let answer = send(&site, field, bad).await;
            let text = answer.text();
            assert_eq!(answer.status, 400, "{field} {bad:?}: {text}");
            // Some of them end the headers of a form's part before there is a name.
            let form = field == "multipart.filename" && text.contains("not a multipart form");
            assert!(form || text.contains(named), "{field} {bad:?}: {text}");
        }
    }
    for query in ["image=%00", "image=a%1Bb", "image=a%0Ab"] {
        let said = site.get(format!("/v1/streams/s/results?{query}")).await;
        assert!(said.problem(400, "invalid").contains("image"), "{query}");
        let call = site.call("POST", format!("/v1/streams/s/images?{query}"));
        let said = call.raw("image/png", picture(1)).send().await;
        assert!(said.problem(400, "invalid").contains("image"), "{query}");
    }
}

#[tokio::test]
async fn texts_are_bounded_in_every_field() {
    let site = site().await;
    for (field, most, named) in FIELDS {
        for length in [most + 1, 200_000] {
            let answer = send(&site, field, &"x".repeat(length)).await;
            let text = answer.text();
            assert_eq!(answer.status, 400, "{field} {length}: {text}");
            assert!(text.contains(named), "{field} {length}: {text}");
            // What is far too long is not repeated.
            assert!(text.len() < 2000, "{field} {length}: {} bytes", text.len());
        }
    }
    let long = "x".repeat(513);
    let said = site
        .get(format!("/v1/streams/s/results?image={long}"))
        .await;
    assert!(said.problem(400, "invalid").contains("image"));
    // The longest that is allowed.
    for field in ["Feedback.note", "NewSnapshot.note"] {
        let answer = send(&site, field, &"é".repeat(1024)).await;
        assert!(answer.status.is_success(), "{field}: {}", answer.text());
    }
}

/// The names `Schema.field` of all text in the bodies of requests.
fn texts(document: &Value) -> BTreeSet<String> {
    fn walk(
        document: &Value,
        name: &str,
        schema: &Value,
        seen: &mut BTreeSet<String>,
        found: &mut BTreeSet<String>,
    ) {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap();
            if seen.insert(name.to_owned()) {
                walk(
                    document,
                    name,
                    &document["components"]["schemas"][name],
                    seen,
                    found,
                );
            }
            return;
        }
        for list in ["oneOf", "anyOf", "allOf"] {
            for part in schema[list].as_array().into_iter().flatten() {
                walk(document, name, part, seen, found);
            }
        }
        if let Some(items) = schema.get("items") {
            walk(document, name, items, seen, found);
        }
        let fixed = schema.get("enum").is_some() || schema.get("const").is_some();
        let kinds = match &schema["type"] {
            Value::Array(kinds) => kinds.clone(),
            one => vec![one.clone()],
        };
        if kinds.contains(&json!("string")) && !fixed {
            found.insert(name.to_owned());
        }
        for (field, inner) in schema["properties"].as_object().into_iter().flatten() {
            walk(
                document,
                &format!("{}.{field}", name.split('.').next().unwrap()),
                inner,
                seen,
                found,
            );
        }
    }
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    for route in document["paths"].as_object().unwrap().values() {
        for operation in route.as_object().unwrap().values() {
            let content = operation["requestBody"]["content"].as_object();
            for (kind, body) in content.into_iter().flatten() {
                if kind == "application/json" {
                    walk(document, "body", &body["schema"], &mut seen, &mut found);
                }
            }
        }
    }
    found
}

#[tokio::test]
async fn no_text_of_a_request_is_left_out_here() {
    let document = Site::open().await.get("/openapi.json").await.is(200).json();
    let mut known: BTreeSet<String> = FIELDS
        .iter()
        .map(|(field, ..)| (*field).to_owned())
        .collect();
    // By name, which the table has as the field that it is given in.
    known.insert("DetectorChoice".to_owned());
    // Images in base64 are decoded, and the rest is compared with fixed words.
    for field in [
        "EncodedImage.data",
        "EncodedImages.data",
        "InferInput.data",
        "InferInput.datatype",
        "InferInput.name",
        "InferOutput.name",
    ] {
        known.insert(field.to_owned());
    }
    let found = texts(&document);
    assert!(found.len() > 8, "{found:?}");
    let unknown: Vec<_> = found.difference(&known).collect();
    assert!(
        unknown.is_empty(),
        "{unknown:?} are text without a case in this file"
    );
}
