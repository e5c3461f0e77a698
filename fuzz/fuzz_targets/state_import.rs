//! The state of a stream from bytes that anyone may have written.
//!
//! The first byte names the detector and how the rest is taken, see `rareclip_fuzz::states`. A
//! state is refused with an error, or it is saved to the bytes it is loaded from again, and an
//! image is scored against it or refused.
#![no_main]

use std::cell::OnceCell;

use libfuzzer_sys::fuzz_target;
use rareclip_core::{Detector, Features, PushOptions};
use rareclip_fuzz::memory::bounded;
use rareclip_fuzz::states::{WHOLE, detectors, features, loaded, saved, with_header};

/// Bytes that an import may allocate: so many, and so many for each byte of the file.
const BASE: usize = 4 << 20;
const FACTOR: usize = 64;
/// Bytes that scoring an image may allocate: matrix products have a workspace of 64 MiB.
const SCORING: usize = 256 << 20;

thread_local! {
    static DETECTORS: OnceCell<Vec<(Detector, Features)>> = const { OnceCell::new() };
}

fn built() -> Vec<(Detector, Features)> {
    let with_image = |detector: Detector| {
        let image = features(&detector, 9);
        (detector, image)
    };
    detectors().into_iter().map(with_image).collect()
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else {
        return;
    };
    DETECTORS.with(|detectors| {
        let detectors = detectors.get_or_init(built);
        let (detector, image) = &detectors[usize::from(first & !WHOLE) % detectors.len()];
        let bytes = if first & WHOLE == 0 {
            with_header(rest)
        } else {
            rest.to_vec()
        };
        let stream = bounded(BASE + FACTOR * bytes.len(), || {
            let stream = loaded(detector, bytes)?;
            let first = saved(&stream);
            let again = loaded(detector, first.clone()).expect("a state that was saved is loaded");
            assert!(
                saved(&again) == first,
                "a state that was saved and loaded is another one"
            );
            Some(stream)
        });
        let Some(mut stream) = stream else { return };
        // Values of the state can make an image unusable; they cannot stop the program.
        bounded(SCORING, || {
            for options in [PushOptions::PEEK, PushOptions::LEARN] {
                if stream.push(image, options).is_err() {
                    return;
                }
            }
        });
    });
});
