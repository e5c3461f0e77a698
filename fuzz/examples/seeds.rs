//! Writes the seeds of every target again: `cargo run --release --example seeds` in the folder
//! `fuzz`.

// A program that ends at the first thing that goes wrong.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use rareclip_fuzz::pickles;
use rareclip_fuzz::states::{NAMES, WHOLE, body, detectors, used};
use serde_json::{Value, json};

/// A larger state has a small twin.
const LARGEST: usize = 20_000;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = root.join("seeds").join(target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
    };
    for (index, name) in NAMES.iter().enumerate() {
        let fixture = root.join(format!("../tests/fixtures/state-v1/{name}.state"));
        let file = std::fs::read(fixture).unwrap();
        if file.len() <= LARGEST {
            write(
                "state_import",
                name,
                &[&[index as u8], body(&file)].concat(),
            );
        }
    }
    let detectors = detectors();
    for (index, name) in NAMES.iter().enumerate() {
        let index = index + NAMES.len();
        let file = used(&detectors[index]);
        write(
            "state_import",
            &format!("small-{name}"),
            &[&[index as u8], body(&file)].concat(),
        );
        write(
            "state_import",
            &format!("whole-{name}"),
            &[&[index as u8 | WHOLE], &file[..]].concat(),
        );
    }
    for entry in std::fs::read_dir(root.join("../configs")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut config: Value = toml::from_str(&text).unwrap();
        config["backbone"] = json!({ "type": "pixels" });
        let name = path.file_stem().unwrap().to_str().unwrap();
        write("request_config", name, config.to_string().as_bytes());
    }
    let unbuilt = json!({ "type": "unbuilt", "blocks": [1], "share": 0.5, "text": "a" });
    let command = json!({ "type": "process", "command": ["true"], "seconds": 1.0 });
    for (name, bank) in [("unbuilt", &unbuilt), ("process", &command)] {
        let config = json!({ "backbone": unbuilt, "prompt": unbuilt, "bank": bank, "scorer": bank,
            "calibration": { "type": "false-alarm-rate", "rate": 0.01 } });
        write("request_config", name, config.to_string().as_bytes());
    }
    for (name, bytes) in pickles::seeds() {
        write("pickle", name, &bytes);
    }
}
