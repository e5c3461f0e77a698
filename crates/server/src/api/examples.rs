//! One example for each schema of the document; tests read each back into its type.

use serde_json::{Value, json};

fn record() -> Value {
    json!({
        "id": 1200, "sequence": 1199, "at": "2026-11-24T06:12:03.250Z", "image": "cell-0042.png", "score": 0.47,
        "raw_score": 0.45, "p_value": 0.004, "verdict": "anomalous", "threshold": 0.4,
        "calibration": "quantile 0.95 of 1000 scores", "map_median": 0.08, "scale_low": 0.02, "scale_high": 0.61,
        "remembered": true, "feedback": "defect", "note": "crack at the busbar", "pictures": true
    })
}

fn timings() -> Value {
    json!({
        "queue_ms": 0.4, "decode_ms": 6.2, "backbone_ms": 310.0, "batch": 1, "prompt_ms": 4.1, "bank_ms": 38.5,
        "scorer_ms": 5.0, "store_ms": 1.2, "total_ms": 365.4
    })
}

fn links() -> Value {
    json!({
        "self": "/v1/streams/line-1/results/1200", "heatmap": "/v1/streams/line-1/results/1200/heatmap",
        "overlay": "/v1/streams/line-1/results/1200/overlay", "picture": "/v1/streams/line-1/results/1200/picture",
        "map": "/v1/streams/line-1/results/1200/map", "stream": "/v1/streams/line-1"
    })
}

fn answer() -> Value {
    let mut answer = record();
    if let Value::Object(fields) = &mut answer {
        fields.insert("stream".into(), "line-1".into());
        fields.insert("recorded".into(), true.into());
        fields.insert("replayed".into(), false.into());
        fields.insert("notice".into(), Value::Null);
        fields.insert("warm_up".into(), false.into());
        fields.insert("timings".into(), timings());
        fields.insert("links".into(), links());
    }
    answer
}

fn problem() -> Value {
    json!({
        "type": "about:blank", "title": "Too Many Requests", "status": 429,
        "detail": "256 images are waiting and at most 256 may; try again in 3 s", "kind": "busy"
    })
}

fn bank() -> Value {
    json!({"images": 1200, "prototypes": 4107, "bytes": 84_100_000, "capacity_bytes": 84_100_000})
}

fn calibration() -> Value {
    json!({
        "policy": {"type": "quantile", "quantile": 0.95, "warm_up": 20, "burn_in": 4, "history": 10000},
        "state": "quantile 0.95 of the last 1000 scores",
        "status": {"type": "quantile", "quantile": 0.95, "scores": 1000}, "threshold": 0.4, "known_normals": 0
    })
}

fn drift() -> Value {
    json!({"drifting": false, "upwards": false, "p_value": 0.31, "recent": 100, "reference": 1000})
}

fn stream() -> Value {
    json!({
        "name": "line-1", "detector": "rareclip", "created_at": "2026-11-20T05:00:00Z", "images": 1200, "results": 1200,
        "frozen": false, "condition": "loaded", "notice": null, "bank": bank(), "calibration": calibration(), "drift": drift(),
        "waiting": 0, "skipped_updates": 0, "last": record()
    })
}

fn snapshot() -> Value {
    json!({"id": 3, "at": "2026-11-24T06:00:00Z", "images": 1150, "bytes": 84_200_000, "note": "before the new lamp"})
}

fn detector() -> Value {
    json!({
        "name": "rareclip", "description": "RareCLIP, zero-shot and online", "image_side": 518, "learning": "online",
        "config": {"backbone": {"type": "vit", "model": "clip-vit-l-14-336"}, "scorer": {"type": "rarity"}}
    })
}

fn tensors() -> (Value, Value) {
    let inputs = json!([{"name": "image", "datatype": "BYTES", "shape": [-1]}]);
    let outputs = json!([
        {"name": "score", "datatype": "FP32", "shape": [-1]},
        {"name": "anomaly_map", "datatype": "FP32", "shape": [-1, 518, 518]}
    ]);
    (inputs, outputs)
}

/// The example of a schema.
pub(super) fn of(schema: &str) -> Option<Value> {
    service(schema)
        .or_else(|| stream_of(schema))
        .or_else(|| image(schema))
        .or_else(|| inference(schema))
}

fn service(schema: &str) -> Option<Value> {
    Some(match schema {
        "Problem" => problem(),
        "ServiceInfo" => json!({
            "version": "0.1.0", "ready": true, "problems": [], "streams": 4, "loaded": 2, "memory_bytes": 168_200_000,
            "memory_limit_bytes": 2_147_483_648_u64, "waiting": 0, "waiting_limit": 256
        }),
        "DetectorInfo" => detector(),
        "DetectorList" => json!({"detectors": [detector()]}),
        _ => return None,
    })
}

