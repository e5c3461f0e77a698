//! Whole streams of this crate's components, on features made by hand.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{Array1, Array2};
use proptest::prelude::*;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::snapshot::{Snapshot, SnapshotWriter};
use rareclip_core::{
    BankStatus, BoxError, Branch, Evidence, Features, Grid, InputRecipe, Learning, MemoryBank,
    MemoryBankFactory, Role, ScoreInput, Scored, Scorer, ScorerFactory,
};
use rareclip_index_exact as _;
use rareclip_neighbours::{
    CoresetOptions, ImageOptions, ImageScore, NearestNeighbourOptions, NeighbourError, PatchOptions,
};

const GRID: Grid = Grid {
    rows: 2,
    columns: 2,
};

fn spec(blocks: &[(usize, usize)]) -> BackboneSpec {
    BackboneSpec {
        input: InputRecipe::imagenet(8),
        grid: GRID,
        blocks: blocks.to_vec(),
        embedding_width: 2,
        weights: "none".into(),
    }
}

/// Features of a 2 x 2 grid: per block the four tokens.
fn features<const N: usize>(blocks: &[(usize, [[f32; N]; 4])], embedding: [f32; 2]) -> Features {
    let tokens: BTreeMap<usize, Array2<f32>> = blocks
        .iter()
        .map(|(block, rows)| (*block, Array2::from(rows.to_vec())))
        .collect();
    Features::new(GRID, tokens, Array1::from_vec(embedding.to_vec()))
}

fn one(rows: [[f32; 2]; 4]) -> Features {
    features(&[(1, rows)], [1.0, 0.0])
}

fn fitted(
    factory: &dyn MemoryBankFactory,
    spec: &BackboneSpec,
    normals: &[Features],
) -> Box<dyn MemoryBank> {
    let mut bank = factory.build(spec).unwrap();
    for normal in normals {
        bank.collect(normal).unwrap();
    }
    bank.fit().unwrap();
    bank
}

fn rarity(bank: &dyn MemoryBank, features: &Features) -> Vec<Vec<f32>> {
    let evidence = bank.assess(features).unwrap().evidence;
    evidence
        .branches
        .into_iter()
        .map(|branch| branch.rarity.to_vec())
        .collect()
}

fn reason<T>(result: Result<T, BoxError>) -> NeighbourError {
    let error = result.err().expect("an error");
    error
        .downcast_ref::<NeighbourError>()
        .unwrap_or_else(|| panic!("{error}"))
        .clone()
}

fn patches() -> PatchOptions {
    PatchOptions {
        blocks: vec![1],
        ..PatchOptions::default()
    }
}

fn coreset() -> CoresetOptions {
    CoresetOptions {
        blocks: vec![1],
        neighbourhood: 1,
        share: 1.0,
        ..CoresetOptions::default()
    }
}

const NORMAL: [[f32; 2]; 4] = [[1.0, 0.0], [2.0, 0.0], [0.0, 5.0], [3.0, 4.0]];
const QUERY: [[f32; 2]; 4] = [[7.0, 0.0], [0.0, -1.0], [1.0, 1.0], [-1.0, 0.0]];

fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    }
}

#[test]
fn a_patch_is_as_rare_as_its_largest_cosine_is_small() {
    let bank = fitted(&patches(), &spec(&[(1, 2)]), &[one(NORMAL)]);
    // Directions known: (1, 0), (0, 1), (0.6, 0.8). The cosines of the queries: 1; 0; 1.4 / sqrt 2; 0.
    let diagonal = 1.0 - 1.4 / 2f32.sqrt();
    close(&rarity(&*bank, &one(QUERY))[0], &[0.0, 1.0, diagonal, 1.0]);
}

