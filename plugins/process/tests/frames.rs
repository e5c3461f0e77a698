//! Messages as bytes, and bytes that are none.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use proptest::prelude::*;
use rareclip_process::frame::{Frame, FrameError, HEADER_LIMIT};
use serde_json::json;

const LIMIT: u64 = 1 << 24;

fn read(bytes: &[u8]) -> Result<(Frame, u64), FrameError> {
    Frame::read(&mut &*bytes, LIMIT)
}

/// A message of this header and body.
fn message(header: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"RCLP".to_vec();
    bytes.extend((header.len() as u32).to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(body);
    bytes
}

fn header_error(header: &str, body: &[u8]) -> String {
    match read(&message(header, body)) {
        Err(FrameError::Header(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_is_laid_out_as_documented() {
    let mut frame = Frame::request("assess");
    frame.floats("embedding", &[1, 2], &[1.0, -0.5]);
    frame.raw("carry.flag", &[7]);
    let header = r#"{"arrays":[{"dtype":"f32","name":"embedding","shape":[1,2]},{"dtype":"u8","name":"carry.flag","shape":[1]}],"id":3,"request":"assess"}"#;
    let body = [0, 0, 128, 63, 0, 0, 0, 191, 7];
    let bytes = frame.encode(3, LIMIT).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(header).unwrap();
    let found: serde_json::Value =
        serde_json::from_slice(&bytes[16..bytes.len() - body.len()]).unwrap();
    assert_eq!(found, parsed);
    assert_eq!(bytes[..4], *b"RCLP");
    assert_eq!(bytes[4..8], (header.len() as u32).to_le_bytes());
    assert_eq!(bytes[8..16], 9u64.to_le_bytes());
    assert_eq!(bytes[bytes.len() - 9..], body);
    assert_eq!(read(&message(header, &body)).unwrap(), (frame, 3));
}

/// The bytes of the example in the documentation.
#[test]
fn the_example_of_the_documentation_is_a_message() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/process-plugins.md");
    let text = std::fs::read_to_string(path).unwrap();
    let dump = text.split("```hex\n").nth(1).unwrap();
    let dump = dump.split("```").next().unwrap();
    let bytes: Vec<u8> = dump
        .lines()
        .flat_map(|line| line.split("  ").next().unwrap().split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let (frame, id) = read(&bytes).unwrap();
    assert_eq!(id, 5);
    assert_eq!(
        frame.field("branches"),
        &json!([{ "source": "block 9", "distance": "cosine" }])
    );
    let (shape, scores) = frame.take_floats("scores.0").unwrap();
    assert_eq!((shape, scores), (vec![2], vec![0.25, 1.0]));
}

#[test]
fn the_end_between_two_messages_is_told_from_the_end_within_one() {
    let bytes = message(r#"{"id":1}"#, b"");
    assert!(matches!(read(b""), Err(FrameError::Closed)));
    for length in 1..bytes.len() {
        assert!(
            matches!(read(&bytes[..length]), Err(FrameError::Cut)),
            "{length}"
        );
    }
    let mut two = &*[bytes.clone(), bytes].concat();
    assert!(Frame::read(&mut two, LIMIT).is_ok());
    assert!(Frame::read(&mut two, LIMIT).is_ok());
    assert!(matches!(
        Frame::read(&mut two, LIMIT),
        Err(FrameError::Closed)
    ));
}

#[test]
fn sizes_are_checked_before_anything_is_read() {
    let mut bytes = message(r#"{"id":1}"#, b"");
    bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(
        read(&bytes),
        Err(FrameError::TooLarge { limit: LIMIT, .. })
    ));
    bytes[4..8].copy_from_slice(&(HEADER_LIMIT as u32 + 1).to_le_bytes());
    assert!(matches!(read(&bytes), Err(FrameError::Header(_))));
    let mut large = Frame::new();
    large.raw("state", &[0; 100]);
    assert!(large.encode(1, 100).is_err() && large.encode(1, 1000).is_ok());
}

#[test]
fn a_header_says_what_it_must_and_nothing_that_cannot_be() {
    let array = |shape: &str, more: &str| {
        format!(r#"{{"id":1,"arrays":[{{"name":"a","dtype":"f32","shape":{shape}}}{more}]}}"#)
    };
    assert!(header_error("[1]", b"").contains("map"));
    assert!(header_error(r#"{"id":-1}"#, b"").contains("`id`"));
    assert!(header_error("{}", b"").contains("`id`"));
    assert!(header_error(&array("[2]", ""), &[0; 4]).contains("take 8 bytes, the body has 4"));
    assert!(header_error(&array("[4294967296,4294967296]", ""), b"").contains("too large"));
    assert!(header_error(&array("[18446744073709551615]", ""), b"").contains("too large"));
    assert!(header_error(&array("[-1]", ""), b"").contains("invalid"));
    let twice = array("[1]", r#",{"name":"a","dtype":"u8","shape":[0]}"#);
    assert!(header_error(&twice, &[0; 4]).contains("two arrays are called `a`"));
    let deep = format!(r#"{{"id":1,"x":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    assert!(header_error(&deep, b"").contains("recursion"));
}

#[test]
fn an_array_of_another_type_or_none_is_named() {
    let mut frame = Frame::new();
    frame.ints("positions", &[2], &[1, 2]);
    assert_eq!(frame.take_ints("positions").unwrap().1, [1, 2]);
    let error = frame.take_floats("positions").unwrap_err().to_string();
    assert!(
        error.contains("`positions`") && error.contains("U32"),
        "{error}"
    );
    let error = frame.take_raw("state").unwrap_err().to_string();
    assert!(error.contains("`state` is missing"), "{error}");
}

#[test]
fn only_arrays_of_a_prefix_are_handed_on() {
    let mut answer = Frame::new();
    answer.floats("scores.0", &[1], &[0.5]);
    answer.floats("carry.x", &[2], &[1.0, 2.0]);
    answer.raw("carry.y", &[9]);
    let mut request = Frame::request("absorb");
    request.copy_arrays(&answer, "carry.");
    let names: Vec<&str> = request.arrays().map(|(name, _)| name).collect();
    assert_eq!(names, ["carry.x", "carry.y"]);
    assert_eq!(request.take_floats("carry.x").unwrap().1, [1.0, 2.0]);
    assert_eq!(request.take_raw("carry.y").unwrap(), [9]);
}

/// A message with some arrays.
fn frames() -> impl Strategy<Value = Frame> {
    let values = prop::collection::vec(any::<u32>(), 0..40);
    let arrays = prop::collection::btree_map("[a-z.0-9]{1,12}", (0..3, values), 0..6);
    (arrays, any::<f64>(), ".*").prop_map(|(arrays, number, text)| {
        let mut frame = Frame::request("any").with("text", text);
        if number.is_finite() {
            frame.set("number", number);
        }
        for (name, (kind, values)) in arrays {
            match kind {
                // Every bit pattern, NaN with payload too.
                0 => {
                    let floats: Vec<f32> =
                        values.iter().map(|bits| f32::from_bits(*bits)).collect();
                    frame.floats(name, &[floats.len(), 1], &floats);
                }
                1 => frame.ints(name, &[1, values.len()], &values),
                _ => frame.raw(
                    name,
                    &values.iter().map(|value| *value as u8).collect::<Vec<u8>>(),
                ),
            }
        }
        frame
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_to_the_bit(frame in frames(), id: u64) {
        let bytes = frame.encode(id, LIMIT).unwrap();
        let (read, found) = read(&bytes).unwrap();
        prop_assert_eq!(found, id);
        prop_assert_eq!(read.encode(id, LIMIT).unwrap(), bytes);
        prop_assert_eq!(read.field("number").as_f64(), frame.field("number").as_f64());
    }

    #[test]
    fn arbitrary_bytes_are_an_error_or_a_message_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        // Past the first checks too.
        let _ = read(&message(&String::from_utf8_lossy(&bytes), &bytes));
    }

    #[test]
    fn a_spoilt_message_is_an_error_or_another_message(frame in frames(), at: prop::sample::Index, byte: u8) {
        let mut bytes = frame.encode(1, LIMIT).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok((read, _)) = read(&bytes) {
            for (name, _) in read.arrays() {
                let _ = (read.take_floats(name), read.take_ints(name), read.take_raw(name));
            }
        }
    }
}