fn stream_of(schema: &str) -> Option<Value> {
    Some(match schema {
        "DetectorChoice" => json!("rareclip"),
        "NewStream" => {
            json!({"name": "line-1", "detector": "rareclip", "calibration": {"type": "false-alarm-rate", "rate": 0.01}})
        }
        "Condition" => json!("loaded"),
        "BankInfo" => bank(),
        "CalibrationInfo" => calibration(),
        "CalibrationStatus" => {
            json!({"type": "warming-up", "have": 7, "needed": 20, "reference": "images"})
        }
        "ReferenceScores" => json!("known-normals"),
        "DriftInfo" => drift(),
        "StreamInfo" => stream(),
        "StreamList" => json!({"streams": [stream()]}),
        "Calibrate" | "CalibrateBody" => json!({"by": "history", "rate": 0.01, "last": 500}),
        "ThresholdPreview" => json!({
            "threshold": 0.4, "judged": 1200, "anomalous": 14, "false_alarm_rate": 0.003, "basis": "feedback", "missed_defects": 1
        }),
        "SnapshotInfo" => snapshot(),
        "SnapshotList" => json!({"snapshots": [snapshot()]}),
        "NewSnapshot" => json!({"note": "before the new lamp"}),
        "Restore" => json!({"snapshot": 3}),
        _ => return None,
    })
}

fn image(schema: &str) -> Option<Value> {
    Some(match schema {
        "Label" => json!("defect"),
        "ResultRecord" => record(),
        "ResultList" => json!({"results": [record()]}),
        "Scores" => json!({
            "ids": [1199, 1200], "scores": [0.11, 0.47], "verdicts": ["normal", "anomalous"], "feedback": [null, "defect"]
        }),
        "Feedback" => json!({"label": "defect", "note": "crack at the busbar"}),
        "Timings" => timings(),
        "Links" => links(),
        "Answer" | "Scored" => answer(),
        "AnswerOrError" => json!({"error": problem()}),
        "Answers" => json!({"results": [answer(), {"error": problem()}]}),
        "EncodedImage" => {
            json!({"image": "cell-0042.png", "data": "iVBORw0KGgo=", "key": "2026-11-24-cell-0042"})
        }
        "EncodedImages" => json!({"images": [{"image": "cell-0042.png", "data": "iVBORw0KGgo="}]}),
        "MapForm" => json!("heatmap"),
        _ => return None,
    })
}

fn inference(schema: &str) -> Option<Value> {
    let (inputs, outputs) = tensors();
    let input = json!({"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {}, "data": ["iVBORw0KGgo="]});
    let output = json!({"name": "score", "parameters": {"binary_data": false}});
    let tensor = json!({"name": "score", "datatype": "FP32", "shape": [1], "data": [0.47]});
    Some(match schema {
        "TensorMetadata" => json!({"name": "image", "datatype": "BYTES", "shape": [-1]}),
        "ModelMetadata" => json!({
            "name": "rareclip", "versions": ["0.1.0"], "platform": "rareclip", "inputs": inputs, "outputs": outputs
        }),
        "ServerMetadata" => {
            json!({"name": "rareclip", "version": "0.1.0", "extensions": ["binary_tensor_data", "sequence"]})
        }
        "InferInput" => input,
        "InferOutput" => output,
        "InferRequest" => json!({
            "id": "cell-0042.png", "parameters": {"sequence_id": "line-1"}, "inputs": [input], "outputs": [output]
        }),
        "InferTensor" => tensor,
        "InferResponse" => json!({
            "model_name": "rareclip", "model_version": "0.1.0", "id": "cell-0042.png",
            "parameters": {"sequence_id": "line-1", "result_ids": "1200"}, "outputs": [tensor]
        }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::super::{health, images, intake, kserve, problem, results, snapshots, streams};
    use super::*;
    use crate::model;

    fn reads<T: DeserializeOwned>(schema: &str) {
        let read = serde_json::from_value::<T>(of(schema).unwrap());
        assert!(read.is_ok(), "{schema}: {:?}", read.err());
    }

    #[test]
    fn every_example_is_what_it_is_an_example_of() {
        reads::<problem::Problem>("Problem");
        reads::<model::ServiceInfo>("ServiceInfo");
        reads::<health::DetectorList>("DetectorList");
        reads::<model::NewStream>("NewStream");
        reads::<streams::StreamList>("StreamList");
        reads::<model::Calibrate>("Calibrate");
        reads::<model::ThresholdPreview>("ThresholdPreview");
        reads::<snapshots::SnapshotList>("SnapshotList");
        reads::<snapshots::NewSnapshot>("NewSnapshot");
        reads::<snapshots::Restore>("Restore");
        reads::<results::ResultList>("ResultList");
        reads::<model::Scores>("Scores");
        reads::<results::Feedback>("Feedback");
        reads::<images::Answer>("Answer");
        reads::<images::Answers>("Answers");
        reads::<images::Scored>("Scored");
        reads::<intake::EncodedImage>("EncodedImage");
        reads::<intake::EncodedImages>("EncodedImages");
        reads::<kserve::ModelMetadata>("ModelMetadata");
        reads::<kserve::ServerMetadata>("ServerMetadata");
        reads::<kserve::InferRequest>("InferRequest");
        reads::<kserve::InferResponse>("InferResponse");
    }
}
