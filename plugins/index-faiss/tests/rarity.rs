//! RareCLIP's banks on faiss: the golden data of `../shared/fixtures/rarity`, and the same
//! prototypes as on the exact index.
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

#[allow(dead_code, reason = "the bank's own tests compare more stages")]
#[path = "../../rarity/src/golden/fixture.rs"]
mod fixture;

use std::sync::Arc;

use std::collections::BTreeMap;
use std::path::Path;

use fixture::File;
use rareclip_core::index::VectorIndexFactory;
use rareclip_core::snapshot::{Snapshot, SnapshotWriter};
use rareclip_core::{ErasedBank, ErasedScorer, MemoryBankFactory, Role, ScoreInput, ScorerFactory};
use rareclip_index_exact as _;
use rareclip_index_faiss as _;
use rareclip_rarity::{
    DirectOptions, PrototypeOptions, RarityOptions, Rescoring, Sampler, ShotMixing,
};
use serde_json::{Value, json};

/// How far a stage may be from the golden data.
const TOLERANCE: f32 = 1e-4;
const BLOCKS: [usize; 2] = [2, 4];
/// Where faiss searches.
const DEVICE: &str = if cfg!(feature = "gpu") {
    "cuda:0"
} else {
    "cpu"
};

fn configured(index: Value) -> Arc<dyn VectorIndexFactory> {
    match index {
        Value::Object(table) => <dyn VectorIndexFactory>::from_table(table).unwrap(),
        other => panic!("{other} is no table"),
    }
}

fn bank(params: &Value, index: Value) -> Box<dyn ErasedBank> {
    let number = |key: &str| params[key].as_f64().unwrap();
    let count = |key: &str| params[key].as_u64().unwrap() as usize;
    if params["algorithm"] == "rareclip_d" {
        let options = DirectOptions {
            blocks: BLOCKS.into(),
            image_share: number("keep_fratio"),
            rarity_threshold: number("rare_thd"),
            keep_images: count("keep_snum"),
            index: configured(index),
            ..DirectOptions::default()
        };
        return options.build(&fixture::backbone()).unwrap();
    }
    let options = PrototypeOptions {
        blocks: BLOCKS.into(),
        capacity: number("keep_ftime"),
        neighbours: count("topk"),
        looseness: number("LS_ratio"),
        rarity_threshold: number("rare_thd"),
        keep_images: count("keep_snum"),
        sampler: match params["sampler"] == "GCS" {
            true => Sampler::GreedyCoreset,
            false => Sampler::SequentialCoreset,
        },
        index: configured(index),
        ..PrototypeOptions::default()
    };
    options.build(&fixture::backbone()).unwrap()
}

fn scorer(params: &Value) -> Box<dyn ErasedScorer> {
    let number = |key: &str| params[key].as_f64().unwrap();
    let count = |key: &str| params[key].as_u64().unwrap() as usize;
    let rescoring = Rescoring {
        enabled: params["Rs"] == 1,
        period: count("Rs_freq"),
        max_neighbours: count("max_Rs_num"),
        temperature: number("Rs_temp") as f32,
    };
    let options = RarityOptions {
        rarity_threshold: number("rare_thd"),
        keep_images: match rescoring.enabled {
            true => count("keep_inum"),
            // The reference forgets nothing where it does not re-score.
            false => 1000,
        },
        rescoring,
        shot_mixing: match params["algorithm"] == "rareclip_d" {
            true => ShotMixing::Direct,
            false => ShotMixing::Rareclip,
        },
        ..RarityOptions::default()
    };
    options.build(&fixture::backbone(), &BLOCKS).unwrap()
}

/// The largest deviation of every stage.
#[derive(Default)]
struct Deviations(BTreeMap<&'static str, f32>);

impl Deviations {
    fn compare<'a>(
        &mut self,
        stage: &'static str,
        found: impl IntoIterator<Item = &'a f32>,
        expected: impl IntoIterator<Item = &'a f32>,
    ) {
        let worst = rareclip_testkit::distance(found, expected);
        let entry = self.0.entry(stage).or_default();
        *entry = entry.max(worst);
    }
}

