//! Training passes, batches and update policies.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod common;

use common::{detector_with, image};
use rareclip_core::{Detector, Error, FeatureSource, Features, Learning, PushOptions};

fn features(detector: &Detector, level: f32) -> Features {
    detector.encode(image(level).view()).unwrap().remove(0)
}

#[test]
fn a_bank_with_a_training_pass_scores_nothing_before_it_has_seen_normals() {
    let detector = detector_with(&["bank.pass=fit"]);
    let mut stream = detector.open_stream().unwrap();
    assert_eq!(stream.learning(), Learning::Fit);
    let error = stream.push(&features(&detector, 1.0), PushOptions::LEARN);
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("mean") && text.contains("--normals"),
        "{text}"
    );
}

#[test]
fn the_first_score_ends_the_training_pass() {
    let detector = detector_with(&["bank.pass=fit"]);
    let mut stream = detector.open_stream().unwrap();
    for level in [1.0, 3.0] {
        stream.push_normal(&features(&detector, level)).unwrap();
    }
    let query = features(&detector, 2.0);
    let first = stream.push(&query, PushOptions::LEARN).unwrap();
    assert_eq!(stream.bank_status().unwrap().images, 2);
    let second = stream.push(&query, PushOptions::LEARN).unwrap();
    assert_eq!(first.scored.score, second.scored.score);
    let late = stream.push_normal(&query);
    assert!(matches!(late, Err(Error::LateNormal { .. })));
}

#[test]
fn a_bank_says_when_the_normals_are_too_few() {
    let detector = detector_with(&["bank.pass=fit"]);
    let mut stream = detector.open_stream().unwrap();
    stream.push_normal(&features(&detector, 1.0)).unwrap();
    let text = stream.fit().unwrap_err().to_string();
    assert!(text.contains("two normals"), "{text}");
    // More normals mend it.
    stream.push_normal(&features(&detector, 2.0)).unwrap();
    stream.fit().unwrap();
}

#[test]
fn a_fitted_stream_continues_from_its_state() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let detector = detector_with(&["bank.pass=fit"]);
    let query = features(&detector, 2.5);
    let mut whole = detector.open_stream().unwrap();
    for level in [1.0, 3.0] {
        whole.push_normal(&features(&detector, level)).unwrap();
    }
    whole.fit().unwrap();
    whole.save(&path).unwrap();
    let other = detector.open_stream().unwrap();
    let mut other = other.restore(&path).unwrap();
    let score = |stream: &mut rareclip_core::Stream| {
        let outcome = stream.push(&query, PushOptions::LEARN).unwrap();
        outcome.scored.score.to_bits()
    };
    assert_eq!(score(&mut whole), score(&mut other));
    assert!(matches!(
        other.push_normal(&query),
        Err(Error::LateNormal { .. })
    ));
}

#[test]
fn a_batch_bank_scores_a_set_at_once_and_refuses_single_images() {
    let detector = detector_with(&["bank.pass=batch"]);
    let mut stream = detector.open_stream().unwrap();
    let images: Vec<Features> = [1.0, 1.0, 4.0]
        .map(|level| features(&detector, level))
        .into();
    let single = stream.push(&images[0], PushOptions::LEARN);
    assert!(matches!(single, Err(Error::NeedsBatch { .. })));
    let mut scores = Vec::new();
    let source: &[Features] = &images;
    stream
        .score_batch(&source, &mut |at, outcome| {
            assert_eq!(at, scores.len());
            scores.push(outcome.scored.score);
            Ok(())
        })
        .unwrap();
    assert_eq!(scores.len(), 3);
    assert!(scores[2] > scores[0] && scores[0] == scores[1]);
    assert_eq!(stream.sequence(), 3);
}

#[test]
fn a_batch_is_refused_by_a_detector_that_walks() {
    let detector = detector_with(&[]);
    let mut stream = detector.open_stream().unwrap();
    let source: &[Features] = &[features(&detector, 1.0)];
    let result = stream.score_batch(&source, &mut |_, _| Ok(()));
    assert!(matches!(result, Err(Error::NoBatch)));
    assert_eq!(FeatureSource::len(&source), 1);
}

#[test]
fn the_bank_remembers_what_its_policy_admits_and_the_outcome_says_so() {
    let detector = detector_with(&["bank.update.type=every-nth", "bank.update.n=2"]);
    let mut stream = detector.open_stream().unwrap();
    let remembered: Vec<bool> = [1.0, 2.0, 3.0, 4.0, 5.0]
        .map(|level| {
            let outcome = stream.push(&features(&detector, level), PushOptions::LEARN);
            outcome.unwrap().remembered
        })
        .into();
    assert_eq!(remembered, [true, false, true, false, true]);
    assert_eq!(stream.bank_status().unwrap().images, 3);
}

#[test]
fn a_policy_continues_from_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let detector = detector_with(&["bank.update.type=budget", "bank.update.images=3"]);
    let mut first = detector.open_stream().unwrap();
    for level in [1.0, 2.0] {
        first
            .push(&features(&detector, level), PushOptions::LEARN)
            .unwrap();
    }
    first.save(&path).unwrap();
    let second = detector.open_stream().unwrap();
    let mut second = second.restore(&path).unwrap();
    for level in [3.0, 4.0, 5.0] {
        second
            .push(&features(&detector, level), PushOptions::LEARN)
            .unwrap();
    }
    assert_eq!(second.bank_status().unwrap().images, 3);
}