#[test]
fn the_cosines_of_several_neighbours_are_averaged() {
    let options = PatchOptions {
        neighbours: 3,
        ..patches()
    };
    let bank = fitted(&options, &spec(&[(1, 2)]), &[one(NORMAL)]);
    // The first query: 1 and 1, then 0.6.
    close(&rarity(&*bank, &one(QUERY))[0][..1], &[1.0 - 2.6 / 3.0]);
}

#[test]
fn each_block_and_neighbourhood_is_a_branch() {
    let options = PatchOptions {
        blocks: vec![1, 3],
        neighbourhoods: vec![1, 3],
        ..PatchOptions::default()
    };
    let image = features(&[(1, NORMAL), (3, QUERY)], [1.0, 0.0]);
    let bank = fitted(
        &options,
        &spec(&[(1, 2), (3, 2)]),
        std::slice::from_ref(&image),
    );
    let evidence = bank.assess(&image).unwrap().evidence;
    let names: Vec<_> = evidence
        .branches
        .iter()
        .map(|b| (b.block, b.neighbourhood))
        .collect();
    assert_eq!(names, [(1, 1), (3, 1), (1, 3), (3, 3)]);
    assert!(evidence.image.is_none());
    for branch in evidence.branches {
        close(branch.rarity.as_slice().unwrap(), &[0.0; 4]);
    }
}

#[test]
fn a_whole_coreset_gives_the_distance_to_the_nearest_patch() {
    let bank = fitted(&coreset(), &spec(&[(1, 2)]), &[one(NORMAL)]);
    // To (3, 4): sqrt 32; to (2, 0): 5. Then to (1, 0): sqrt 2, 1, 2.
    let expected = [5.0, 2f32.sqrt(), 1.0, 2.0];
    close(&rarity(&*bank, &one(QUERY))[0], &expected);
}

#[test]
fn a_coreset_keeps_its_share_and_the_extremes() {
    let rows = [[0.0, 0.0], [10.0, 0.0], [0.25, 0.0], [0.0, 0.25]];
    let options = CoresetOptions {
        share: 0.5,
        starts: 4,
        ..coreset()
    };
    let bank = fitted(&options, &spec(&[(1, 2)]), &[one(rows)]);
    assert_eq!(bank.status().prototypes, 2);
    // The outlier goes first, then what lies farthest from it: (0, 0) by its mean distance to all four would not do.
    let found = rarity(&*bank, &one(rows)).remove(0);
    assert_eq!(found[1], 0.0);
    assert_eq!(found.iter().filter(|distance| **distance == 0.0).count(), 2);
    assert!(found.iter().all(|distance| *distance <= 0.36));
}

#[test]
fn blocks_of_different_width_stand_side_by_side() {
    let spec = spec(&[(1, 2), (2, 1)]);
    let options = CoresetOptions {
        blocks: vec![1, 2],
        ..coreset()
    };
    let image = |first: f32, second: f32| {
        let mut image = features(&[(1, [[first, 0.0]; 4])], [1.0, 0.0]);
        image.tokens.insert(2, Array2::from_elem((4, 1), second));
        image
    };
    let bank = fitted(&options, &spec, &[image(1.0, 1.0)]);
    close(&rarity(&*bank, &image(4.0, 5.0))[0], &[5.0; 4]);
}

#[test]
fn patches_of_a_coreset_are_means_of_their_neighbourhood() {
    let options = CoresetOptions {
        neighbourhood: 3,
        ..coreset()
    };
    let bank = fitted(&options, &spec(&[(1, 2)]), &[one([[0.0; 2]; 4])]);
    // With clamped coordinates a corner of a 2 x 2 grid counts its own patch four times, the next two twice, the last once.
    let image = one([[9.0, 0.0], [0.0; 2], [0.0; 2], [0.0; 2]]);
    close(&rarity(&*bank, &image)[0], &[4.0, 2.0, 2.0, 1.0]);
}

