//! A detector's config as a request posts it: read and checked, never built.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rareclip_core::{DetectorConfig, Slot, Trust, registry};
use rareclip_fuzz::memory::bounded;
use serde_json::Value;

/// Bytes that checking a config may allocate: so many, and so many for each byte of the request.
const BASE: usize = 32 << 20;
const FACTOR: usize = 256;

fuzz_target!(|data: &[u8]| {
    bounded(BASE + FACTOR * data.len(), || {
        let Ok(Value::Object(tables)) = serde_json::from_slice(data) else {
            return;
        };
        // As the service checks the tables before it reads them.
        let trust = Trust::of(registry::components());
        for slot in [Slot::Bank, Slot::Scorer] {
            let Some(Value::Object(table)) = tables.get(slot.name()) else {
                continue;
            };
            if trust.check(slot, table, slot.name()).is_ok() {
                let name = table["type"]
                    .as_str()
                    .expect("a trusted component has a name");
                let component = registry::find(slot, name).expect("a trusted component is linked");
                assert!(
                    component.reaches.is_empty(),
                    "{slot} {name} reaches something"
                );
            }
        }
        let Ok(config) = DetectorConfig::from_value(Value::Object(tables), &|_| None) else {
            return;
        };
        // What is written means the same.
        let written = serde_json::to_value(&config).expect("a config is written as JSON");
        let again =
            DetectorConfig::from_value(written, &|_| None).expect("what was written is read");
        assert!(again == config, "a config that was written is another one");
        assert_eq!(again.blocks(), config.blocks());
        assert_eq!(again.identity().ok(), config.identity().ok());
    });
});
