//! Detectors without weights and the bytes of their streams' states.

use std::path::Path;

use ndarray::Array4;
use rareclip_core::snapshot::{FORMAT_VERSION, Snapshot, SnapshotWriter};
use rareclip_core::{Detector, DetectorConfig, Features, PushOptions, Stream};
use sha2::{Digest, Sha256};

/// The detectors of the fixtures. Seeds name them by their place here.
const CONFIGS: [&str; 5] = [
    include_str!("../../tests/fixtures/state-v1/rarity.toml"),
    include_str!("../../tests/fixtures/state-v1/direct.toml"),
    include_str!("../../tests/fixtures/state-v1/coreset.toml"),
    include_str!("../../tests/fixtures/state-v1/gaussian.toml"),
    include_str!("../../tests/fixtures/state-v1/subspace.toml"),
];

/// Their names.
pub const NAMES: [&str; CONFIGS.len()] = ["rarity", "direct", "coreset", "gaussian", "subspace"];

/// Side in pixels of the small detectors' images: 3 x 3 patches.
const SMALL: i64 = 21;

/// Set in the first byte of an input whose rest is a whole file; otherwise it is a body, which gets
/// a fitting header.
pub const WHOLE: u8 = 0x80;

/// Every detector twice: as in the fixtures, then with small images, so that a state has few bytes.
pub fn detectors() -> Vec<Detector> {
    let small = |text: &&str| {
        let mut table: toml::Table = text.parse().unwrap();
        let mut set = |part: &str, key: &str, value: toml::Value| {
            let part = table[part].as_table_mut().unwrap();
            part.insert(key.to_owned(), value);
        };
        set("backbone", "image_size", SMALL.into());
        if text.contains(r#"name = "rarity""#) {
            // A memory that chooses keeps scores too.
            set("bank", "update", toml::toml! { type = "quantile" }.into());
        }
        table.try_into::<DetectorConfig>().unwrap()
    };
    let given = CONFIGS.iter().map(|text| toml::from_str(text).unwrap());
    let configs: Vec<DetectorConfig> = given.chain(CONFIGS.iter().map(small)).collect();
    configs
        .iter()
        .map(|config| Detector::build(config).unwrap())
        .collect()
}

/// The features of an image; `seed` decides which.
pub fn features(detector: &Detector, seed: usize) -> Features {
    let side = detector.spec().input.side;
    let pixel = |(_, channel, row, column): (usize, usize, usize, usize)| {
        let mixed = (row * 31 + column * 17 + channel * 7 + seed * 101) % 97;
        mixed as f32 / 97.0 - 0.5
    };
    let image = Array4::from_shape_fn((1, 3, side, side), pixel);
    detector.encode(image.view()).unwrap().remove(0)
}

/// A file around a body: the header that a stream would have written.
pub fn with_header(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"RARECLIP".to_vec();
    bytes.extend(FORMAT_VERSION.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend(Sha256::digest(body));
    bytes.extend(body);
    bytes
}

/// The body of a whole file.
pub fn body(file: &[u8]) -> &[u8] {
    &file[with_header(&[]).len()..]
}

/// Loads the bytes of a state file into a new stream; `None` where they are refused.
pub fn loaded(detector: &Detector, bytes: Vec<u8>) -> Option<Stream> {
    let path = Path::new("import");
    Snapshot::check_foreign(path, &bytes).ok()?;
    let snapshot = Snapshot::from_bytes(path, bytes).ok()?;
    let mut reader = snapshot.reader().ok()?;
    let stream = detector.open_stream().unwrap();
    stream.restore_from(path, &mut reader).ok()
}

/// The bytes of a stream's state file.
pub fn saved(stream: &Stream) -> Vec<u8> {
    let mut writer = SnapshotWriter::new();
    stream.save_into(&mut writer).unwrap();
    writer.to_bytes().unwrap()
}

/// The state of a stream that has been given a few images.
pub fn used(detector: &Detector) -> Vec<u8> {
    let mut stream = detector.open_stream().unwrap();
    for seed in 0..3 {
        stream.push_normal(&features(detector, seed)).unwrap();
    }
    for seed in 3..6 {
        stream
            .push(&features(detector, seed), PushOptions::LEARN)
            .unwrap();
    }
    saved(&stream)
}
