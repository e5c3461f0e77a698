//! Bank and scorer on whole sets.
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array1, Array2};
use proptest::collection::vec;
use proptest::prelude::*;
use rareclip_core::ComponentError;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{
    BoxError, Branch, Distance, ErasedBank, ErasedScorer, Evidence, FeatureSource, Features, Grid,
    InputRecipe, Learning, MemoryBankFactory, Role, ScoreInput, ScorerFactory,
};
use rareclip_musc::{MutualError, MutualOptions, MutualScorerOptions};

const GRID: Grid = Grid {
    rows: 3,
    columns: 4,
};
const WIDTH: usize = 5;
const VALUES: usize = 2 * 12 * WIDTH;

fn backbone() -> BackboneSpec {
    BackboneSpec {
        input: InputRecipe::clip(24),
        grid: GRID,
        blocks: vec![(1, WIDTH), (2, WIDTH)],
        embedding_width: 2,
        weights: "synthetic".into(),
    }
}

fn options() -> MutualOptions {
    MutualOptions {
        blocks: vec![1, 2],
        neighbourhoods: vec![1, 3],
        ..MutualOptions::default()
    }
}

fn bank(options: &MutualOptions) -> Box<dyn ErasedBank> {
    options.build(&backbone()).unwrap()
}

fn scorer(windows: &[usize]) -> Box<dyn ErasedScorer> {
    let windows = windows.to_vec();
    let options = MutualScorerOptions { windows };
    options.build(&backbone(), &[1, 2]).unwrap()
}

/// An image of tokens `[2 blocks, patches, width]` end to end.
fn image(values: &[f32], angle: f32) -> Features {
    let block = |at: usize| {
        let values = values[at * 12 * WIDTH..(at + 1) * 12 * WIDTH].to_vec();
        (at + 1, Array2::from_shape_vec((12, WIDTH), values).unwrap())
    };
    let tokens: BTreeMap<_, _> = [block(0), block(1)].into();
    Features::new(
        GRID,
        tokens,
        Array1::from_vec(vec![angle.cos(), angle.sin()]),
    )
}

/// `count` images that differ, by a fixed recipe.
fn images(count: usize) -> Vec<Features> {
    let value = |image: usize, at: usize| ((image * 31 + at * 17) as f32 * 0.61).sin();
    (0..count)
        .map(|at| {
            let values: Vec<f32> = (0..VALUES).map(|value_at| value(at, value_at)).collect();
            image(&values, at as f32 * 0.1)
        })
        .collect()
}

/// A set of images in memory.
struct Set(Vec<Features>);

impl FeatureSource for Set {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, at: usize) -> Result<Cow<'_, Features>, BoxError> {
        Ok(Cow::Borrowed(&self.0[at]))
    }
}

fn assessed(options: &MutualOptions, images: &[Features]) -> Result<Vec<Evidence>, BoxError> {
    bank(options).assess_batch(&Set(images.to_vec()))
}

fn refine(windows: &[usize], images: &[Features], scores: &mut [f32]) -> Result<(), BoxError> {
    scorer(windows).refine_batch(&Set(images.to_vec()), scores)
}

fn rarity(evidence: &Evidence) -> Vec<f32> {
    evidence
        .branches
        .iter()
        .flat_map(|branch| branch.scores.to_vec())
        .collect()
}

fn refusal<T>(result: Result<T, BoxError>) -> ComponentError {
    let error = result.err().unwrap();
    ComponentError::of(&error).unwrap().clone()
}

/// The error of a call, as this crate's own.
fn own_refusal<T>(result: Result<T, BoxError>) -> MutualError {
    let error = result.err().unwrap();
    error.downcast_ref::<MutualError>().unwrap().clone()
}

