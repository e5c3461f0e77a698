//! JPEG files of every kind against the pixels of libjpeg-turbo, and files that are refused.
//! `tests/python/jpeg_fixtures.py` writes the files and pixels.
#![cfg(feature = "codecs")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::{Path, PathBuf};

use common::Golden;
use proptest::prelude::*;
use rareclip_imaging::{Format, ImagingError, InputRecipe, Limits, Picture, Pixels, decode};

const KINDS: [&str; 18] = [
    "411",
    "420",
    "420_narrow",
    "420_progressive",
    "420_progressive_first_scan",
    "420_restarts",
    "422",
    "440",
    "444",
    "cmyk",
    "gray",
    "gray_progressive",
    "rgb",
    "ycck",
    "ycck_411",
    "ycck_420",
    "ycck_422",
    "ycck_440",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jpeg")
}

fn file(kind: &str) -> Vec<u8> {
    std::fs::read(folder().join(format!("{kind}.jpg"))).unwrap()
}

fn read(bytes: &[u8]) -> Result<Picture, ImagingError> {
    decode(bytes, &Limits::default())
}

/// Where the frame header starts.
fn frame(bytes: &[u8]) -> usize {
    bytes
        .windows(2)
        .position(|w| w == [0xff, 0xc0] || w == [0xff, 0xc2])
        .unwrap()
}

#[test]
fn every_kind_of_file_has_the_pixels_of_libjpeg_turbo() {
    let golden = Golden::open(&folder().join("pixels.safetensors"));
    for kind in KINDS {
        let picture = read(&file(kind)).unwrap();
        let (Pixels::Gray8(found) | Pixels::Rgb8(found) | Pixels::Cmyk8(found)) = picture.pixels()
        else {
            panic!("{kind}: {}", picture.pixels().mode())
        };
        let expected = golden.u8(kind);
        assert_eq!(
            expected.shape()[..2],
            [picture.height(), picture.width()],
            "{kind}"
        );
        let off = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert_eq!((found.len(), off), (expected.len(), 0), "{kind}");
    }
}

#[test]
fn what_follows_the_end_marker_is_ignored() {
    let bytes = file("420");
    let followed = [&bytes[..], &bytes[..], b"rubbish"].concat();
    assert_eq!(read(&followed).unwrap(), read(&bytes).unwrap());
}

#[test]
fn a_file_without_its_end_marker_is_refused() {
    for kind in KINDS {
        let bytes = file(kind);
        let error = read(&bytes[..bytes.len() - 2]).unwrap_err();
        assert!(
            matches!(error, ImagingError::Corrupt { .. }),
            "{kind}: {error}"
        );
    }
}

#[test]
fn a_file_whose_scan_is_cut_short_but_ended_is_refused() {
    for kind in ["420", "420_restarts", "gray", "ycck_420"] {
        let bytes = file(kind);
        let cut = [&bytes[..bytes.len() - 40], &[0xff, 0xd9]].concat();
        assert!(
            matches!(
                read(&cut),
                Err(ImagingError::Corrupt {
                    format: Format::Jpeg,
                    ..
                })
            ),
            "{kind}"
        );
    }
}

#[test]
fn twelve_bits_a_value_are_refused_by_name() {
    let mut bytes = file("420");
    let at = frame(&bytes);
    bytes[at + 1] = 0xc1;
    bytes[at + 4] = 12;
    let error = read(&bytes).unwrap_err();
    assert!(error.to_string().contains("12 bits a value"), "{error}");
}

#[test]
fn a_claimed_size_beyond_the_limits_is_refused_from_the_header() {
    for kind in ["420", "420_progressive", "cmyk"] {
        let mut bytes = file(kind);
        let at = frame(&bytes);
        bytes[at + 5..at + 9].copy_from_slice(&[0x3f, 0xff, 0x3f, 0xff]);
        let error = read(&bytes).unwrap_err();
        assert!(
            matches!(
                error,
                ImagingError::TooLarge {
                    found: 268_402_689,
                    allowed: 100_000_000,
                    ..
                }
            ),
            "{kind}: {error}"
        );
    }
}

#[test]
fn the_coefficients_of_progressive_files_count_as_memory() {
    let limits = Limits {
        max_decoder_bytes: 37 * 29 * 9,
        ..Limits::default()
    };
    assert!(decode(&file("420"), &limits).is_ok());
    let error = decode(&file("420_progressive"), &limits).unwrap_err();
    assert!(matches!(error, ImagingError::TooLarge { .. }), "{error}");
}

#[test]
fn thousands_of_scans_are_refused() {
    let bytes = file("420_progressive");
    let scan = bytes.windows(2).rposition(|w| w == [0xff, 0xda]).unwrap();
    let end = bytes.len() - 2;
    let repeated = bytes[scan..end].repeat(5000);
    let bomb = [&bytes[..end], &repeated, &bytes[end..]].concat();
    let error = read(&bomb).unwrap_err();
    assert!(error.to_string().contains("scan count"), "{error}");
}

#[test]
fn four_channels_without_a_whole_ratio_are_refused() {
    let mut bytes = file("cmyk");
    let at = frame(&bytes);
    (bytes[at + 11], bytes[at + 14]) = (0x31, 0x21);
    let error = read(&bytes).unwrap_err();
    assert!(error.to_string().contains("whole ratio"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn damaged_files_of_every_kind_end_in_a_picture_or_an_error(
        kind in prop::sample::select(&KINDS[..]),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        in_frame_header in any::<bool>(),
        keep in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = file(kind);
        let at = frame(&bytes);
        for (index, value) in damage {
            let place = if in_frame_header { at + index.index(20) } else { index.index(bytes.len()) };
            bytes[place] = value;
        }
        if let Some(keep) = keep {
            bytes.truncate(keep.index(bytes.len() + 1));
        }
        let limits = Limits { max_pixels: 1_000_000, ..Limits::default() };
        match decode(&bytes, &limits) {
            Ok(picture) => {
                let tensor = InputRecipe::clip(14).tensor(&picture).unwrap();
                prop_assert!(tensor.iter().all(|v| v.is_finite()));
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
