//! What each bank says of an image.

use ndarray::Array2;
use proptest::prelude::*;
use rareclip_core::{Features, MemoryBankFactory};
use rareclip_neighbours::{CoresetOptions, ImageOptions, PatchOptions, WindowOptions};

use crate::{NORMAL, QUERY, close, coreset, features, fitted, one, patches, rarity, spec};

#[test]
fn a_patch_is_as_rare_as_its_largest_cosine_is_small() {
    let bank = fitted(&patches(), &spec(&[(1, 2)]), &[one(NORMAL)]);
    // Directions known: (1, 0), (0, 1), (0.6, 0.8). The cosines of the queries: 1; 0; 1.4 / sqrt
    // 2; 0.
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
        .map(|branch| branch.source.as_str())
        .collect();
    let squares = ["block 1, 3 x 3 patches", "block 3, 3 x 3 patches"];
    assert_eq!(names, [["block 1", "block 3"], squares].concat());
    assert!(evidence.image.is_none());
    for branch in evidence.branches {
        close(branch.scores.as_slice().unwrap(), &[0.0; 4]);
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
    // The outlier goes first; one of the other three then stands for all of them.
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
    // With clamped coordinates a corner of a 2 x 2 grid counts its own patch four times, the next
    // two twice, the last once.
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
    close(&evidence.branches[0].scores.to_vec(), &[2.0, 0.0, 0.0, 0.0]);
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
    close(&evidence.branches[0].scores.to_vec(), &[0.3; 4]);
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

#[test]
fn a_patch_is_as_rare_as_the_windows_that_hold_it_are_far_from_normal_ones() {
    let with_windows = |rows: [[f32; 2]; 4]| {
        let mut image = one(NORMAL);
        image.windows.insert(1, Array2::from(rows.to_vec()));
        image
    };
    let options = WindowOptions {
        sides: vec![1],
        ..WindowOptions::default()
    };
    let normal = with_windows([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 2.0]]);
    let bank = fitted(&options, &spec(&[(1, 2)]), &[normal]);
    let query = with_windows([[3.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]]);
    // Half of one minus the largest cosine with (1, 0) and (0, 1).
    close(&rarity(&*bank, &query)[0], &[0.0, 0.0, 0.5, 0.1]);
}

#[test]
fn a_backbone_without_the_windows_is_told_what_to_add() {
    let mut bank = WindowOptions {
        sides: vec![2],
        ..WindowOptions::default()
    }
    .build(&spec(&[(1, 2)]))
    .unwrap();
    let error = bank.collect(&one(NORMAL)).unwrap_err().to_string();
    assert!(
        error.contains("`windows`") && error.contains("[backbone]"),
        "{error}"
    );
}
