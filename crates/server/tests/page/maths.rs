//! The arithmetic of the page, called in the page.

use serde_json::{Value, json};

use crate::browser::Page;

fn call(page: &Page, expression: &str) -> Value {
    page.eval(&format!(
        "import('/page/maths.js').then((maths) => {{ const {{ {NAMES} }} = maths; return {expression}; }})"
    ))
}

const NAMES: &str = "formatScore, formatShare, formatBytes, axisRange, ticks, histogram, rejudge, sliderKey, warmUp, addResult, parseEvents, backoff, ago";

/// Each expression with what it is.
const TABLE: &[(&str, &str)] = &[
    // Numbers as words.
    ("formatScore(0.41234)", r#""0.4123""#),
    ("formatScore(12.345)", r#""12.35""#),
    ("formatScore(null)", r#""–""#),
    ("formatShare(0.0125)", r#""1.3 %""#),
    ("formatShare(0.0012)", r#""0.12 %""#),
    ("formatShare(0)", r#""0 %""#),
    ("formatBytes(1536)", r#""1.5 KiB""#),
    ("formatBytes(0)", r#""0 bytes""#),
    ("ago(0, 90_000)", r#""1 min ago""#),
    // Axes.
    ("axisRange([])", "[0, 1]"),
    ("axisRange([NaN, null])", "[0, 1]"),
    (
        "axisRange([2, 2]).map((value) => value > 2)",
        "[false, true]",
    ),
    ("ticks(0, 1, 5)", "[0, 0.2, 0.4, 0.6, 0.8, 1]"),
    ("ticks(0.17, 0.75, 5)", "[0.2, 0.4, 0.6]"),
    ("ticks(-1, 1, 4)", "[-1, -0.5, 0, 0.5, 1]"),
    // The histogram: the high end belongs to the last step, what is outside or no number is not
    // counted.
    (
        "histogram([0, 0.1, 0.5, 1, 2, NaN], [null, 'defect', null, 'normal', null, null], 0, 1, 2)",
        r#"{"counts": [2, 2], "defects": [1, 0]}"#,
    ),
    // Judged anew: above, not at, the threshold; a labelled defect is no false alarm.
    (
        "rejudge([0.1, 0.4, 0.5, 0.9, 0.3], [null, 'normal', null, 'defect', 'defect'], 0.4)",
        r#"{"judged": 5, "anomalous": 2, "normal": 3, "others": 3, "falseAlarms": 1, "falseAlarmRate": 0.3333333333333333, "defects": 2, "missed": 1}"#,
    ),
    ("rejudge([0.5], ['defect'], 0.1).falseAlarmRate", "null"),
    // Keys of the slider.
    ("sliderKey('ArrowRight', 0.5, 0, 1, false)", "0.505"),
    ("sliderKey('ArrowLeft', 0.5, 0, 1, true)", "0.45"),
    ("sliderKey('PageUp', 0.95, 0, 1, false)", "1"),
    ("sliderKey('Home', 0.5, 0.25, 1, false)", "0.25"),
    ("sliderKey('a', 0.5, 0, 1, false)", "null"),
    // States of the calibration.
    (
        "warmUp({ type: 'warming-up', have: 7, needed: 20, reference: 'known-normals' })",
        r#"{"have": 7, "needed": 20, "what": "known normals"}"#,
    ),
    (
        "warmUp({ type: 'quantile', quantile: 0.95, scores: 900 })",
        "null",
    ),
    ("warmUp(null)", "null"),
    // Results as they come.
    (
        "addResult({ ids: [1, 2], scores: [5, 6], verdicts: ['normal', 'normal'], feedback: [null, null] }, { id: 3, score: 7, verdict: 'anomalous', feedback: null }, 2)",
        r#"{"ids": [2, 3], "scores": [6, 7], "verdicts": ["normal", "anomalous"], "feedback": [null, null]}"#,
    ),
    (
        "addResult({ ids: [1, 3], scores: [5, 7], verdicts: ['normal', 'normal'], feedback: [null, null] }, { id: 2, score: 6, verdict: 'normal', feedback: 'defect' }, 9)",
        r#"{"ids": [1, 2, 3], "scores": [5, 6, 7], "verdicts": ["normal", "normal", "normal"], "feedback": [null, "defect", null]}"#,
    ),
    // Server-sent events: comments dropped, lines joined, an unfinished one kept for later.
    (
        r"parseEvents(': hi\r\n\r\nevent: result\r\nid: 7\r\ndata: {\r\ndata: }\r\n\r\nevent: str')",
        r#"{"events": [{"type": "result", "id": "7", "data": "{\n}"}], "rest": "event: str"}"#,
    ),
    ("[1, 2, 3, 9].map(backoff)", "[1000, 2000, 4000, 30000]"),
];

pub fn agrees(page: &Page) {
    for (expression, expected) in TABLE {
        let expected: Value = serde_json::from_str(expected).unwrap_or(json!(expected));
        assert_eq!(call(page, expression), expected, "{expression}");
    }
}
