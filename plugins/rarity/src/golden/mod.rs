//! The golden data of `../shared/fixtures/rarity`, stage by stage.

mod fixture;

use std::collections::BTreeMap;

use fixture::File;
use ndarray::ArrayD;
use rareclip_core::{ErasedBank, Role, ScoreInput, Scorer};
use serde_json::Value;

use crate::direct::DirectBank;
use crate::prototype::PrototypeBank;
use crate::scorer::RarityScorer;
use crate::{DirectOptions, PrototypeOptions, RarityOptions, Rescoring, Sampler, ShotMixing};

/// The tolerance that the golden data's own description calls fair.
const TOLERANCE: f32 = 1e-5;

/// The largest deviation of every stage.
#[derive(Default)]
struct Deviations(BTreeMap<&'static str, f32>);

impl Deviations {
    fn compare<'a>(
        &mut self,
        stage: &'static str,
        found: impl IntoIterator<Item = &'a f32>,
        expected: &'a ArrayD<f32>,
    ) {
        let worst = rareclip_testkit::distance(found, expected);
        let entry = self.0.entry(stage).or_default();
        *entry = entry.max(worst);
    }

    fn check(&self, setting: &str) {
        eprintln!("{setting}: {:?}", self.0);
        for (stage, &worst) in &self.0 {
            assert!(worst <= TOLERANCE, "{setting}: {stage} deviates by {worst}");
        }
    }
}

enum Bank {
    Prototype(PrototypeBank),
    Direct(DirectBank),
}

impl Bank {
    fn get(&mut self) -> &mut dyn ErasedBank {
        match self {
            Self::Prototype(bank) => bank,
            Self::Direct(bank) => bank,
        }
    }
}

fn build(params: &Value) -> (Bank, RarityScorer) {
    let number = |key: &str| params[key].as_f64().unwrap();
    let count = |key: &str| params[key].as_u64().unwrap() as usize;
    let direct = params["algorithm"] == "rareclip_d";
    let bank = if direct {
        let options = DirectOptions {
            blocks: vec![2, 4],
            image_share: number("keep_fratio"),
            rarity_threshold: number("rare_thd"),
            keep_images: count("keep_snum"),
            ..DirectOptions::default()
        };
        Bank::Direct(DirectBank::new(&options, &fixture::backbone()).unwrap())
    } else {
        let gcs = params["sampler"] == "GCS";
        let options = PrototypeOptions {
            blocks: vec![2, 4],
            capacity: number("keep_ftime"),
            neighbours: count("topk"),
            looseness: number("LS_ratio"),
            rarity_threshold: number("rare_thd"),
            keep_images: count("keep_snum"),
            sampler: if gcs {
                Sampler::GreedyCoreset
            } else {
                Sampler::SequentialCoreset
            },
            ..PrototypeOptions::default()
        };
        Bank::Prototype(PrototypeBank::new(&options, &fixture::backbone()).unwrap())
    };
    let rescoring = Rescoring {
        enabled: params["Rs"] == 1,
        period: count("Rs_freq"),
        max_neighbours: count("max_Rs_num"),
        temperature: number("Rs_temp") as f32,
    };
    let options = RarityOptions {
        rarity_threshold: number("rare_thd"),
        // The reference forgets nothing where it does not re-score.
        keep_images: if rescoring.enabled {
            count("keep_inum")
        } else {
            1000
        },
        rescoring,
        shot_mixing: if direct {
            ShotMixing::Direct
        } else {
            ShotMixing::Rareclip
        },
        ..RarityOptions::default()
    };
    (
        bank,
        RarityScorer::new(&options, &fixture::backbone(), &[2, 4]).unwrap(),
    )
}