/// All that a bank remembers, as it stands in a state file.
fn state(bank: &dyn ErasedBank) -> Vec<u8> {
    let mut writer = SnapshotWriter::new();
    bank.save(&mut writer);
    writer.to_bytes().unwrap()
}

fn golden(setting: &str) {
    let test = format!("rarity through faiss, {setting}");
    let Some(folder) = fixture::folder(&test) else {
        return;
    };
    let inputs = File::open(&folder, "inputs");
    let file = File::open(&folder, setting);
    let params = std::fs::read_to_string(folder.join("params.json")).unwrap();
    let params = &serde_json::from_str::<Value>(&params).unwrap()[setting];
    let shots = params["k_shot"].as_u64().unwrap() as usize;
    let mut bank_on_faiss = bank(params, json!({ "type": "faiss", "device": DEVICE }));
    let mut bank_on_exact = bank(params, json!({ "type": "exact" }));
    let mut scorer = scorer(params);
    let mut deviations = Deviations::default();
    for (i, features) in fixture::images(&inputs).iter().enumerate() {
        let prior = fixture::prior(&inputs, features);
        let assessment = bank_on_faiss.assess(features).unwrap();
        let other = bank_on_exact.assess(features).unwrap();
        let update = file.number("updated", &[i]) == 1.0;
        let role = if i < shots { Role::Normal } else { Role::Query };
        let input = ScoreInput {
            features,
            prior: Some(&prior),
            evidence: Some(&assessment.evidence),
            role,
            update,
        };
        let both = assessment
            .evidence
            .branches
            .iter()
            .zip(&other.evidence.branches);
        for (number, (branch, other)) in both.enumerate() {
            deviations.compare(
                "rarity, from the exact index",
                &branch.scores,
                &other.scores,
            );
            if role == Role::Query {
                let expected = file.at("rl_map", &[i, number / 2, number % 2]);
                deviations.compare("rl_map", &branch.scores, &expected);
            }
        }
        let scored = scorer.assess(&input).unwrap();
        if let Some(scored) = &scored.scored {
            let expected = file.at("final_map", &[i]);
            deviations.compare("final_map", &scored.map.values, &expected);
            deviations.compare("score", [&scored.score], &file.at("score", &[i]));
        }
        let expected = file.number("has_output", &[i]) == 1.0;
        assert_eq!(scored.scored.is_some(), expected, "image {i}");
        if update {
            scorer.absorb(&input, scored.carry).unwrap();
            bank_on_faiss
                .absorb(features, assessment.carry, role)
                .unwrap();
            bank_on_exact.absorb(features, other.carry, role).unwrap();
        }
        same_prototypes(&*bank_on_faiss, &*bank_on_exact, i);
    }
    eprintln!("{setting}: {:?}", deviations.0);
    for (stage, worst) in deviations.0 {
        assert!(worst <= TOLERANCE, "{setting}: {stage} deviates by {worst}");
    }
}

/// Every array of vectors that the banks hold is the same, to the bit.
fn same_prototypes(one: &dyn ErasedBank, other: &dyn ErasedBank, image: usize) {
    let [one, other] =
        [one, other].map(|bank| Snapshot::from_bytes(Path::new("bank"), state(bank)).unwrap());
    let (one, other) = (one.reader().unwrap(), other.reader().unwrap());
    let mut compared = 0;
    for branch in 0..4 {
        let direct = (0..).map(|place| format!("branch{branch}.image{place}"));
        let names = std::iter::once(format!("branch{branch}.prototypes")).chain(direct);
        for (number, name) in names.enumerate() {
            match (one.floats(&name), other.floats(&name)) {
                (Ok(one), Ok(other)) => {
                    assert_eq!(one, other, "{name} after image {image}");
                    compared += 1;
                }
                // A bank of one kind has no arrays of the other.
                (Err(_), Err(_)) if number == 0 => {}
                (Err(_), Err(_)) => break,
                _ => panic!("only one bank has {name}"),
            }
        }
    }
    assert!(compared >= 4, "{compared} arrays of vectors");
}

macro_rules! settings {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            golden(stringify!($name));
        })*
    };
}

settings!(default gcs offline kshot2 kshot2_small ls0_thd1 no_rs_top1 direct direct_kshot2);
