//! A detector's config as a request posts it: read and checked, never built.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rareclip_core::{DetectorConfig, Slot, Trust, registry};
use rareclip_fuzz::memory::bounded;

/// Bytes that checking a config may allocate: so many, and so many for each byte of the request.
const BASE: usize = 32 << 20;
const FACTOR: usize = 256;

fuzz_target!(|data: &[u8]| {
    bounded(BASE + FACTOR * data.len(), || {
        let Ok(config) = serde_json::from_slice::<DetectorConfig>(data) else {
            return;
        };
        // As the service checks it before any component resolves its options.
        let trust = Trust::of(registry::components());
        let bank = config.bank.as_ref().map(|bank| bank.table());
        for (slot, table) in [
            (Slot::Bank, bank),
            (Slot::Scorer, Some(config.scorer.table())),
        ] {
            let Some(table) = table else { continue };
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
        let blocks = config.blocks();
        let identity = config.identity();
        let Ok(resolved) = config.resolved() else {
            return;
        };
        // What is written out means the same.
        let text = serde_json::to_vec(&resolved).expect("a config is written as JSON");
        let again: DetectorConfig =
            serde_json::from_slice(&text).expect("what was written is read");
        let again = again.resolved().expect("what was resolved is resolved");
        assert!(
            again == resolved,
            "a config that was resolved twice is another one"
        );
        assert_eq!(blocks.ok(), resolved.blocks().ok());
        assert_eq!(identity.ok(), resolved.identity().ok());
    });
});
