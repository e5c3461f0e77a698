//! The banks as a stream meets them: training pass, state, limits, refusals.
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

mod common;

use common::{
    WIDTH, backbone, bits, empty, fitted, from_values, gaussian, own_refusal, rarity, refusal,
    restored, subspace,
};
use rareclip_core::ComponentError;
use rareclip_core::{Features, Learning, MemoryBankFactory, Role};
use rareclip_distribution::{GaussianOptions, StatisticsError, SubspaceOptions};

/// `count` images that differ, by a fixed recipe.
fn images(count: usize) -> Vec<Features> {
    let value = |image: usize, at: usize| ((image * 37 + at * 11) as f32 * 0.7).sin() + at as f32;
    (0..count)
        .map(|image| {
            from_values(
                &(0..8 * WIDTH)
                    .map(|at| value(image, at))
                    .collect::<Vec<_>>(),
            )
        })
        .collect()
}

fn both() -> [Box<dyn MemoryBankFactory>; 2] {
    [Box::new(gaussian()), Box::new(subspace(0.9))]
}

#[test]
fn both_learn_from_normals_alone() {
    for options in both() {
        let bank = fitted(&*options, &images(5));
        assert_eq!(bank.learning(), Learning::Fit);
        assert_eq!(bank.status().images, 5);
    }
}

#[test]
fn state_saved_in_the_middle_of_the_training_pass_continues_to_the_bit() {
    let (normals, query) = (images(6), &images(9)[8]);
    for options in both() {
        let mut bank = empty(&*options);
        normals[..3]
            .iter()
            .for_each(|normal| bank.collect(normal).unwrap());
        let mut other = restored(&*options, &*bank).unwrap();
        for bank in [&mut bank, &mut other] {
            normals[3..]
                .iter()
                .for_each(|normal| bank.collect(normal).unwrap());
            bank.fit().unwrap();
        }
        assert_eq!(bits(&rarity(&*bank, query)), bits(&rarity(&*other, query)));
        assert_eq!(bank.status(), other.status());
    }
}

#[test]
fn state_saved_before_the_first_normal_is_empty_state() {
    for options in both() {
        let mut bank = restored(&*options, &*empty(&*options)).unwrap();
        images(4)
            .iter()
            .for_each(|normal| bank.collect(normal).unwrap());
        bank.fit().unwrap();
        let expected = rarity(&*fitted(&*options, &images(4)), &images(6)[5]);
        assert_eq!(bits(&rarity(&*bank, &images(6)[5])), bits(&expected));
    }
}

#[test]
fn state_saved_after_the_training_pass_scores_the_same_to_the_bit() {
    for options in both() {
        let bank = fitted(&*options, &images(5));
        let other = restored(&*options, &*bank).unwrap();
        for query in &images(8)[5..] {
            assert_eq!(bits(&rarity(&*bank, query)), bits(&rarity(&*other, query)));
        }
        assert_eq!(bank.status(), other.status());
    }
}

#[test]
fn a_subspace_of_all_directions_survives_saving_and_leaves_no_residual() {
    let options = subspace(1.0);
    let bank = fitted(&options, &images(9));
    let other = restored(&options, &*bank).unwrap();
    let found = rarity(&*other, &images(12)[11]);
    assert_eq!(found, rarity(&*bank, &images(12)[11]));
    assert!(found.iter().all(|value| *value < 1e-6), "{found:?}");
}

#[test]
fn state_of_other_options_is_refused() {
    let fewer = GaussianOptions {
        dimensions: 3,
        ..gaussian()
    };
    assert!(restored(&fewer, &*fitted(&gaussian(), &images(3))).is_err());
    let third = SubspaceOptions {
        blocks: vec![3],
        explained_variance: 0.9,
    };
    assert!(restored(&third, &*fitted(&subspace(0.9), &images(3))).is_err());
    assert!(restored(&subspace(0.9), &*fitted(&gaussian(), &images(3))).is_err());
}

#[test]
fn scored_images_change_nothing() {
    for options in both() {
        let mut bank = fitted(&*options, &images(5));
        let query = &images(6)[5];
        let before = rarity(&*bank, query);
        let carry = bank.assess(query).unwrap().carry;
        bank.absorb(query, carry, Role::Query).unwrap();
        assert_eq!(bits(&rarity(&*bank, query)), bits(&before));
        assert_eq!(bank.status().images, 5);
    }
}

#[test]
fn bytes_never_exceed_the_capacity_known_beforehand() {
    for options in both() {
        let mut bank = empty(&*options);
        let capacity = bank.status().capacity_bytes;
        for normal in images(7) {
            bank.collect(&normal).unwrap();
            assert!(bank.status().bytes <= capacity && bank.status().bytes > 0);
        }
        bank.fit().unwrap();
        assert!(bank.status().bytes <= capacity && bank.status().bytes > 0);
        assert_eq!(bank.status().capacity_bytes, capacity);
    }
    // 4 positions of 12 dimensions: means, triangles, and the list of dimensions.
    let expected = 4 * (12 + 78) * 4 + 12 * 4;
    assert_eq!(empty(&gaussian()).status().capacity_bytes, expected);
    assert_eq!(empty(&subspace(0.9)).status().capacity_bytes, 7 * 6 * 8);
}

