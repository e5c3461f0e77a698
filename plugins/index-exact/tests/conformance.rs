//! The contract of a vector index, and what this one promises besides.
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

use ndarray::Array2;
use proptest::prelude::*;
use rareclip_core::VectorIndex;
use rareclip_core::index::VectorIndexFactory;
use rareclip_index_exact::{ExactIndex, ExactOptions};
use rareclip_testkit::conformance::package;
use rareclip_testkit::index::{patches, recall};

#[test]
fn every_component_keeps_its_contract() {
    package("rareclip-index-exact").check();
}

#[test]
fn exact_search_misses_nothing() {
    let (vectors, queries) = (patches(3000, 40, 20, 1, 0), patches(100, 40, 20, 1, 1));
    let found = recall(&ExactOptions {}, vectors.view(), queries.view(), 3).unwrap();
    assert_eq!(found, 1.0);
}

fn index(vectors: &Array2<f32>) -> Box<dyn VectorIndex> {
    let mut index = ExactOptions {}
        .build(vectors.ncols(), vectors.nrows())
        .unwrap();
    index.append(vectors.view()).unwrap();
    index
}

fn matrix(rows: std::ops::Range<usize>, width: usize) -> impl Strategy<Value = Array2<f32>> {
    rows.prop_flat_map(move |rows| {
        prop::collection::vec(-2i8..=2, rows * width).prop_map(move |values| {
            let values = values.into_iter().map(f32::from).collect();
            Array2::from_shape_vec((rows, width), values).unwrap()
        })
    })
}

proptest! {
    /// The contract's own numbers are fixed; here any, with many duplicates.
    #[test]
    fn a_search_is_the_trait_s_own_brute_force(
        (queries, vectors) in (1usize..7).prop_flat_map(|w| (matrix(1..40, w), matrix(1..200, w))),
        k in 1usize..9,
    ) {
        let index = index(&vectors);
        let within = index.within(queries.view(), f32::NEG_INFINITY).unwrap();
        let found = index.search(queries.view(), k).unwrap();
        for (hits, (similarity, position)) in
            within.iter().zip(found.similarity.rows().into_iter().zip(found.position.rows()))
        {
            for (hit, (&similarity, &position)) in hits.iter().zip(similarity.iter().zip(position)) {
                prop_assert_eq!((hit.similarity, hit.position), (similarity, position));
            }
        }
    }
}

/// Real numbers: the same bits whatever the number of threads.
#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let value =
        |seed: f32| move |(i, j): (usize, usize)| (seed + i as f32 * 0.37 + j as f32 * 1.3).sin();
    let queries = Array2::from_shape_fn((900, 70), value(0.1));
    let vectors = Array2::from_shape_fn((1500, 70), value(0.2));
    let index = index(&vectors);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| index.survey(queries.view(), 4).unwrap())
    };
    assert_eq!(with(1), with(5));
}

#[test]
fn memory_is_taken_once() {
    let mut index = ExactIndex::new(8, 100).unwrap();
    let bytes = index.bytes();
    index.append(Array2::zeros((100, 8)).view()).unwrap();
    index.retain(&[1, 5]).unwrap();
    assert_eq!((index.bytes(), bytes), (3200, 3200));
}

#[test]
fn requests_that_make_no_sense_say_why() {
    let mut index = index(&Array2::zeros((3, 2)));
    let narrow = Array2::zeros((1, 1));
    let message = |result: Result<(), rareclip_core::BoxError>| result.unwrap_err().to_string();
    assert!(message(index.append(narrow.view())).contains("width 1"));
    assert!(message(index.retain(&[3])).contains("holds 3"));
    assert!(message(index.retain(&[1, 0])).contains("ascend"));
    assert!(message(index.nearest_earlier(&[7], 0, 1).map(drop)).contains("position 7"));
    assert!(ExactIndex::new(0, 1).is_err());
}