proptest! {
    #[test]
    fn the_order_within_a_subset_changes_no_score(
        all in vec(vec(-3.0f32..3.0, VALUES), 6),
        order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let set: Vec<_> = all.iter().map(|values| image(values, 0.0)).collect();
        let shuffled: Vec<_> = order.iter().map(|&at| set[at].clone()).collect();
        let here = assessed(&options(), &set).unwrap();
        let there = assessed(&options(), &shuffled).unwrap();
        for (place, &at) in order.iter().enumerate() {
            let pairs = rarity(&here[at]).into_iter().zip(rarity(&there[place]));
            for (here, there) in pairs {
                // The distance of unit vectors is the root of what rounding may change.
                prop_assert!((here * here - there * there).abs() < 1e-5, "{here} {there}");
            }
        }
    }

    #[test]
    fn distances_of_unit_vectors_are_at_most_two(all in vec(vec(-3.0f32..3.0, VALUES), 4)) {
        let set: Vec<_> = all.iter().map(|values| image(values, 0.0)).collect();
        for evidence in assessed(&options(), &set).unwrap() {
            prop_assert!(rarity(&evidence).iter().all(|value| (0.0..=2.000_1).contains(value)));
        }
    }
}

#[test]
fn branches_are_the_blocks_of_each_neighbourhood_in_turn() {
    let evidence = assessed(&options(), &images(3)).unwrap();
    let names = |evidence: &Evidence| {
        let name = |branch: &Branch| branch.source.clone();
        evidence.branches.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(evidence.len(), 3);
    for evidence in &evidence {
        let squares = ["block 1, 3 x 3 patches", "block 2, 3 x 3 patches"];
        let expected = [["block 1", "block 2"], squares].concat();
        assert_eq!(names(evidence), expected);
        assert_eq!(evidence.branches[0].scores.len(), GRID.patches());
    }
}

#[test]
fn a_patch_that_no_other_image_has_scores_highest() {
    let common: Vec<f32> = (0..VALUES).map(|at| (at as f32 * 0.9).sin()).collect();
    let mut odd = common.clone();
    let width = WIDTH as f32;
    // Patch 7 of both blocks, far from what any patch looks like.
    for start in [7 * WIDTH, 12 * WIDTH + 7 * WIDTH] {
        for (at, value) in odd[start..start + WIDTH].iter_mut().enumerate() {
            *value = if at == 0 { -width } else { 1.0 };
        }
    }
    let mut set = vec![image(&common, 0.0); 5];
    set.push(image(&odd, 0.0));
    let single = MutualOptions {
        neighbourhoods: vec![1],
        ..options()
    };
    let evidence = assessed(&single, &set).unwrap();
    for branch in &evidence[5].branches {
        let largest = branch.scores.iter().copied().fold(0.0, f32::max);
        assert_eq!(branch.scores[7], largest);
        assert!(largest > 0.3, "{largest}");
    }
}

#[test]
fn a_large_set_is_split_evenly_and_its_parts_do_not_meet() {
    let split = MutualOptions {
        subset: 4,
        ..options()
    };
    let set = images(8);
    let whole = assessed(&split, &set).unwrap();
    for part in 0..2 {
        let members: Vec<_> = set.iter().skip(part).step_by(2).cloned().collect();
        let alone = assessed(&split, &members).unwrap();
        for (place, evidence) in alone.iter().enumerate() {
            assert_eq!(rarity(evidence), rarity(&whole[part + 2 * place]));
        }
    }
}

/// Counts how often an image is read.
struct Counting(Set, AtomicUsize);

impl FeatureSource for Counting {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, at: usize) -> Result<Cow<'_, Features>, BoxError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.get(at)
    }
}

#[test]
fn images_are_read_once_for_each_branch() {
    let source = Counting(Set(images(5)), AtomicUsize::new(0));
    bank(&options()).assess_batch(&source).unwrap();
    assert_eq!(source.1.into_inner(), 5 * 4);
}

#[test]
fn one_image_cannot_be_scored() {
    let refused = assessed(&options(), &images(1));
    assert_eq!(own_refusal(refused), MutualError::TooFewImages { found: 1 });
    let image = &images(1)[0];
    assert_eq!(
        own_refusal(bank(&options()).assess(image)),
        MutualError::NeedsBatch
    );
    assert_eq!(bank(&options()).learning(), Learning::Batch);
}

#[test]
fn nothing_is_held_between_sets() {
    let status = bank(&options()).status();
    assert_eq!(
        (status.bytes, status.capacity_bytes, status.images),
        (0, 0, 0)
    );
}