/// Runs a setting and compares everything that was recorded of it.
fn golden(setting: &str) {
    let Some(folder) = fixture::folder(&format!("golden {setting}")) else {
        return;
    };
    let inputs = File::open(&folder, "inputs");
    let features_file = File::open(&folder, "features");
    let file = File::open(&folder, setting);
    let params = std::fs::read_to_string(folder.join("params.json")).unwrap();
    let params = &serde_json::from_str::<Value>(&params).unwrap()[setting];
    let shots = params["k_shot"].as_u64().unwrap() as usize;
    let (mut bank, mut scorer) = build(params);
    let mut deviations = Deviations::default();
    for (i, features) in fixture::images(&inputs).iter().enumerate() {
        let prior = fixture::prior(&inputs, features);
        deviations.compare(
            "text_map_raw",
            &prior.patches,
            &features_file.at("text_map_raw", &[i]),
        );
        deviations.compare(
            "text_prob",
            [&prior.image],
            &features_file.at("text_prob", &[i]),
        );
        let assessment = bank.get().assess(features).unwrap();
        let update = file.number("updated", &[i]) == 1.0;
        let role = if i < shots { Role::Normal } else { Role::Query };
        let input = ScoreInput {
            features,
            prior: Some(&prior),
            evidence: Some(&assessment.evidence),
            role,
            update,
        };
        if role == Role::Query {
            evidence(&mut deviations, &file, i, &input);
            stages(&mut deviations, &file, i, &input, &scorer);
        }
        let (scored, carry) = scorer.assess(&input).unwrap();
        if let Some(scored) = &scored {
            deviations.compare("final_map", &scored.map.values, &file.at("final_map", &[i]));
            deviations.compare(
                "score_raw",
                [&scored.raw_score],
                &file.at("score_raw", &[i]),
            );
            deviations.compare("score", [&scored.score], &file.at("score", &[i]));
        }
        assert_eq!(scored.is_some(), file.number("has_output", &[i]) == 1.0);
        if update {
            scorer.absorb(&input, carry).unwrap();
            bank.get().absorb(features, assessment.carry, role).unwrap();
        }
        memories(&mut deviations, &file, &features_file, i, &bank, &scorer);
    }
    remembered(&mut deviations, &file, &scorer, shots);
    deviations.check(setting);
}

/// Branches in the order of the golden data: `[neighbourhood, layer]`.
fn numbered<T>(branches: impl IntoIterator<Item = T>) -> impl Iterator<Item = ([usize; 2], T)> {
    branches
        .into_iter()
        .enumerate()
        .map(|(i, branch)| ([i / 2, i % 2], branch))
}

fn evidence(deviations: &mut Deviations, file: &File, i: usize, input: &ScoreInput<'_>) {
    for ([r, layer], branch) in numbered(&input.evidence.unwrap().branches) {
        let side = ["", ", 3 x 3 patches"][r];
        assert_eq!(branch.source, format!("block {}{side}", [2, 4][layer]));
        let at = [i, r, layer];
        deviations.compare("rl_map", &branch.scores, &file.at("rl_map", &at));
        if let Some(normal) = &branch.normal_scores {
            deviations.compare("rl_kshot_map", normal, &file.at("rl_kshot_map", &at));
        }
        assert_eq!(branch.normal_scores.is_some(), file.has("rl_kshot_map"));
    }
}

fn stages(
    deviations: &mut Deviations,
    file: &File,
    i: usize,
    input: &ScoreInput<'_>,
    scorer: &RarityScorer,
) {
    let stages = scorer.stages(input).unwrap();
    let foreground = stages.foreground.as_ref().unwrap();
    deviations.compare(
        "foreground_map",
        foreground,
        &file.at("foreground_map", &[i]),
    );
    let mask = file.at("foreground_mask", &[i]);
    let expected: Vec<usize> = mask
        .iter()
        .enumerate()
        .filter(|(_, set)| **set == 1.0)
        .map(|(patch, _)| patch)
        .collect();
    assert_eq!(
        stages.foreground_patches, expected,
        "foreground_mask of image {i}"
    );
    deviations.compare(
        "text_map",
        stages.text_map.as_ref().unwrap(),
        &file.at("text_map", &[i]),
    );
    for (layer, unit) in stages.appearance.iter().enumerate() {
        deviations.compare("aaif", unit, &file.at("aaif", &[i, layer]));
    }
    for (name, value) in [
        ("foreground_score_avg", stages.image_rarity_online),
        ("foreground_score", stages.image_rarity),
    ] {
        deviations.compare(name, [&value], &file.at(name, &[i]));
    }
    for (name, map) in [
        ("rare_avg", &stages.rare_online),
        ("rare_mixed", &stages.rare_mixed),
        ("rare_with_foreground", &stages.rare_with_foreground),
        ("combined", &stages.combined),
    ] {
        deviations.compare(name, map, &file.at(name, &[i]));
    }
    let image = crate::scorer::Remembered {
        embedding: input.features.embedding.to_vec(),
        appearance: stages.appearance,
        raw_score: 0.0,
    };
    let Some(chosen) = scorer.memory.chosen(&image, scorer.rescoring()) else {
        assert!(!file.has("rs_len") || file.number("rs_len", &[i]) == 0.0);
        return;
    };
    let (len, k) = (
        file.number("rs_len", &[i]) as usize,
        file.number("rs_k", &[i]) as usize,
    );
    assert_eq!((chosen.similarity.len(), chosen.neighbours.len()), (len, k));
    let first = |name: &str, n: usize| {
        file.at(name, &[i])
            .slice_axis(ndarray::Axis(0), (0..n).into())
            .to_owned()
    };
    deviations.compare("rs_sim_raw", &chosen.similarity, &first("rs_sim_raw", len));
    let mut neighbours = chosen.neighbours;
    neighbours.sort_by_key(|&(place, _)| place);
    let places: Vec<f32> = neighbours.iter().map(|&(place, _)| place as f32).collect();
    assert_eq!(
        places,
        first("rs_neighbor_idx", k)
            .iter()
            .copied()
            .collect::<Vec<_>>()
    );
    let similarity: Vec<f32> = neighbours
        .iter()
        .map(|&(_, similarity)| similarity)
        .collect();
    deviations.compare("rs_neighbor_sim", &similarity, &first("rs_neighbor_sim", k));
}

