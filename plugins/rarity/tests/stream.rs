//! What holds for every stream: traces, bounds, snapshots, unusual images.
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

mod common;

use common::{GRID, Image, Rooms, WIDTH, backbone, bits, images};
use ndarray::{Array1, Array2};
use proptest::prelude::*;
use rareclip_core::{MemoryBankFactory, Role, ScoreInput, ScorerFactory};
use rareclip_rarity::{DirectOptions, PrototypeOptions, RarityOptions, Rescoring, Sampler};

fn prototype() -> PrototypeOptions {
    PrototypeOptions {
        blocks: vec![1, 2],
        capacity: 2.0,
        keep_images: 5,
        ..Default::default()
    }
}

fn direct() -> DirectOptions {
    DirectOptions {
        blocks: vec![1, 2],
        keep_images: 5,
        ..Default::default()
    }
}

fn rooms(bank: &dyn MemoryBankFactory) -> Rooms {
    let rescoring = Rescoring {
        period: 3,
        ..Rescoring::default()
    };
    let scorer = RarityOptions {
        keep_images: 6,
        rescoring,
        ..Default::default()
    };
    Rooms {
        bank: bank.build(&backbone()).unwrap(),
        scorer: scorer.build(&backbone(), &[1, 2]).unwrap(),
    }
}

fn banks() -> Vec<(&'static str, Box<dyn MemoryBankFactory>)> {
    let sampled = |sampler| -> Box<dyn MemoryBankFactory> {
        Box::new(PrototypeOptions {
            sampler,
            ..prototype()
        })
    };
    vec![
        ("sequential", Box::new(prototype())),
        ("greedy", sampled(Sampler::GreedyCoreset)),
        ("random", sampled(Sampler::Random { seed: 3 })),
        ("k-means", sampled(Sampler::KMeans { seed: 3 })),
        ("direct", Box::new(direct())),
    ]
}

#[test]
fn continuing_from_a_snapshot_equals_never_having_stopped() {
    for (name, bank) in banks() {
        for (prior, shots) in [(true, 0), (false, 0), (true, 2)] {
            let images = images(11, 16);
            let mut whole = rooms(&*bank);
            let mut stopped = rooms(&*bank);
            for (i, image) in images.iter().enumerate() {
                let role = if i < shots { Role::Normal } else { Role::Query };
                if [0, 1, 3, 7, 12].contains(&i) {
                    let state = stopped.state();
                    stopped = rooms(&*bank).restored(&state);
                }
                let one = whole.push(image, prior, role, true);
                let other = stopped.push(image, prior, role, true);
                assert_eq!(
                    one.as_ref().map(bits),
                    other.as_ref().map(bits),
                    "{name}, image {i}"
                );
            }
            assert!(whole.entries() == stopped.entries(), "{name}");
        }
    }
}

#[test]
fn scoring_without_update_leaves_no_trace() {
    for (name, bank) in banks() {
        let mut rooms = rooms(&*bank);
        for image in images(5, 8) {
            let before = rooms.entries();
            let peeked = rooms.push(&image, true, Role::Query, false).unwrap();
            assert!(before == rooms.entries(), "{name}");
            let again = rooms.push(&image, true, Role::Query, false).unwrap();
            assert_eq!(bits(&peeked), bits(&again), "{name}");
            rooms.query(&image, true);
        }
    }
}

#[test]
fn a_stream_of_1500_images_runs_within_its_memory() {
    for (name, bank) in banks() {
        // The slow samplers show the same in fewer images.
        let count = if ["greedy", "k-means"].contains(&name) {
            60
        } else {
            1500
        };
        let mut rooms = rooms(&*bank);
        let mut settled = 0;
        for (i, image) in images(7, count).iter().enumerate() {
            let scored = rooms.query(image, true);
            assert!(scored.score.is_finite() && scored.map.values.iter().all(|v| v.is_finite()));
            let status = rooms.bank.status();
            assert!(
                status.bytes <= status.capacity_bytes,
                "{name}, image {i}: {status:?}"
            );
            if i == 20 {
                settled = rooms.scorer.bytes();
            }
        }
        assert_eq!(rooms.scorer.bytes(), settled, "{name}");
        assert_eq!(rooms.bank.status().images, count as u64);
    }
}

