//! The other slots, and sets that are looked at as a whole.

use std::collections::BTreeSet;

use ndarray::Array4;
use rareclip_core::{
    BackboneFactory, ErasedScorer, FeatureSource, Features, MemoryBankFactory, PromptHeadFactory,
    Role, ScoreInput, ScorerFactory,
};
use rareclip_process::{BackboneOptions, PromptOptions, ScorerOptions};
use serde_json::{Value, json};

use super::{assert_says, bank, host, image, options, spec};

/// A plan that dies once.
fn dying(slot: &str, on: &str, nth: u64, folder: &tempfile::TempDir) -> Value {
    let marker = folder.path().join(format!("{slot}-{on}"));
    json!({ "slot": slot, "wrong": [{ "on": on, "nth": nth, "do": "die", "once": marker }] })
}

fn scorer(plan: &Value) -> Box<dyn ErasedScorer> {
    let options = ScorerOptions {
        command: host(plan),
        ..ScorerOptions::default()
    };
    options.build(&spec(), &[1]).unwrap()
}

/// The scores of a stream of images.
fn scores(scorer: &mut dyn ErasedScorer, images: std::ops::Range<u32>) -> Vec<u32> {
    let evidence = bank(&json!({}));
    let score = |at| {
        let features = image(at);
        let evidence = evidence.assess(&features).unwrap().evidence;
        let input = ScoreInput {
            features: &features,
            prior: None,
            evidence: Some(&evidence),
            role: Role::Query,
            update: true,
        };
        let assessment = scorer.assess(&input).unwrap();
        let scored = assessment.scored.unwrap();
        assert_eq!(scored.map.values.shape(), [8, 8]);
        scorer.absorb(&input, assessment.carry).unwrap();
        scored.score.to_bits()
    };
    images.map(score).collect()
}

#[test]
fn a_scorer_goes_on_to_the_bit_after_its_host_failed() {
    let expected = scores(&mut *scorer(&json!({ "slot": "scorer" })), 0..6);
    assert!(expected.windows(2).all(|pair| pair[0] != pair[1]));
    let folder = tempfile::tempdir().unwrap();
    for (on, nth) in [("assess", 4), ("absorb", 3)] {
        let mut scorer = scorer(&dying("scorer", on, nth, &folder));
        assert_eq!(scores(&mut *scorer, 0..6), expected, "{on}");
        assert_eq!(scorer.nominal_range(), (0.0, 2.0));
    }
}

#[test]
fn a_known_normal_gets_no_score() {
    let scorer = scorer(&json!({ "slot": "scorer" }));
    let features = image(0);
    let evidence = bank(&json!({})).assess(&features).unwrap().evidence;
    let input = ScoreInput {
        features: &features,
        prior: None,
        evidence: Some(&evidence),
        role: Role::Normal,
        update: true,
    };
    assert!(scorer.assess(&input).unwrap().scored.is_none());
}

#[test]
fn a_prompt_head_without_state_is_replaced_and_one_with_state_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = dying("prompt", "prior", 1, &folder);
    plan["state"] = "none".into();
    let options = |plan: &Value| PromptOptions {
        command: host(plan),
        blocks: vec![1],
        ..PromptOptions::default()
    };
    let head = options(&plan).build(&spec()).unwrap();
    let prior = head.prior(&image(0)).unwrap();
    assert_eq!((prior.image, prior.patches.to_vec()), (0.25, vec![0.5; 4]));
    assert_eq!(head.weights(), "outside 1 none");
    plan["state"] = "kept".into();
    let error = options(&plan).build(&spec()).err().unwrap();
    assert_says(&error.to_string(), &["a prompt has no `state`"]);
}

#[test]
fn a_backbone_gives_every_image_of_a_batch_what_it_gives_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = dying("backbone", "encode", 2, &folder);
    plan["state"] = "none".into();
    let options = BackboneOptions {
        command: host(&plan),
        ..BackboneOptions::default()
    };
    let backbone = options.build(&BTreeSet::from([5])).unwrap();
    assert_eq!(backbone.spec().blocks, [(5, 3)]);
    let images = Array4::from_shape_fn((3, 3, 8, 8), |(n, c, y, x)| {
        (n * 31 + c * 7 + y * 3 + x) as f32
    });
    let together = backbone.encode(images.view()).unwrap();
    assert_eq!(together.len(), 3);
    for (at, features) in together.iter().enumerate() {
        let alone = backbone
            .encode(images.slice(ndarray::s![at..=at, .., .., ..]))
            .unwrap();
        assert_eq!(alone[0].tokens, features.tokens);
        features.check().unwrap();
    }
    assert!(
        backbone
            .encode(images.slice(ndarray::s![..0, .., .., ..]))
            .unwrap()
            .is_empty()
    );
    let small = images.slice(ndarray::s![.., .., ..4, ..4]);
    assert_says(
        &backbone.encode(small).unwrap_err().to_string(),
        &["[batch, 3, 8, 8]"],
    );
}

#[test]
fn a_set_is_shown_again_from_the_beginning_when_the_host_fails_on_the_way() {
    let images: Vec<Features> = (0..5).map(image).collect();
    let images: &dyn FeatureSource = &images.as_slice();
    let evidence = |plan: &Value| -> Vec<Vec<f32>> {
        let bank = options(plan).build(&spec()).unwrap();
        let evidence = bank.assess_batch(images).unwrap();
        evidence
            .iter()
            .map(|one| one.branches[0].scores.to_vec())
            .collect()
    };
    let expected = evidence(&json!({ "learning": "batch", "state": "none" }));
    assert_eq!(expected.len(), 5);
    let folder = tempfile::tempdir().unwrap();
    for (on, nth) in [("batch", 1), ("batch_image", 3), ("batch_evidence", 2)] {
        let mut plan = dying("bank", on, nth, &folder);
        plan["learning"] = "batch".into();
        plan["state"] = "none".into();
        assert_eq!(evidence(&plan), expected, "{on}");
    }
}
