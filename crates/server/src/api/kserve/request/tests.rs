use proptest::prelude::*;
use serde_json::json;

use super::*;

fn json(value: &Value) -> Result<Asked, ApiError> {
    read(&Bytes::from(value.to_string()), None, 4)
}

fn said(result: Result<Asked, ApiError>) -> String {
    result.unwrap_err().problem().detail.clone()
}

fn request(parameters: Value, data: Value) -> Value {
    let n = data.as_array().map_or(0, Vec::len);
    json!({
        "id": "a",
        "parameters": parameters,
        "inputs": [{"name": "image", "shape": [n], "datatype": "BYTES", "data": data}],
    })
}

#[test]
fn elements_in_json_are_base64() {
    let asked = json(&request(
        json!({"sequence_id": "line-1"}),
        json!(["QUI=", "Qw"]),
    ))
    .unwrap();
    assert_eq!(asked.stream, "line-1");
    assert!(asked.update);
    let files: Vec<_> = asked.images.iter().map(|i| &i.bytes[..]).collect();
    assert_eq!(files, [&b"AB"[..], b"C"]);
    assert_eq!(asked.images[1].name.as_deref(), Some("a/1"));
}

#[test]
fn elements_after_the_json_are_the_files_themselves() {
    let head = json!({
        "parameters": {"sequence_id": 7, "update": false, "timeout": 1500},
        "inputs": [{"name": "image", "shape": [1, 1], "datatype": "BYTES",
                    "parameters": {"binary_data_size": 6}}],
        "outputs": [{"name": "anomaly_map", "parameters": {"binary_data": true}}, {"name": "score"}],
    })
    .to_string();
    let body = [head.as_bytes(), b"\x02\0\0\0AB"].concat();
    let asked = read(&body.into(), Some(head.len()), 4).unwrap();
    assert_eq!(asked.stream, "7");
    assert!(!asked.update);
    assert_eq!(asked.timeout_ms, Some(2));
    assert_eq!(&asked.images[0].bytes[..], b"AB");
    assert!(asked.outputs.wants_map());
    let binary: Vec<bool> = asked.outputs.0.iter().map(|output| output.2).collect();
    assert_eq!(binary, [true, false]);
}

#[test]
fn without_outputs_all_but_the_map_are_given() {
    let parameters = json!({"sequence_id": "s", "binary_data_output": true});
    let asked = json(&request(parameters, json!(["QQ"]))).unwrap();
    let names: Vec<_> = asked.outputs.0.iter().map(|output| output.1).collect();
    assert_eq!(names, ["score", "raw_score", "p_value", "verdict"]);
    assert!(asked.outputs.0.iter().all(|output| output.2));
}

#[test]
fn a_request_without_a_sequence_is_told_what_it_is_for() {
    for parameters in [json!({}), json!({"sequence_id": null})] {
        let said = said(json(&request(parameters, json!(["QQ"]))));
        assert!(
            said.contains("parameters.sequence_id: missing; it names the stream"),
            "{said}"
        );
    }
    let said = said(json(&request(json!({"sequence_id": 0}), json!(["QQ"]))));
    assert!(said.contains("above 0"), "{said}");
}

#[test]
fn what_is_wrong_is_named() {
    let sequence = json!({"sequence_id": "s"});
    let good = request(sequence, json!(["QQ"]));
    let changed = |pointer: &str, value: Value| {
        let mut request = good.clone();
        *request.pointer_mut(pointer).unwrap() = value;
        said(json(&request))
    };
    let cases = [
        (
            changed("/inputs/0/name", json!("x")),
            "inputs[0].name: found `x`",
        ),
        (
            changed("/inputs/0/datatype", json!("FP32")),
            "inputs[0].datatype",
        ),
        (
            changed("/inputs/0/shape", json!([2])),
            "inputs[0].shape: found [2]",
        ),
        (
            changed("/inputs/0/shape", json!([u64::MAX, 3])),
            "inputs[0].shape",
        ),
        (
            changed("/inputs/0/data", json!(["*"])),
            "inputs[0].data[0]: not base64",
        ),
        (changed("/inputs/0/data", json!([])), "inputs[0].shape"),
        (changed("/inputs", json!([])), "inputs: found 0"),
        (
            changed("/parameters", json!({"sequence_id": "s", "update": 1})),
            "parameters.update",
        ),
        (
            changed("/inputs/0/data", json!(["QQ", "QQ", "QQ", "QQ", "QQ"])),
            "more than 4 images",
        ),
    ];
    for (said, wanted) in cases {
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn sizes_that_do_not_add_up_are_refused() {
    let body = Bytes::from_static(b"{}");
    let text = said(read(&body, Some(3), 4));
    assert!(
        text.contains("Inference-Header-Content-Length: found 3"),
        "{text}"
    );
    let head = request(json!({"sequence_id": "s"}), json!(["QQ"])).to_string();
    let body = [head.as_bytes(), b"tail"].concat();
    let text = said(read(&body.into(), Some(head.len()), 4));
    assert!(text.contains("4 bytes follow the JSON"), "{text}");
}

proptest! {
    #[test]
    fn any_body_gets_a_request_or_an_error(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        header in proptest::option::of(0usize..300),
    ) {
        let _ = read(&body.into(), header, 4);
    }

    #[test]
    fn any_tensor_after_a_good_header_gets_images_or_an_error(
        tensor in proptest::collection::vec(prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 0..60),
        n in 0u64..6,
    ) {
        let head = json!({
            "parameters": {"sequence_id": "s"},
            "inputs": [{"name": "image", "shape": [n], "datatype": "BYTES",
                        "parameters": {"binary_data_size": tensor.len()}}],
        })
        .to_string();
        let body = [head.as_bytes(), &tensor].concat();
        if let Ok(asked) = read(&body.into(), Some(head.len()), 4) {
            prop_assert_eq!(asked.images.len() as u64, n);
        }
    }
}
