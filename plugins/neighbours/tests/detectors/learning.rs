//! The training pass, saved state, and what is refused.

use std::path::Path;

use ndarray::Array1;
use rareclip_core::ComponentError;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::snapshot::{Snapshot, SnapshotWriter};
use rareclip_core::{
    BankStatus, BoxError, ErasedBank, Features, Learning, MemoryBankFactory, Role,
};
use rareclip_neighbours::{CoresetOptions, ImageOptions, PatchOptions};

use crate::{NORMAL, QUERY, coreset, features, fitted, one, patches, reason, spec};

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

fn saved(bank: &dyn ErasedBank) -> Vec<u8> {
    let mut writer = SnapshotWriter::new();
    bank.save(&mut writer);
    writer.to_bytes().unwrap()
}

fn restored(
    factory: &dyn MemoryBankFactory,
    bytes: Vec<u8>,
) -> Result<Box<dyn ErasedBank>, BoxError> {
    let snapshot = Snapshot::from_bytes(Path::new("memory"), bytes)?;
    let bank = factory.build(&spec(&[(1, 2)]))?;
    bank.restore(&snapshot.reader()?)
}

fn said(bank: &dyn ErasedBank) -> Vec<(Option<f32>, Vec<f32>)> {
    let say = |image: &Features| {
        let evidence = bank.assess(image).unwrap().evidence;
        (evidence.image, evidence.branches[0].scores.to_vec())
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
            ComponentError::NotFitted,
            "{name}"
        );
        assert!(
            matches!(
                reason(bank.fit()),
                ComponentError::TooFewNormals { found: 0, .. }
            ),
            "{name}"
        );
        some_normals()
            .iter()
            .for_each(|normal| bank.collect(normal).unwrap());
        bank.fit().unwrap();
        assert_eq!(
            reason(bank.collect(&query)),
            ComponentError::AlreadyFitted,
            "{name}"
        );
        assert_eq!(reason(bank.fit()), ComponentError::AlreadyFitted, "{name}");
        let before = saved(&*bank);
        let carry = bank.assess(&query).unwrap().carry;
        bank.absorb(&query, carry, Role::Query).unwrap();
        assert_eq!(saved(&*bank), before, "{name}");
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
            ComponentError::TooManyNormals {
                most: 2,
                option: "max_normals"
            }
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
        "the known normals hold 2 images, 3 are needed; show more, or lower `neighbours`";
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
    let unknown = ComponentError::Block {
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
            ComponentError::Option { option, .. } => assert_eq!(option, expected),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_block_of_another_shape_is_refused() {
    let image = features(&[(1, [[1.0f32, 2.0, 3.0]; 4])], [1.0, 0.0]);
    let expected = ComponentError::shape("a block of tokens", &[4, 3], &[4, 2]);
    for factory in [&patches() as &dyn MemoryBankFactory, &coreset()] {
        let mut bank = factory.build(&spec(&[(1, 2)])).unwrap();
        assert_eq!(reason(bank.collect(&image)), expected);
    }
}