#[test]
fn the_bound_on_bytes_is_known_before_the_first_image_and_never_moves() {
    for (name, bank) in banks() {
        let mut rooms = rooms(&*bank);
        let bound = rooms.bank.status().capacity_bytes;
        images(2, 12).iter().for_each(|image| {
            rooms.query(image, false);
            assert_eq!(rooms.bank.status().capacity_bytes, bound, "{name}");
        });
    }
}

#[test]
fn without_a_prior_the_first_image_scores_nothing() {
    let mut rooms = rooms(&prototype());
    let scored = rooms.query(&images(1, 1)[0], false);
    assert_eq!(scored.score, 0.0);
    assert!(scored.map.values.iter().all(|&value| value == 0.0));
}

#[test]
fn without_a_prior_the_map_is_patch_rarity_plus_image_rarity() {
    // One patch: no neighbourhood, no interpolation and no blur stand between evidence and map.
    let mut one = backbone();
    one.grid = rareclip_core::Grid {
        rows: 1,
        columns: 1,
    };
    let bank = PrototypeOptions {
        looseness: -1.0,
        ..prototype()
    };
    let mut bank = bank.build(&one).unwrap();
    let mut scorer = RarityOptions::default().build(&one, &[1, 2]).unwrap();
    let image = |x: f32, y: f32| {
        let token = Array2::from_shape_vec((1, WIDTH), vec![x, y, 0.0, 0.0, 0.0]).unwrap();
        let tokens = [(1, token.clone()), (2, token)].into();
        let embedding = Array1::from_vec(vec![1.0, 0.0, 0.0, 0.0]);
        rareclip_core::Features::new(one.grid, tokens, embedding)
    };
    let mut score = 0.0;
    for features in [image(1.0, 0.0), image(3.0, 4.0)] {
        let assessment = bank.assess(&features).unwrap();
        let input = ScoreInput {
            features: &features,
            prior: None,
            evidence: Some(&assessment.evidence),
            role: Role::Query,
            update: true,
        };
        let scored = scorer.assess(&input).unwrap();
        score = scored.scored.unwrap().score;
        bank.absorb(&features, assessment.carry, Role::Query)
            .unwrap();
        scorer.absorb(&input, scored.carry).unwrap();
    }
    // Cosine 0.6 to the only image: patch and image rarity are 0.4 each.
    assert!((score - 0.8).abs() < 1e-6, "{score}");
}

#[test]
fn images_without_any_contrast_give_finite_scores() {
    for (name, bank) in banks() {
        for value in [0.0, 1.0, 1e30] {
            let mut rooms = rooms(&*bank);
            let flat = Array2::from_elem((GRID.patches(), WIDTH), value);
            let mut image = images(1, 1).remove(0);
            image.features.tokens = [(1, flat.clone()), (2, flat)].into();
            image.prior.patches.fill(0.5);
            for _ in 0..8 {
                let scored = rooms.query(&image, true);
                assert!(scored.score.is_finite(), "{name}, tokens of {value}");
                assert!(scored.map.values.iter().all(|v| v.is_finite()), "{name}");
            }
        }
    }
}

#[test]
fn tokens_that_are_not_numbers_are_refused() {
    for (name, bank) in banks() {
        let mut rooms = rooms(&*bank);
        let images = images(1, 2);
        rooms.query(&images[0], true);
        let mut features = images[1].features.clone();
        features.tokens.get_mut(&2).unwrap()[[3, 1]] = f32::NAN;
        assert!(rooms.bank.assess(&features).is_err(), "{name}");
    }
}

#[test]
fn an_assessment_is_absorbed_once_and_in_order() {
    for (name, bank) in banks() {
        let mut rooms = rooms(&*bank);
        let images = images(1, 2);
        let [one, other] = [0, 1].map(|i| rooms.bank.assess(&images[i].features).unwrap());
        rooms
            .bank
            .absorb(&images[0].features, one.carry, Role::Query)
            .unwrap();
        let before = rooms.entries();
        let late = rooms
            .bank
            .absorb(&images[1].features, other.carry, Role::Query);
        assert!(late.is_err(), "{name}");
        let foreign = rooms
            .bank
            .absorb(&images[1].features, Box::new(1), Role::Query);
        assert!(foreign.is_err(), "{name}");
        assert!(rooms.entries() == before, "{name}");
    }
}