#[test]
fn a_broken_image_is_refused() {
    let mut set = images(3);
    set[1] = image(&[f32::NAN; VALUES], 0.0);
    let refused = refusal(assessed(&options(), &set));
    assert!(matches!(refused, ComponentError::NonFinite { .. }));

    let mut set = images(3);
    set[2].tokens.insert(2, Array2::zeros((12, WIDTH + 1)));
    let refused = refusal(assessed(&options(), &set));
    assert!(matches!(refused, ComponentError::Shape { .. }));

    let mut set = images(3);
    set[2].tokens.remove(&2);
    assert!(assessed(&options(), &set).is_err());
}

#[test]
fn options_that_cannot_be_worked_with_say_which() {
    let refused = |change: fn(&mut MutualOptions)| {
        let mut options = options();
        change(&mut options);
        refusal(options.build(&backbone()).map(drop))
    };
    for (option, found) in [
        ("blocks", refused(|options| options.blocks = vec![])),
        (
            "neighbourhoods",
            refused(|options| options.neighbourhoods = vec![2]),
        ),
        ("share", refused(|options| options.share = 0.0)),
        ("subset", refused(|options| options.subset = 1)),
    ] {
        assert!(matches!(&found, ComponentError::Option { option: name, .. } if *name == option));
    }
    let missing = ComponentError::Block {
        block: 7,
        available: vec![1, 2],
    };
    assert_eq!(refused(|options| options.blocks = vec![7]), missing);
    let none = MutualScorerOptions::default()
        .build(&backbone(), &[])
        .map(drop);
    assert_eq!(refusal(none), ComponentError::NoEvidence);
    let zero = MutualScorerOptions { windows: vec![0] };
    let refused = refusal(zero.build(&backbone(), &[1]).map(drop));
    assert!(matches!(
        refused,
        ComponentError::Option {
            option: "windows",
            ..
        }
    ));
}

fn input<'a>(features: &'a Features, evidence: Option<&'a Evidence>) -> ScoreInput<'a> {
    ScoreInput {
        features,
        prior: None,
        evidence,
        role: Role::Query,
        update: false,
    }
}

#[test]
fn the_score_is_the_largest_value_of_the_mean_of_the_branches() {
    let branch = |at: usize, value: f32| {
        let mut rarity = Array1::from_elem(12, 0.25);
        rarity[at] = value;
        Branch::of_block(1, 1, Distance::Euclidean, rarity)
    };
    // Patch 0 lies in a corner, where the enlarged map keeps it as it is.
    let evidence = Evidence::new(vec![branch(0, 0.75), branch(5, 0.5)]);
    let image = &images(1)[0];
    let scored = scorer(&[1])
        .assess(&input(image, Some(&evidence)))
        .unwrap()
        .scored
        .unwrap();
    assert_eq!(scored.map.values.dim(), (24, 24));
    assert_eq!((scored.raw_score, scored.score), (0.5, 0.5));
    let none = scorer(&[1]).assess(&input(image, None)).map(drop);
    assert_eq!(refusal(none), ComponentError::NoEvidence);
}

#[test]
fn a_lone_false_alarm_is_calmed_by_images_that_look_alike() {
    let mut set = images(4);
    for (image, angle) in set.iter_mut().zip([0.0f32, 0.01, 1.5, 1.51]) {
        image.embedding = Array1::from_vec(vec![angle.cos(), angle.sin()]);
    }
    let mut scores = [0.9, 0.1, 0.5, 0.5];
    refine(&[1, 2], &set, &mut scores).unwrap();
    // The mean of its own score and of the mean with its neighbour.
    assert!(
        (scores[0] - 0.7).abs() < 1e-4 && (scores[1] - 0.3).abs() < 1e-4,
        "{scores:?}"
    );
    assert!((scores[2] - 0.5).abs() < 1e-6);
}

#[test]
fn without_windows_scores_stay() {
    let mut scores = [0.9, 0.1];
    refine(&[], &images(2), &mut scores).unwrap();
    assert_eq!(scores, [0.9, 0.1]);
}

#[test]
fn scores_and_images_have_to_match() {
    let refused = refine(&[1], &images(3), &mut [0.0; 2]);
    let expected = MutualError::Scores {
        scores: 2,
        images: 3,
    };
    assert_eq!(own_refusal(refused), expected);
}
