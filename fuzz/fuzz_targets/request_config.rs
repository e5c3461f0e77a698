//! A detector's config as a request posts it: read and checked, never built.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rareclip_core::DetectorConfig;
use rareclip_fuzz::memory::bounded;

/// Bytes that checking a config may allocate: so many, and so many for each byte of the request.
const BASE: usize = 32 << 20;
const FACTOR: usize = 256;

fuzz_target!(|data: &[u8]| {
    bounded(BASE + FACTOR * data.len(), || {
        let Ok(config) = serde_json::from_slice::<DetectorConfig>(data) else {
            return;
        };
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