#[test]
fn re_weighting_follows_equation_7() {
    let options = CoresetOptions {
        reweight_neighbours: 2,
        ..coreset()
    };
    let normal = [[0.0, 0.0], [0.0, 1.0], [20.0, 0.0], [20.0, 1.0]];
    let bank = fitted(&options, &spec(&[(1, 2)]), &[one(normal)]);
    let query = [[0.0, -2.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]];
    let evidence = bank.assess(&one(query)).unwrap().evidence;
    // The largest distance is 2, to (0, 0), whose other neighbour lies at 3.
    let weight = 1.0 - 2f32.exp() / (2f32.exp() + 3f32.exp());
    close(&[evidence.image.unwrap()], &[weight * 2.0]);
    close(&evidence.branches[0].rarity.to_vec(), &[2.0, 0.0, 0.0, 0.0]);
}

#[test]
fn re_weighting_does_not_overflow() {
    let options = CoresetOptions {
        reweight_neighbours: 3,
        ..coreset()
    };
    let bank = fitted(&options, &spec(&[(1, 2)]), &[one(NORMAL)]);
    let query = one([[1e6, 0.0], [0.0; 2], [0.0; 2], [0.0; 2]]);
    let score = bank.assess(&query).unwrap().evidence.image.unwrap();
    assert!(score.is_finite() && score > 0.0);
}

#[test]
fn an_image_is_as_rare_as_its_embedding_is_far() {
    let options = ImageOptions::default();
    let image = |embedding| features(&[(1, NORMAL)], embedding);
    let normals = [image([1.0, 0.0]), image([0.0, 1.0]), image([-1.0, 0.0])];
    let bank = fitted(&options, &spec(&[]), &normals);
    let evidence = bank.assess(&image([0.6, 0.8])).unwrap().evidence;
    // The two nearest have cosines 0.8 and 0.6.
    close(&[evidence.image.unwrap()], &[0.3]);
    close(&evidence.branches[0].rarity.to_vec(), &[0.3; 4]);
}

fn banks() -> Vec<(&'static str, Box<dyn MemoryBankFactory>)> {
    let small = CoresetOptions {
        share: 0.6,
        projection: 1,
        starts: 2,
        reweight_neighbours: 2,
        ..coreset()
    };
    vec![
        ("patches", Box::new(patches())),
        ("coreset", Box::new(small)),
        ("images", Box::new(ImageOptions::default())),
    ]
}

fn some_normals() -> Vec<Features> {
    let token = |image: usize, at: usize| (image * 31 + at * 17 + 5) as f32 * 0.37 % 3.1 - 1.0;
    let rows = |image| std::array::from_fn(|at| [token(image, at), token(image + 7, at * 3)]);
    (0..5)
        .map(|image| features(&[(1, rows(image))], [0.6, 0.8]))
        .collect()
}

fn saved(bank: &dyn MemoryBank) -> Vec<u8> {
    let mut writer = SnapshotWriter::new();
    bank.save(&mut writer);
    writer.to_bytes().unwrap()
}

fn restored(
    factory: &dyn MemoryBankFactory,
    bytes: Vec<u8>,
) -> Result<Box<dyn MemoryBank>, BoxError> {
    let snapshot = Snapshot::from_bytes(Path::new("memory"), bytes)?;
    let mut bank = factory.build(&spec(&[(1, 2)]))?;
    bank.load(&snapshot.reader()?)?;
    Ok(bank)
}

fn said(bank: &dyn MemoryBank) -> Vec<(Option<f32>, Vec<f32>)> {
    let say = |image: &Features| {
        let evidence = bank.assess(image).unwrap().evidence;
        (evidence.image, evidence.branches[0].rarity.to_vec())
    };
    [QUERY, NORMAL].map(one).iter().map(say).collect()
}

#[test]
fn a_state_saved_after_the_training_pass_scores_the_same_to_the_bit() {
    for (name, factory) in banks() {
        let bank = fitted(&*factory, &spec(&[(1, 2)]), &some_normals());
        let bytes = saved(&*bank);
        let again = restored(&*factory, bytes.clone()).unwrap();
        assert_eq!(said(&*again), said(&*bank), "{name}");
        assert_eq!(
            again.status().prototypes,
            bank.status().prototypes,
            "{name}"
        );
        assert_eq!(saved(&*again), bytes, "{name}");
    }
}

