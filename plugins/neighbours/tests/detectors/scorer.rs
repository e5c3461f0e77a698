//! What the scorer makes of evidence.

use ndarray::Array1;
use rareclip_core::ComponentError;
use rareclip_core::{
    BoxError, Branch, Distance, ErasedScorer, Evidence, Role, ScoreInput, Scored, ScorerFactory,
};
use rareclip_neighbours::{ImageScore, NearestNeighbourOptions};

use crate::{QUERY, close, one, reason, spec};

fn scorer(options: &NearestNeighbourOptions) -> Box<dyn ErasedScorer> {
    options.build(&spec(&[(1, 2)]), &[1]).unwrap()
}

fn branch(rarity: [f32; 4]) -> Branch {
    Branch::of_block(1, 1, Distance::Cosine, Array1::from_vec(rarity.to_vec()))
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
    assert_eq!(wrong(None), ComponentError::NoEvidence);
    assert_eq!(
        wrong(Some(&evidence(&[], None))),
        ComponentError::NoEvidence
    );
    let nan = evidence(&[[0.0, f32::NAN, 0.0, 0.0]], None);
    assert!(matches!(
        wrong(Some(&nan)),
        ComponentError::NonFinite { .. }
    ));
    let nan = evidence(&[[0.0; 4]], Some(f32::INFINITY));
    assert!(matches!(
        wrong(Some(&nan)),
        ComponentError::NonFinite { .. }
    ));
    let mut short = evidence(&[[0.0; 4]], None);
    short.branches[0].scores = Array1::zeros(3);
    assert!(matches!(wrong(Some(&short)), ComponentError::Shape { .. }));
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
