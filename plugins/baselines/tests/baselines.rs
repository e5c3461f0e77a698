//! The baselines on features made by hand.
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

use std::collections::BTreeSet;
use std::sync::Arc;

use ndarray::{Array4, Axis, arr2, stack};
use proptest::prelude::*;
use rareclip_baselines::{BaselineError, Sign, Statistic, StatisticOptions, ThumbnailOptions};
use rareclip_core::ComponentError;
use rareclip_core::config::ConfigBuilder;
use rareclip_core::{
    Backbone, BackboneFactory, BoxError, Detector, ErasedScorer, Features, PushOptions, Role,
    ScoreInput, Scored, ScorerFactory,
};

/// Images of 4 x 4 pixels in cells of 2 x 2.
const SMALL: ThumbnailOptions = ThumbnailOptions {
    image_size: 4,
    cell: 2,
};

fn thumbnail() -> Arc<dyn Backbone> {
    SMALL.build(&BTreeSet::from([1])).unwrap()
}

/// An image `[1, 3, 4, 4]` of one gray plane.
fn gray(pixels: [[f32; 4]; 4]) -> Array4<f32> {
    let plane = arr2(&pixels);
    stack(Axis(0), &[plane.view(); 3])
        .unwrap()
        .insert_axis(Axis(0))
}

const EDGE: [[f32; 4]; 4] = [
    [0.0, 1.0, 0.5, 0.5],
    [0.0, 1.0, 0.5, 0.5],
    [0.2, 0.2, 0.4, 0.4],
    [0.2, 0.2, 0.4, 0.4],
];

fn features(pixels: [[f32; 4]; 4]) -> Features {
    thumbnail().encode(gray(pixels).view()).unwrap().remove(0)
}

fn scorer(statistic: Statistic, sign: Sign, seed: u64) -> Box<dyn ErasedScorer> {
    let options = StatisticOptions {
        statistic,
        sign,
        seed,
    };
    options.build(thumbnail().spec(), &[]).unwrap()
}

fn input(features: &Features) -> ScoreInput<'_> {
    ScoreInput {
        features,
        prior: None,
        evidence: None,
        role: Role::Query,
        update: true,
    }
}

fn scored(statistic: Statistic, sign: Sign, features: &Features) -> Scored {
    let assessment = scorer(statistic, sign, 0).assess(&input(features)).unwrap();
    assessment.scored.unwrap()
}

/// The corners of a map, which enlarging keeps as they are.
fn corners(scored: &Scored) -> [f32; 4] {
    let map = &scored.map.values;
    [map[(0, 0)], map[(0, 3)], map[(3, 0)], map[(3, 3)]]
}

fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let near = found
        .iter()
        .zip(expected)
        .all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(near, "{found:?} is not {expected:?}");
}

fn refusal<T>(result: Result<T, BoxError>) -> ComponentError {
    let error = result.err().unwrap();
    ComponentError::of(&error).unwrap().clone()
}

/// The error of a call, as this crate's own.
fn own_refusal<T>(result: Result<T, BoxError>) -> BaselineError {
    let error = result.err().unwrap();
    error.downcast_ref::<BaselineError>().unwrap().clone()
}