#[test]
fn a_state_saved_before_the_end_of_the_training_pass_continues_to_the_bit() {
    for (name, factory) in banks() {
        let normals = some_normals();
        let bank = fitted(&*factory, &spec(&[(1, 2)]), &normals);
        let mut first = factory.build(&spec(&[(1, 2)])).unwrap();
        normals[..3]
            .iter()
            .for_each(|normal| first.collect(normal).unwrap());
        let mut second = restored(&*factory, saved(&*first)).unwrap();
        normals[3..]
            .iter()
            .for_each(|normal| second.collect(normal).unwrap());
        second.fit().unwrap();
        assert_eq!(said(&*second), said(&*bank), "{name}");
        assert_eq!(saved(&*second), saved(&*bank), "{name}");
    }
}

#[test]
fn a_state_of_another_width_is_refused() {
    for (name, factory) in banks() {
        let wider = BackboneSpec {
            embedding_width: 3,
            ..spec(&[(1, 3)])
        };
        let mut image = features(&[(1, [[1.0f32, 2.0, 3.0]; 4])], [1.0, 0.0]);
        image.embedding = Array1::from_vec(vec![1.0, 0.0, 0.0]);
        let bank = fitted(&*factory, &wider, &[image.clone(), image]);
        assert!(restored(&*factory, saved(&*bank)).is_err(), "{name}");
    }
}

#[test]
fn a_seed_decides_the_coreset() {
    let state = |seed| {
        let options = CoresetOptions {
            seed,
            share: 0.3,
            starts: 1,
            ..coreset()
        };
        saved(&*fitted(&options, &spec(&[(1, 2)]), &some_normals()))
    };
    assert_eq!(state(4), state(4));
    assert!((0..8).any(|seed| state(seed) != state(4)));
}

#[test]
fn banks_learn_by_a_training_pass_and_then_stay_as_they_are() {
    for (name, factory) in banks() {
        let mut bank = factory.build(&spec(&[(1, 2)])).unwrap();
        assert_eq!(bank.learning(), Learning::Fit, "{name}");
        let query = one(QUERY);
        assert_eq!(
            reason(bank.assess(&query)),
            NeighbourError::NotFitted,
            "{name}"
        );
        assert!(
            matches!(
                reason(bank.fit()),
                NeighbourError::TooFewNormals { found: 0, .. }
            ),
            "{name}"
        );
        some_normals()
            .iter()
            .for_each(|normal| bank.collect(normal).unwrap());
        bank.fit().unwrap();
        assert_eq!(
            reason(bank.collect(&query)),
            NeighbourError::Fitted,
            "{name}"
        );
        assert_eq!(reason(bank.fit()), NeighbourError::Fitted, "{name}");
        let before = saved(&*bank);
        let carry = bank.assess(&query).unwrap().carry;
        bank.absorb(&query, carry, Role::Query).unwrap();
        assert_eq!(saved(&*bank), before, "{name}");
        let foreign = bank.absorb(&query, Box::new(1u8), Role::Query);
        assert_eq!(
            reason(foreign),
            NeighbourError::ForeignAssessment("bank"),
            "{name}"
        );
    }
}

