//! Token ids against golden cases.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use common::fixtures;
use rareclip_prompt::tokenizer::{CONTEXT, encode};
use serde_json::Value;

/// The repair of mojibake is the one part of ftfy that is left out.
const MOJIBAKE: [&str; 2] = ["schÃ¶n mojibake", "donâ€™t mojibake"];

fn ids(case: &Value, key: &str) -> Vec<u32> {
    serde_json::from_value(case[key].clone()).unwrap()
}

#[test]
fn every_case_gives_exactly_its_ids() {
    let Some(folder) = fixtures("every_case_gives_exactly_its_ids") else {
        return;
    };
    let text = std::fs::read(folder.join("clip_tiny/tokenizer_cases.json")).unwrap();
    let golden: Value = serde_json::from_slice(&text).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 70);
    let mut unrepaired = 0;
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let left_out = MOJIBAKE.contains(&text);
        unrepaired += usize::from(left_out);
        let key = if left_out { "ids_without_ftfy" } else { "ids" };
        assert_eq!(encode(text), ids(case, key), "{text:?}");
    }
    assert_eq!(unrepaired, MOJIBAKE.len());
}

#[test]
fn the_default_prompts_have_the_golden_ids() {
    let Some(folder) = fixtures("the_default_prompts_have_the_golden_ids") else {
        return;
    };
    let text = std::fs::read(folder.join("clip_tiny/prompts.json")).unwrap();
    let golden: Value = serde_json::from_slice(&text).unwrap();
    let set = rareclip_prompt::PromptSet::default();
    assert_eq!(serde_json::json!(set.normal()), golden["normal"]);
    assert_eq!(serde_json::json!(set.abnormal()), golden["abnormal"]);

    let bytes = std::fs::read(folder.join("clip_tiny/text_gelu.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let stored = tensors.tensor("prompt_ids").unwrap();
    let stored: Vec<u32> = stored
        .data()
        .chunks_exact(4)
        .map(|four| u32::from_le_bytes(four.try_into().unwrap()))
        .collect();
    let sentences = [set.normal(), set.abnormal()].concat();
    assert_eq!(stored.len(), sentences.len() * CONTEXT);
    for (sentence, row) in sentences.iter().zip(stored.chunks_exact(CONTEXT)) {
        let mut ids = encode(sentence);
        ids.resize(CONTEXT, 0);
        assert_eq!(ids, row, "{sentence}");
    }
}
