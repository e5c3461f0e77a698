//! A service over detectors that need no native library.

use std::sync::Arc;

use rareclip_core::config::ConfigBuilder;
use rareclip_core::{Declaration, Detector, DetectorConfig};
use rareclip_imaging::{RgbPicture, encode_png};
use rareclip_server::model::{DetectorChoice, NewStream};
use rareclip_server::{
    Detectors, NamedConfig, Service, ServiceError, Settings, Submission, SubmitOptions, Submitted,
    Trust,
};

pub(crate) const RARITY: &str = r#"
name = "rarity"
[backbone]
type = "thumbnail"
image_size = 64
cell = 8
[bank]
type = "prototype"
blocks = [1]
neighbourhoods = [1, 3]
capacity = 3.0
[scorer]
type = "rarity"
"#;

pub(crate) const PATCHCORE: &str = r#"
name = "patchcore"
[backbone]
type = "thumbnail"
image_size = 64
cell = 8
[bank]
type = "coreset"
blocks = [1]
[scorer]
type = "nearest-neighbour"
"#;

pub(crate) fn config(text: &str) -> DetectorConfig {
    ConfigBuilder::new()
        .toml("test", text)
        .unwrap()
        .build()
        .unwrap()
}

pub(crate) fn detectors() -> Detectors {
    let named = [("rarity", RARITY), ("patchcore", PATCHCORE)];
    let configs = named.map(|(name, text)| NamedConfig {
        name: name.into(),
        config: config(text),
    });
    Detectors::build(configs.into(), 4).unwrap()
}

/// The plugins of the tests are those of a program.
pub(crate) fn trust() -> Trust {
    let plugins = [
        rareclip_baselines::COMPONENTS,
        rareclip_index_exact::COMPONENTS,
        rareclip_neighbours::COMPONENTS,
        rareclip_process::COMPONENTS,
        rareclip_rarity::COMPONENTS,
    ];
    trusting(&plugins)
}

/// Trusts the components of some crates.
pub(crate) fn trusting(crates: &[&'static [Declaration]]) -> Trust {
    let all = rareclip_core::registry::components().iter();
    Trust::of(all.filter(|component| component.is_of(crates)))
}

pub(crate) fn settings(data: &std::path::Path) -> Settings {
    Settings {
        snapshot_every: 8,
        trust: trust(),
        ..Settings::new(data)
    }
}

pub(crate) async fn open(settings: Settings) -> Arc<Service> {
    Service::open(settings, detectors()).await.unwrap()
}

/// A picture of its own for every seed; those of a multiple of ten have a spot.
pub(crate) fn picture(seed: u32) -> Vec<u8> {
    let side = 48usize;
    let mut data = Vec::with_capacity(3 * side * side);
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    for at in 0..side * side {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let (x, y) = (at % side, at / side);
        let spot = seed.is_multiple_of(10) && (x / 8, y / 8) == (2, 3);
        let base = if spot { 230 } else { 100 + (x / 4) as u32 };
        let value = u8::try_from(base + state % 16).unwrap();
        data.extend([value, value / 2, 255 - value]);
    }
    encode_png(&RgbPicture::new(side, side, data).unwrap()).unwrap()
}

pub(crate) fn submission(seed: u32) -> Submission {
    Submission {
        name: Some(format!("{seed}.png")),
        bytes: picture(seed).into(),
        key: None,
    }
}

pub(crate) fn keyed(seed: u32) -> Submission {
    Submission {
        key: Some(format!("key-{seed}")),
        ..submission(seed)
    }
}

pub(crate) async fn stream(service: &Service, name: &str, detector: &str) {
    let new = NewStream {
        name: name.into(),
        detector: Some(DetectorChoice::Name(detector.into())),
        calibration: None,
    };
    service.create(new).await.unwrap();
}

pub(crate) async fn send(service: &Service, name: &str, image: Submission) -> Submitted {
    try_send(service, name, image).await.unwrap()
}

pub(crate) async fn try_send(
    service: &Service,
    name: &str,
    image: Submission,
) -> Result<Submitted, ServiceError> {
    let mut done = service
        .submit(name, vec![image], SubmitOptions::default())
        .await?;
    done.pop().unwrap()
}

/// Scores of the pictures `seeds`, by the library alone.
pub(crate) fn expected(seeds: impl Iterator<Item = u32>) -> Vec<f32> {
    let detector = Detector::build(&config(RARITY)).unwrap();
    let mut stream = detector.open_stream().unwrap();
    seeds
        .map(|seed| {
            let recipe = detector.spec().input;
            let tensor =
                rareclip_imaging::prepare(&picture(seed), &recipe, &Default::default()).unwrap();
            let tensor = tensor.insert_axis(ndarray::Axis(0));
            let mut features = detector.encode(tensor.view()).unwrap().remove(0);
            features.file_bytes = Some(picture(seed).len() as u64);
            let outcome = stream.push(&features, rareclip_core::PushOptions::LEARN);
            outcome.unwrap().scored.score
        })
        .collect()
}