#[test]
fn memory_stays_below_the_declared_bound() {
    let bounded: Vec<Box<dyn MemoryBankFactory>> = vec![
        Box::new(PatchOptions {
            max_normals: 2,
            ..patches()
        }),
        Box::new(CoresetOptions {
            max_normals: 2,
            ..coreset()
        }),
        Box::new(ImageOptions {
            max_normals: 2,
            ..ImageOptions::default()
        }),
    ];
    for factory in bounded {
        let mut bank = factory.build(&spec(&[(1, 2)])).unwrap();
        for normal in &some_normals()[..2] {
            bank.collect(normal).unwrap();
            let BankStatus {
                bytes,
                capacity_bytes,
                ..
            } = bank.status();
            assert!(bytes > 0 && bytes <= capacity_bytes);
        }
        let late = bank.collect(&some_normals()[2]);
        assert_eq!(
            reason(late),
            NeighbourError::TooManyNormals { max_normals: 2 }
        );
        assert_eq!(bank.status().images, 2);
        bank.fit().unwrap();
        let BankStatus {
            bytes,
            capacity_bytes,
            ..
        } = bank.status();
        assert!(bytes > 0 && bytes <= capacity_bytes);
    }
}

#[test]
fn too_few_normals_for_the_neighbours_are_named() {
    let options = ImageOptions {
        neighbours: 3,
        ..ImageOptions::default()
    };
    let mut bank = options.build(&spec(&[])).unwrap();
    some_normals()[..2]
        .iter()
        .for_each(|normal| bank.collect(normal).unwrap());
    let expected =
        "the known normals hold 2 images, `neighbours` asks for 3; show more or lower it";
    assert_eq!(reason(bank.fit()).to_string(), expected);
    bank.collect(&some_normals()[3]).unwrap();
    bank.fit().unwrap();
}

#[test]
fn nan_is_refused_and_leaves_no_trace() {
    let mut image = one(QUERY);
    image.tokens.get_mut(&1).unwrap()[[2, 1]] = f32::NAN;
    image.embedding[0] = f32::NAN;
    for (name, factory) in banks() {
        let mut bank = factory.build(&spec(&[(1, 2)])).unwrap();
        let before = saved(&*bank);
        assert!(bank.collect(&image).is_err(), "{name}");
        assert_eq!(saved(&*bank), before, "{name}");
        let bank = fitted(&*factory, &spec(&[(1, 2)]), &some_normals());
        assert!(bank.assess(&image).is_err(), "{name}");
    }
}