#[test]
fn known_normals_come_first_or_not_at_all() {
    for (name, bank) in banks() {
        let mut rooms = rooms(&*bank);
        let images = images(1, 2);
        rooms.query(&images[0], true);
        let assessment = rooms.bank.assess(&images[1].features).unwrap();
        let late = rooms
            .bank
            .absorb(&images[1].features, assessment.carry, Role::Normal);
        assert!(late.is_err(), "{name}");
    }
}

#[test]
fn more_known_normals_than_rareclip_d_keeps_are_refused() {
    let mut rooms = rooms(&direct());
    let images = images(1, 6);
    for image in &images[..5] {
        rooms.push(image, true, Role::Normal, true);
    }
    let assessment = rooms.bank.assess(&images[5].features).unwrap();
    let refused = rooms
        .bank
        .absorb(&images[5].features, assessment.carry, Role::Normal);
    assert!(refused.unwrap_err().to_string().contains("keep_images"));
}

#[test]
fn a_stream_has_a_prior_or_it_has_none() {
    let mut rooms = rooms(&prototype());
    let images = images(1, 2);
    rooms.query(&images[0], true);
    let assessment = rooms.bank.assess(&images[1].features).unwrap();
    let input = ScoreInput {
        features: &images[1].features,
        prior: None,
        evidence: Some(&assessment.evidence),
        role: Role::Query,
        update: true,
    };
    assert!(rooms.scorer.assess(&input).is_err());
}

#[test]
fn options_out_of_range_name_the_option() {
    let refused = |bank: PrototypeOptions| bank.build(&backbone()).err().unwrap().to_string();
    assert!(
        refused(PrototypeOptions {
            blocks: vec![9],
            ..prototype()
        })
        .contains("block 9")
    );
    assert!(
        refused(PrototypeOptions {
            capacity: 0.0,
            ..prototype()
        })
        .contains("capacity")
    );
    let even = PrototypeOptions {
        neighbourhoods: vec![2],
        ..prototype()
    };
    assert!(refused(even).contains("neighbourhoods"));
    assert!(
        refused(PrototypeOptions {
            neighbours: 0,
            ..prototype()
        })
        .contains("neighbours")
    );
    let scorer = RarityOptions::default().build(&backbone(), &[]);
    assert!(scorer.err().unwrap().to_string().contains("bank"));
}

#[test]
fn the_options_are_components_with_every_default_written_out() {
    use rareclip_core::Slot;
    for (slot, name) in [
        (Slot::Bank, "prototype"),
        (Slot::Bank, "prototype-direct"),
        (Slot::Scorer, "rarity"),
        (Slot::Index, "exact"),
    ] {
        let component = rareclip_core::registry::find(slot, name).unwrap();
        let schema = component.schema();
        let defaults = component.defaults();
        for (key, _) in defaults.as_object().unwrap() {
            let property = &schema["properties"][key];
            assert!(
                property["description"].is_string(),
                "{name}: {key} has no description"
            );
        }
    }
}

#[test]
fn samplers_are_chosen_by_type() {
    let options: PrototypeOptions =
        serde_json::from_str(r#"{"sampler": {"type": "random", "seed": 4}}"#).unwrap();
    assert_eq!(options.sampler, Sampler::Random { seed: 4 });
    let options: PrototypeOptions =
        serde_json::from_str(r#"{"sampler": {"type": "sequential-coreset"}}"#).unwrap();
    assert_eq!(options.sampler, PrototypeOptions::default().sampler);
    assert!(serde_json::from_str::<PrototypeOptions>(r#"{"capacty": 2.0}"#).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_score_of_an_image_depends_on_earlier_images_only(seed in 0u64..1000, cut in 1usize..8) {
        let (mut one, mut other) = (rooms(&prototype()), rooms(&prototype()));
        let (first, second) = (images(seed, 8), images(seed + 1, 8));
        let mixed: Vec<&Image> = first[..cut].iter().chain(&second[cut..]).collect();
        for (a, b) in first[..cut].iter().zip(&mixed) {
            prop_assert_eq!(bits(&one.query(a, true)), bits(&other.query(b, true)));
        }
    }
}