#[test]
fn the_seed_chooses_the_dimensions() {
    let choose = |seed| GaussianOptions {
        dimensions: 4,
        seed,
        ..gaussian()
    };
    let distances = |seed| rarity(&*fitted(&choose(seed), &images(5)), &images(6)[5]);
    assert_eq!(distances(1), distances(1));
    assert_ne!(distances(1), distances(2));
}

#[test]
fn a_gaussian_needs_two_normals_and_a_subspace_one() {
    let mut bank = empty(&gaussian());
    bank.collect(&images(1)[0]).unwrap();
    let expected = ComponentError::TooFewNormals {
        what: "images",
        found: 1,
        needed: 2,
        remedy: "",
    };
    assert_eq!(refusal(bank.fit()), expected);
    bank.collect(&images(2)[1]).unwrap();
    bank.fit().unwrap();

    let mut bank = empty(&subspace(0.9));
    let expected = ComponentError::TooFewNormals {
        what: "images",
        found: 0,
        needed: 1,
        remedy: "",
    };
    assert_eq!(refusal(bank.fit()), expected);
    bank.collect(&images(1)[0]).unwrap();
    bank.fit().unwrap();
}

#[test]
fn the_training_pass_ends_once_and_before_the_first_score() {
    for options in both() {
        let mut bank = empty(&*options);
        images(3)
            .iter()
            .for_each(|normal| bank.collect(normal).unwrap());
        assert_eq!(
            refusal(bank.assess(&images(1)[0])),
            ComponentError::NotFitted
        );
        bank.fit().unwrap();
        assert_eq!(refusal(bank.fit()), ComponentError::AlreadyFitted);
        assert_eq!(
            refusal(bank.collect(&images(1)[0])),
            ComponentError::AlreadyFitted
        );
    }
}

#[test]
fn nan_is_refused_and_leaves_no_trace() {
    let broken = from_values(&[f32::NAN; 8 * WIDTH]);
    for options in both() {
        let mut bank = empty(&*options);
        images(3)
            .iter()
            .for_each(|normal| bank.collect(normal).unwrap());
        let refused = refusal(bank.collect(&broken));
        assert!(matches!(refused, ComponentError::NonFinite { .. }));
        bank.fit().unwrap();
        assert!(matches!(
            refusal(bank.assess(&broken)),
            ComponentError::NonFinite { .. }
        ));
        let clean = fitted(&*options, &images(3));
        let query = &images(4)[3];
        assert_eq!(bits(&rarity(&*bank, query)), bits(&rarity(&*clean, query)));
    }
}

#[test]
fn values_too_large_to_square_are_refused_not_passed_on() {
    let huge = from_values(
        &(0..8 * WIDTH)
            .map(|at| 3e38 * (at as f32).sin())
            .collect::<Vec<_>>(),
    );
    let mut bank = fitted(&gaussian(), &images(3));
    assert!(bank.assess(&huge).is_err());
    bank = empty(&gaussian());
    bank.collect(&images(1)[0]).unwrap();
    bank.collect(&huge).unwrap();
    assert_eq!(own_refusal(bank.fit()), StatisticsError::Covariance);
}

#[test]
fn an_image_of_another_shape_is_refused() {
    let other = Features::new(
        rareclip_core::Grid {
            rows: 1,
            columns: 4,
        },
        images(1)[0].tokens.clone(),
        images(1)[0].embedding.clone(),
    );
    for options in both() {
        let refused = refusal(empty(&*options).collect(&other));
        assert!(matches!(refused, ComponentError::Shape { .. }));
    }
}

#[test]
fn options_that_fit_no_backbone_say_which() {
    let build = |options: &dyn MemoryBankFactory| refusal(options.build(&backbone()).map(drop));
    let gaussian = |change: fn(&mut GaussianOptions)| {
        let mut options = gaussian();
        change(&mut options);
        build(&options)
    };
    let unknown = ComponentError::Block {
        block: 9,
        available: vec![1, 2, 3],
    };
    assert_eq!(gaussian(|options| options.blocks = vec![1, 9]), unknown);
    for (option, found) in [
        ("blocks", gaussian(|options| options.blocks = vec![1, 1])),
        ("dimensions", gaussian(|options| options.dimensions = 0)),
        (
            "regularisation",
            gaussian(|options| options.regularisation = 0.0),
        ),
        ("explained_variance", build(&subspace(0.0))),
    ] {
        assert!(matches!(&found, ComponentError::Option { option: name, .. } if *name == option));
    }
    let mixed = SubspaceOptions {
        blocks: vec![1, 3],
        explained_variance: 0.9,
    };
    let widths = vec![WIDTH, WIDTH + 1];
    let refused = own_refusal(mixed.build(&backbone()).map(drop));
    assert_eq!(refused, StatisticsError::Widths { widths });
}