fn memories(
    deviations: &mut Deviations,
    file: &File,
    features: &File,
    i: usize,
    bank: &Bank,
    scorer: &RarityScorer,
) {
    let normals = scorer.memory.normals.len();
    assert_eq!(
        normals + scorer.memory.recent.len(),
        file.number("aaif_count", &[i]) as usize
    );
    // The prototype at `origin` is that row of `patch_features`.
    let patch = |origin: f32, r: usize, layer: usize| {
        let (image, patch) = (origin as usize / 64, origin as usize % 64);
        features.at("patch_features", &[image, r, layer, patch])
    };
    match bank {
        Bank::Prototype(bank) => {
            for ([r, layer], branch) in numbered(&bank.branches) {
                let origins = file.at("pfm_origin", &[i, r, layer]);
                let origins: Vec<f32> = origins.iter().copied().filter(|&o| o >= 0.0).collect();
                assert_eq!(branch.index.len(), origins.len());
                let vectors = branch.index.vectors().unwrap();
                for (&origin, vector) in origins.iter().zip(vectors.rows()) {
                    deviations.compare("pfm", vector, &patch(origin, r, layer));
                }
                let matrix = branch.recurrence.matrix();
                let shape: Vec<f32> = matrix.shape().iter().map(|&n| n as f32).collect();
                assert_eq!(
                    shape,
                    file.at("psm_shape", &[i])
                        .iter()
                        .copied()
                        .collect::<Vec<_>>()
                );
                let sum = file.at("psm_sum", &[i, r, layer]);
                let relative = matrix.sum() / sum.sum();
                deviations.compare("psm_sum, relative", [&relative], &ArrayD::ones(sum.shape()));
                let name = format!("psm.{i:02}");
                if file.has(&name) {
                    deviations.compare("psm", &matrix, &file.at(&name, &[r, layer]));
                }
                if file.has("normal_count") {
                    let expected = file.number("normal_count", &[i, r, layer]) as usize;
                    assert_eq!(branch.normal_count, expected, "normal_count of image {i}");
                }
            }
        }
        Bank::Direct(bank) => {
            for ([r, layer], branch) in numbered(&bank.branches) {
                assert_eq!(
                    branch.images.len(),
                    file.number("bank_images", &[i]) as usize
                );
                for (slot, image) in branch.images.iter().enumerate() {
                    let origins = file.at("pfm_origin", &[i, r, layer, slot]);
                    let vectors = image.vectors().unwrap();
                    assert_eq!(image.len(), origins.len());
                    for (&origin, vector) in origins.iter().zip(vectors.rows()) {
                        deviations.compare("pfm", vector, &patch(origin, r, layer));
                    }
                }
            }
        }
    }
}

fn remembered(deviations: &mut Deviations, file: &File, scorer: &RarityScorer, shots: usize) {
    let memory = &scorer.memory;
    for layer in 0..2 {
        let all = memory.normals.iter().chain(&memory.recent);
        let units = all.flat_map(|image| &image.appearance[layer]);
        deviations.compare(
            "final.aaif_memory",
            units,
            &file.at("final.aaif_memory", &[layer]),
        );
    }
    assert_eq!(memory.normals.len(), shots);
    if file.has("final.score_memory") {
        let scores = memory.recent.iter().map(|image| &image.raw_score);
        deviations.compare(
            "final.score_memory",
            scores,
            &file.get("final.score_memory"),
        );
        let embeddings = memory.recent.iter().flat_map(|image| &image.embedding);
        let expected = file.get("final.image_feature_memory");
        deviations.compare("final.image_feature_memory", embeddings, &expected);
    }
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