#[test]
fn unknown_blocks_and_wrong_options_are_told_at_once() {
    let spec = spec(&[(1, 2), (4, 2)]);
    let block = PatchOptions {
        blocks: vec![4, 7],
        ..patches()
    };
    let unknown = NeighbourError::Block {
        block: 7,
        available: vec![1, 4],
    };
    assert_eq!(reason(block.build(&spec)), unknown);
    let wrong: Vec<(&str, Box<dyn MemoryBankFactory>)> = vec![
        (
            "blocks",
            Box::new(PatchOptions {
                blocks: vec![1, 1],
                ..patches()
            }),
        ),
        (
            "blocks",
            Box::new(CoresetOptions {
                blocks: vec![],
                ..coreset()
            }),
        ),
        (
            "neighbourhoods",
            Box::new(PatchOptions {
                neighbourhoods: vec![2],
                ..patches()
            }),
        ),
        (
            "neighbourhood",
            Box::new(CoresetOptions {
                neighbourhood: 2,
                ..coreset()
            }),
        ),
        (
            "neighbours",
            Box::new(PatchOptions {
                neighbours: 0,
                ..patches()
            }),
        ),
        (
            "neighbours",
            Box::new(ImageOptions {
                neighbours: 0,
                ..ImageOptions::default()
            }),
        ),
        (
            "share",
            Box::new(CoresetOptions {
                share: 0.0,
                ..coreset()
            }),
        ),
        (
            "share",
            Box::new(CoresetOptions {
                share: f64::NAN,
                ..coreset()
            }),
        ),
        (
            "starts",
            Box::new(CoresetOptions {
                starts: 0,
                ..coreset()
            }),
        ),
        (
            "reweight_neighbours",
            Box::new(CoresetOptions {
                reweight_neighbours: 1,
                ..coreset()
            }),
        ),
        (
            "max_normals",
            Box::new(PatchOptions {
                max_normals: 0,
                ..patches()
            }),
        ),
    ];
    for (expected, factory) in wrong {
        match reason(factory.build(&spec)) {
            NeighbourError::Option { option, .. } => assert_eq!(option, expected),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_block_of_another_shape_is_refused() {
    let image = features(&[(1, [[1.0f32, 2.0, 3.0]; 4])], [1.0, 0.0]);
    let expected = NeighbourError::Shape {
        what: "a block of tokens",
        found: vec![4, 3],
        expected: vec![4, 2],
    };
    for factory in [&patches() as &dyn MemoryBankFactory, &coreset()] {
        let mut bank = factory.build(&spec(&[(1, 2)])).unwrap();
        assert_eq!(reason(bank.collect(&image)), expected);
    }
}

fn scorer(options: &NearestNeighbourOptions) -> Box<dyn Scorer> {
    options.build(&spec(&[(1, 2)]), &[1]).unwrap()
}

fn branch(rarity: [f32; 4]) -> Branch {
    Branch {
        block: 1,
        neighbourhood: 1,
        rarity: Array1::from_vec(rarity.to_vec()),
        normal_rarity: None,
    }
}

fn evidence(branches: &[[f32; 4]], image: Option<f32>) -> Evidence {
    let mut evidence = Evidence::new(branches.iter().copied().map(branch).collect());
    evidence.image = image;
    evidence
}

fn score(
    options: &NearestNeighbourOptions,
    evidence: Option<&Evidence>,
    role: Role,
) -> Result<Option<Scored>, BoxError> {
    let image = one(QUERY);
    let input = ScoreInput {
        features: &image,
        prior: None,
        evidence,
        role,
        update: false,
    };
    Ok(scorer(options).assess(&input)?.scored)
}

fn sharp() -> NearestNeighbourOptions {
    NearestNeighbourOptions {
        blur_sigma: 0.0,
        ..NearestNeighbourOptions::default()
    }
}

#[test]
fn the_map_is_the_mean_of_the_branches_with_corners_aligned() {
    let evidence = evidence(&[[0.0, 1.0, 2.0, 3.0], [0.0, 3.0, 2.0, 5.0]], None);
    let scored = score(&sharp(), Some(&evidence), Role::Query)
        .unwrap()
        .unwrap();
    let map = scored.map.values;
    assert_eq!(map.dim(), (8, 8));
    let corners = [map[[0, 0]], map[[0, 7]], map[[7, 0]], map[[7, 7]]];
    close(&corners, &[0.0, 2.0, 2.0, 4.0]);
    assert_eq!((scored.raw_score, scored.score), (4.0, 4.0));
}

#[test]
fn blur_spreads_the_map_and_leaves_the_score() {
    let options = NearestNeighbourOptions {
        blur_kernel: 3,
        blur_sigma: 1.0,
        ..NearestNeighbourOptions::default()
    };
    let evidence = evidence(&[[0.0, 0.0, 0.0, 4.0]], None);
    let scored = score(&options, Some(&evidence), Role::Query)
        .unwrap()
        .unwrap();
    assert!(scored.map.max() < 4.0);
    assert_eq!(scored.score, 4.0);
}

#[test]
fn the_score_is_the_banks_where_it_gives_one() {
    let own = evidence(&[[0.0, 1.0, 2.0, 3.0]], Some(7.0));
    let of = |options: &NearestNeighbourOptions| {
        score(options, Some(&own), Role::Query)
            .unwrap()
            .unwrap()
            .score
    };
    assert_eq!(of(&sharp()), 7.0);
    let patches = NearestNeighbourOptions {
        image_score: ImageScore::Patches,
        top_share: 0.5,
        ..sharp()
    };
    assert_eq!(of(&patches), 2.5);
}

#[test]
fn a_known_normal_gets_no_score() {
    let evidence = evidence(&[[0.0; 4]], None);
    assert!(
        score(&sharp(), Some(&evidence), Role::Normal)
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_scorer_without_usable_evidence_says_so() {
    let wrong = |evidence: Option<&Evidence>| reason(score(&sharp(), evidence, Role::Query));
    assert_eq!(wrong(None), NeighbourError::NoEvidence);
    assert_eq!(
        wrong(Some(&evidence(&[], None))),
        NeighbourError::NoEvidence
    );
    let nan = evidence(&[[0.0, f32::NAN, 0.0, 0.0]], None);
    assert!(matches!(wrong(Some(&nan)), NeighbourError::NonFinite(_)));
    let nan = evidence(&[[0.0; 4]], Some(f32::INFINITY));
    assert!(matches!(wrong(Some(&nan)), NeighbourError::NonFinite(_)));
    let mut short = evidence(&[[0.0; 4]], None);
    short.branches[0].rarity = Array1::zeros(3);
    assert!(matches!(wrong(Some(&short)), NeighbourError::Shape { .. }));
    let image = one(QUERY);
    let input = ScoreInput {
        features: &image,
        prior: None,
        evidence: None,
        role: Role::Query,
        update: true,
    };
    let foreign = scorer(&sharp()).absorb(&input, Box::new(1u8));
    assert_eq!(reason(foreign), NeighbourError::ForeignAssessment("scorer"));
}

#[test]
fn the_range_of_maps_is_an_option() {
    let options = NearestNeighbourOptions {
        map_range: [1.0, 9.0],
        ..sharp()
    };
    assert_eq!(scorer(&options).nominal_range(), (1.0, 9.0));
    let wrong = NearestNeighbourOptions {
        map_range: [1.0, 1.0],
        ..sharp()
    };
    assert!(wrong.build(&spec(&[(1, 2)]), &[1]).is_err());
}

fn images(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<[[f32; 2]; 4]>> {
    let token =
        || (-50i8..50, -50i8..50).prop_map(|(x, y)| [f32::from(x) / 4.0, f32::from(y) / 4.0]);
    prop::collection::vec([token(), token(), token(), token()], count)
}

proptest! {
    #[test]
    fn patch_search_equals_brute_force(
        normals in images(1..8),
        query in images(1..2),
        neighbours in 1usize..5,
    ) {
        let options = PatchOptions { neighbours, ..patches() };
        let shown: Vec<Features> = normals.iter().copied().map(one).collect();
        let bank = fitted(&options, &spec(&[(1, 2)]), &shown);
        let unit = |[x, y]: [f32; 2]| {
            let norm = x.hypot(y);
            if norm > 0.0 { [x / norm, y / norm] } else { [0.0; 2] }
        };
        let found = rarity(&*bank, &one(query[0])).remove(0);
        for (found, token) in found.into_iter().zip(query[0]) {
            let token = unit(token);
            let cosine = |other: &[f32; 2]| {
                let other = unit(*other);
                token[0] * other[0] + token[1] * other[1]
            };
            let mut cosines: Vec<f32> = normals.iter().flatten().map(cosine).collect();
            cosines.sort_by(|a, b| b.total_cmp(a));
            let plain = 1.0 - cosines[..neighbours].iter().sum::<f32>() / neighbours as f32;
            prop_assert!((found - plain.max(0.0)).abs() < 1e-5, "{found} for {plain}");
        }
    }

    #[test]
    fn a_smaller_coreset_is_never_nearer(normals in images(2..10), query in images(1..2)) {
        let shown: Vec<Features> = normals.iter().copied().map(one).collect();
        let bank = |share| {
            let options = CoresetOptions { share, ..coreset() };
            rarity(&*fitted(&options, &spec(&[(1, 2)]), &shown), &one(query[0])).remove(0)
        };
        for (whole, part) in bank(1.0).into_iter().zip(bank(0.4)) {
            prop_assert!(part >= whole);
        }
    }
}
