//! What a stream promises.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod common;

use common::{detector, image};
use proptest::prelude::*;
use rareclip_core::snapshot::{Snapshot, SnapshotWriter};
use rareclip_core::{Error, PushOptions, Stream, Verdict};

fn scores(stream: &mut Stream, levels: &[f32]) -> Vec<f32> {
    let detector = detector();
    levels
        .iter()
        .map(|level| {
            let features = detector.encode(image(*level).view()).unwrap().remove(0);
            stream
                .push(&features, PushOptions::LEARN)
                .unwrap()
                .scored
                .score
        })
        .collect()
}

#[test]
fn saving_and_loading_continues_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let levels: Vec<f32> = (0..40).map(|n| (n as f32 * 0.7).sin()).collect();
    let whole = scores(&mut detector().open_stream().unwrap(), &levels);

    let mut first = detector().open_stream().unwrap();
    let mut parts = scores(&mut first, &levels[..17]);
    first.save(&path).unwrap();
    let second = detector().open_stream().unwrap();
    let mut second = second.restore(&path).unwrap();
    assert_eq!(second.sequence(), 17);
    parts.extend(scores(&mut second, &levels[17..]));
    let bits = |scores: &[f32]| {
        scores
            .iter()
            .map(|score| score.to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(bits(&whole), bits(&parts));
    assert_eq!(second.calibrator().threshold(), {
        let mut stream = detector().open_stream().unwrap();
        scores(&mut stream, &levels);
        stream.calibrator().threshold()
    });
}

#[test]
fn a_peek_leaves_no_trace() {
    let detector = detector();
    let mut stream = detector.open_stream().unwrap();
    scores(&mut stream, &[1.0, 2.0]);
    let state = |stream: &Stream| {
        let mut writer = SnapshotWriter::new();
        stream.save_into(&mut writer).unwrap();
        writer.to_bytes().unwrap()
    };
    let before = stream.bank_status();
    let calibration = stream.calibrator().judge(0.5);
    let features = detector.encode(image(9.0).view()).unwrap().remove(0);
    stream.push(&features, PushOptions::PEEK).unwrap();
    assert_eq!(stream.bank_status(), before);
    assert_eq!(stream.calibrator().judge(0.5), calibration);
    stream.push(&features, PushOptions::PEEK).unwrap();
    let mut twin = detector.open_stream().unwrap();
    scores(&mut twin, &[1.0, 2.0]);
    assert_eq!(state(&twin), state(&stream));
}

#[test]
fn verdicts_come_after_the_warm_up() {
    let detector = detector();
    let mut stream = detector.open_stream().unwrap();
    for n in 0..25 {
        let features = detector
            .encode(image(1.0 + 0.01 * n as f32).view())
            .unwrap()
            .remove(0);
        let outcome = stream.push(&features, PushOptions::LEARN).unwrap();
        assert_eq!(
            outcome.judgement.verdict == Verdict::Uncalibrated,
            n < 20,
            "image {n}"
        );
    }
    let features = detector.encode(image(50.0).view()).unwrap().remove(0);
    let outcome = stream.push(&features, PushOptions::LEARN).unwrap();
    assert_eq!(outcome.judgement.verdict, Verdict::Anomalous);
}

#[test]
fn a_late_normal_is_refused() {
    let detector = detector();
    let mut stream = detector.open_stream().unwrap();
    let features = detector.encode(image(1.0).view()).unwrap().remove(0);
    stream.push_normal(&features).unwrap();
    stream.push(&features, PushOptions::LEARN).unwrap();
    assert!(matches!(
        stream.push_normal(&features),
        Err(Error::LateNormal { absorbed: 1 })
    ));
}

#[test]
fn features_that_are_not_finite_are_refused_and_not_absorbed() {
    let detector = detector();
    let mut stream = detector.open_stream().unwrap();
    assert!(detector.encode(image(f32::NAN).view()).is_err());
    let mut features = detector.encode(image(1.0).view()).unwrap().remove(0);
    features.embedding[0] = f32::INFINITY;
    assert!(stream.push(&features, PushOptions::LEARN).is_err());
    assert_eq!(stream.bank_status().unwrap().images, 0);
}

#[test]
fn state_of_another_detector_is_refused_with_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    detector().open_stream().unwrap().save(&path).unwrap();
    let config = rareclip_core::config::ConfigBuilder::new()
        .toml("toy", common::CONFIG)
        .unwrap()
        .set("bank.block=3")
        .unwrap()
        .build()
        .unwrap();
    let other = rareclip_core::Detector::build(&config)
        .unwrap()
        .open_stream()
        .unwrap();
    let message = other.restore(&path).err().unwrap().to_string();
    assert!(message.contains("bank.block was 2, is 3"), "{message}");
}