#[test]
fn tokens_are_means_and_deviations_of_the_colours() {
    let tokens = &features(EDGE).tokens[&1];
    close(
        tokens.row(0).as_slice().unwrap(),
        &[0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
    );
    close(
        tokens.row(1).as_slice().unwrap(),
        &[0.5, 0.5, 0.5, 0.0, 0.0, 0.0],
    );
    close(
        tokens.row(2).as_slice().unwrap(),
        &[0.2, 0.2, 0.2, 0.0, 0.0, 0.0],
    );
}

#[test]
fn channels_are_kept_apart() {
    let mut image = gray([[0.0; 4]; 4]);
    image.index_axis_mut(Axis(1), 2).fill(0.8);
    let tokens = thumbnail().encode(image.view()).unwrap()[0].tokens[&1].clone();
    close(
        tokens.row(3).as_slice().unwrap(),
        &[0.0, 0.0, 0.8, 0.0, 0.0, 0.0],
    );
}

#[test]
fn the_embedding_has_unit_length_even_of_black() {
    for pixels in [EDGE, [[0.0; 4]; 4]] {
        let embedding = features(pixels).embedding;
        assert_eq!(embedding.len(), 12);
        assert!((embedding.dot(&embedding) - 1.0).abs() < 1e-6);
    }
}

#[test]
fn a_batch_gives_the_bits_of_its_images_alone() {
    let other = gray([[0.1, 0.9, 0.3, 0.2]; 4]);
    let both = ndarray::concatenate(Axis(0), &[gray(EDGE).view(), other.view()]).unwrap();
    let together = thumbnail().encode(both.view()).unwrap();
    let alone = thumbnail().encode(other.view()).unwrap();
    assert_eq!(together[1].tokens, alone[0].tokens);
    assert_eq!(together[1].embedding, alone[0].embedding);
}

#[test]
fn brightness_is_the_mean_colour() {
    let scored = scored(Statistic::Brightness, Sign::Higher, &features(EDGE));
    close(&[scored.score, scored.raw_score], &[0.4, 0.4]);
    close(&corners(&scored), &[0.5, 0.5, 0.2, 0.4]);
}

#[test]
fn contrast_is_the_deviation_over_the_whole_image() {
    let scored = scored(Statistic::Contrast, Sign::Higher, &features(EDGE));
    // Of 16 pixels of mean 0.4: two of 0, two of 1, four of 0.5, 0.2 and 0.4.
    let variance = (2.0 * 0.16 + 2.0 * 0.36 + 4.0 * 0.01 + 4.0 * 0.04) / 16.0f32;
    close(&[scored.score], &[variance.sqrt()]);
    close(&corners(&scored), &[0.5, 0.0, 0.0, 0.0]);
}

#[test]
fn lower_turns_the_order_round() {
    for statistic in [
        Statistic::Brightness,
        Statistic::Contrast,
        Statistic::Random,
    ] {
        let higher = scored(statistic, Sign::Higher, &features(EDGE));
        let lower = scored(statistic, Sign::Lower, &features(EDGE));
        close(&[lower.score], &[-higher.score]);
        assert_eq!(lower.map.values, -&higher.map.values);
    }
}

#[test]
fn the_file_size_makes_a_flat_map_in_kilobytes() {
    let mut features = features(EDGE);
    features.file_bytes = Some(12_500);
    let scored = scored(Statistic::FileSize, Sign::Higher, &features);
    assert_eq!(scored.score, 12.5);
    assert!(scored.map.values.iter().all(|&value| value == 12.5));
}

#[test]
fn an_unknown_file_size_is_an_error_that_says_so() {
    let features = features(EDGE);
    let scorer = scorer(Statistic::FileSize, Sign::Higher, 0);
    let refused = own_refusal(scorer.assess(&input(&features)).map(drop));
    assert_eq!(refused, BaselineError::UnknownFileSize);
    assert!(refused.to_string().contains("file is not known"));
}

#[test]
fn chance_depends_on_the_image_and_the_seed_alone() {
    let (one, other) = (features(EDGE), features([[0.3, 0.1, 0.3, 0.1]; 4]));
    let score = |scorer: &dyn ErasedScorer, image: &Features| {
        scorer.assess(&input(image)).unwrap().scored.unwrap().score
    };
    let (a, b) = (
        scorer(Statistic::Random, Sign::Higher, 0),
        scorer(Statistic::Random, Sign::Higher, 0),
    );
    // In either order.
    let first = [score(&*a, &one), score(&*a, &other)];
    let second = [score(&*b, &other), score(&*b, &one)];
    assert_eq!(first, [second[1], second[0]]);
    assert_ne!(first[0], first[1]);
    let seeded = scorer(Statistic::Random, Sign::Higher, 1);
    assert_ne!(score(&*seeded, &one), first[0]);
}

proptest! {
    #[test]
    fn statistics_stay_in_their_nominal_range(
        pixels in proptest::array::uniform4(proptest::array::uniform4(0.0f32..=1.0)),
        lower in any::<bool>(),
    ) {
        let sign = if lower { Sign::Lower } else { Sign::Higher };
        for statistic in [Statistic::Brightness, Statistic::Contrast, Statistic::Random] {
            let scorer = scorer(statistic, sign, 0);
            let (low, high) = scorer.nominal_range();
            let scored = scorer.assess(&input(&features(pixels))).unwrap().scored.unwrap();
            let inside = |value: f32| low - 1e-6 <= value && value <= high + 1e-6;
            prop_assert!(inside(scored.score));
            prop_assert!(scored.map.values.iter().all(|&value| inside(value)));
        }
    }

    #[test]
    fn every_statistic_but_chance_is_blind_to_mirroring(
        pixels in proptest::array::uniform4(proptest::array::uniform4(0.0f32..=1.0)),
    ) {
        let mut mirrored = pixels;
        mirrored.iter_mut().for_each(|row| row.reverse());
        for statistic in [Statistic::Brightness, Statistic::Contrast] {
            let score = |pixels| scored(statistic, Sign::Higher, &features(pixels)).score;
            prop_assert!((score(pixels) - score(mirrored)).abs() < 1e-6);
        }
    }
}

#[test]
fn cells_have_to_fill_the_image() {
    for (image_size, cell) in [(10, 3), (0, 1), (8, 0), (2, 4)] {
        let options = ThumbnailOptions { image_size, cell };
        let refused = own_refusal(options.build(&BTreeSet::new()).map(drop));
        assert_eq!(refused, BaselineError::Cells { image_size, cell });
    }
}

#[test]
fn other_blocks_and_backbones_are_refused() {
    let refused = refusal(SMALL.build(&BTreeSet::from([1, 2])).map(drop));
    assert!(matches!(refused, ComponentError::Block { block: 2, .. }));
    let mut spec = thumbnail().spec().clone();
    spec.blocks = vec![(1, 384)];
    let refused = own_refusal(StatisticOptions::default().build(&spec, &[]).map(drop));
    assert_eq!(refused, BaselineError::NotAThumbnail);
}

#[test]
fn input_and_features_of_another_shape_are_refused() {
    let input_error = refusal(thumbnail().encode(Array4::zeros((1, 3, 4, 5)).view()));
    assert!(matches!(input_error, ComponentError::Shape { .. }));
    let other = ThumbnailOptions {
        image_size: 4,
        cell: 4,
    };
    let whole = other.build(&BTreeSet::from([1])).unwrap();
    let features = whole.encode(gray(EDGE).view()).unwrap().remove(0);
    let scorer = scorer(Statistic::Brightness, Sign::Higher, 0);
    let refused = refusal(scorer.assess(&input(&features)).map(drop));
    assert!(matches!(refused, ComponentError::Shape { .. }));
}

#[test]
fn nothing_is_remembered() {
    let image = features(EDGE);
    let mut scorer = scorer(Statistic::Contrast, Sign::Higher, 0);
    let first = scorer.assess(&input(&image)).unwrap();
    scorer.absorb(&input(&image), first.carry).unwrap();
    let again = scorer.assess(&input(&image)).unwrap().scored.unwrap();
    assert_eq!(again.score, first.scored.unwrap().score);
    assert_eq!(scorer.bytes(), 0);
}

#[test]
fn the_configs_that_come_with_the_program_take_the_stated_direction() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/baseline-");
    // Two images: one darker, flatter and of a smaller file than the other.
    let mut images: Vec<Features> = [0.2, 0.6]
        .map(|level| {
            let wave = |x: usize| level * (1.0 + 0.5 * (x as f32 * 0.3).sin());
            let image = Array4::from_shape_fn((1, 3, 256, 256), |(_, _, _, x)| wave(x));
            let backbone = ThumbnailOptions::default()
                .build(&BTreeSet::from([1]))
                .unwrap();
            backbone.encode(image.view()).unwrap().remove(0)
        })
        .into();
    (images[0].file_bytes, images[1].file_bytes) = (Some(1000), Some(5000));
    for (name, brighter_is_anomalous) in [
        ("darkness", false),
        ("brightness", true),
        ("contrast", true),
        ("file-size", true),
    ] {
        let path = format!("{folder}{name}.toml");
        let config = ConfigBuilder::new().file(&path).unwrap().build().unwrap();
        let detector = Detector::build(&config).unwrap();
        let mut stream = detector.open_stream().unwrap();
        let mut score = |image| stream.push(image, PushOptions::LEARN).unwrap().scored.score;
        let (dark, bright) = (score(&images[0]), score(&images[1]));
        assert_eq!(bright > dark, brighter_is_anomalous, "{name}");
    }
    let path = format!("{folder}random.toml");
    let config = ConfigBuilder::new().file(&path).unwrap().build().unwrap();
    Detector::build(&config).unwrap().open_stream().unwrap();
}

#[test]
fn a_known_normal_gets_no_score() {
    let image = features(EDGE);
    let role = Role::Normal;
    let shown = ScoreInput {
        role,
        ..input(&image)
    };
    let scorer = scorer(Statistic::FileSize, Sign::Higher, 0);
    assert!(scorer.assess(&shown).unwrap().scored.is_none());
}