#[test]
fn a_newer_format_says_upgrade() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    detector().open_stream().unwrap().save(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 99;
    let message = Snapshot::from_bytes(&path, bytes)
        .err()
        .unwrap()
        .to_string();
    assert!(
        message.contains("format 99") && message.contains("upgrade"),
        "{message}"
    );
}

#[test]
fn every_bit_of_the_header_counts() {
    let mut writer = SnapshotWriter::new();
    writer.value("x", &1);
    let bytes = writer.to_bytes().unwrap();
    let path = std::path::Path::new("state");
    assert!(Snapshot::from_bytes(path, bytes.clone()).is_ok());
    for bit in 0..56 * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(Snapshot::from_bytes(path, changed).is_err(), "bit {bit}");
    }
}

proptest! {
    /// Whatever is cut off or changed is found out, and nothing panics.
    #[test]
    fn damaged_state_is_never_read(cut in 0usize..2000, flip in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut stream = detector().open_stream().unwrap();
        scores(&mut stream, &[1.0, 3.0]);
        let mut writer = SnapshotWriter::new();
        stream.save_into(&mut writer).unwrap();
        let bytes = writer.to_bytes().unwrap();
        let path = std::path::Path::new("state");
        if cut < bytes.len() {
            prop_assert!(Snapshot::from_bytes(path, bytes[..cut].to_vec()).is_err());
        }
        let mut changed = bytes.clone();
        let at = flip.index(changed.len());
        changed[at] ^= 1 << bit;
        prop_assert!(Snapshot::from_bytes(path, changed).is_err());
    }
}

#[test]
fn an_assessed_image_that_is_given_up_leaves_no_trace() {
    let detector = detector();
    let mut stream = detector.open_stream().unwrap();
    scores(&mut stream, &[1.0, 2.0]);
    let features = detector.encode(image(3.0).view()).unwrap().remove(0);
    let mut before = SnapshotWriter::new();
    stream.save_into(&mut before).unwrap();
    let before = before.to_bytes().unwrap();
    let given_up = stream
        .assess(&features, PushOptions::LEARN, &mut |_, _| {})
        .unwrap()
        .into_outcome();
    let mut after = SnapshotWriter::new();
    stream.save_into(&mut after).unwrap();
    assert_eq!(before, after.to_bytes().unwrap());
    let pushed = stream.push(&features, PushOptions::LEARN).unwrap();
    assert_eq!(given_up.scored.score, pushed.scored.score);
    assert_eq!(given_up.remembered, pushed.remembered);
}

#[test]
fn an_assessment_of_an_earlier_state_is_refused() {
    let detector = detector();
    let mut stream = detector.open_stream().unwrap();
    let features = detector.encode(image(3.0).view()).unwrap().remove(0);
    let none = &mut |_, _| {};
    let stale = stream.assess(&features, PushOptions::LEARN, none).unwrap();
    stream.push(&features, PushOptions::LEARN).unwrap();
    assert!(matches!(
        stream.absorb(&features, stale, none),
        Err(Error::StaleAssessment)
    ));
    assert_eq!(stream.sequence(), 1);
}
