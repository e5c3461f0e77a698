//! Agreement with brute force. Vectors hold small whole numbers, so that every inner product is exact and ties are ties.
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

use ndarray::Array2;
use proptest::prelude::*;
use rareclip_core::VectorIndex;
use rareclip_core::index::{Neighbours, VectorIndexFactory};
use rareclip_index_exact::{ExactIndex, ExactOptions};

fn index(vectors: &Array2<f32>) -> Box<dyn VectorIndex> {
    let mut index = ExactOptions {}
        .build(vectors.ncols(), vectors.nrows())
        .unwrap();
    index.append(vectors.view()).unwrap();
    index
}

/// The best `k` of the vectors at `range` for one query, ties by arrival.
fn best(
    query: &[f32],
    vectors: &Array2<f32>,
    range: std::ops::Range<usize>,
    k: usize,
) -> Vec<(f32, u32)> {
    let dot = |m: usize| {
        query
            .iter()
            .zip(vectors.row(m))
            .map(|(a, b)| a * b)
            .sum::<f32>()
    };
    let mut all: Vec<(f32, u32)> = range.map(|m| (dot(m), m as u32)).collect();
    all.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap());
    all.truncate(k);
    all
}

fn rows(found: &Neighbours) -> Vec<Vec<(f32, u32)>> {
    let pairs = found
        .similarity
        .rows()
        .into_iter()
        .zip(found.position.rows());
    pairs
        .map(|(s, p)| s.iter().copied().zip(p.iter().copied()).collect())
        .collect()
}

fn matrix(rows: std::ops::Range<usize>, width: usize) -> impl Strategy<Value = Array2<f32>> {
    rows.prop_flat_map(move |rows| {
        prop::collection::vec(-2i8..=2, rows * width).prop_map(move |values| {
            let values = values.into_iter().map(f32::from).collect();
            Array2::from_shape_vec((rows, width), values).unwrap()
        })
    })
}

/// Queries and vectors of one width. Few values and a small width: many duplicates.
fn case() -> impl Strategy<Value = (Array2<f32>, Array2<f32>)> {
    (1usize..7).prop_flat_map(|width| (matrix(1..40, width), matrix(1..200, width)))
}

proptest! {
    #[test]
    fn a_search_is_brute_force((queries, vectors) in case(), k in 1usize..9) {
        let found = index(&vectors).search(queries.view(), k).unwrap();
        let expected: Vec<_> = queries
            .rows()
            .into_iter()
            .map(|q| best(&q.to_vec(), &vectors, 0..vectors.nrows(), k))
            .collect();
        prop_assert_eq!(rows(&found), expected);
    }

    #[test]
    fn a_survey_is_a_search_in_both_directions((queries, vectors) in case(), k in 1usize..9) {
        let index = index(&vectors);
        let survey = index.survey(queries.view(), k).unwrap();
        prop_assert_eq!(&survey.neighbours, &index.search(queries.view(), k).unwrap());
        for (vector, &found) in vectors.rows().into_iter().zip(&survey.best_query) {
            let best = best(&vector.to_vec(), &queries, 0..queries.nrows(), 1)[0].0;
            prop_assert_eq!(found, best);
        }
    }

    #[test]
    fn the_first_vectors_can_be_searched_alone(
        (queries, vectors) in case(), k in 1usize..5, share in 0.0f64..=1.0,
    ) {
        let first = (vectors.nrows() as f64 * share) as usize;
        let found = index(&vectors).search_first(queries.view(), k, first).unwrap();
        for (query, row) in queries.rows().into_iter().zip(rows(&found)) {
            prop_assert_eq!(row, best(&query.to_vec(), &vectors, 0..first, k));
        }
    }

    #[test]
    fn nearest_earlier_looks_between_floor_and_position(
        vectors in matrix(1..80, 3),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        floor in 0usize..40,
        k in 1usize..9,
    ) {
        let positions: Vec<usize> = picks.iter().map(|pick| pick.index(vectors.nrows())).collect();
        let found = index(&vectors).nearest_earlier(&positions, floor, k).unwrap();
        for (&position, row) in positions.iter().zip(rows(&found)) {
            let query = vectors.row(position).to_vec();
            let mut expected = best(&query, &vectors, floor..position.max(floor), k);
            expected.resize(k, (f32::NEG_INFINITY, u32::MAX));
            prop_assert_eq!(row, expected);
        }
    }

    #[test]
    fn retained_vectors_close_ranks(
        vectors in matrix(1..60, 4), more in matrix(1..9, 4), keep in prop::collection::vec(any::<bool>(), 60),
    ) {
        let positions: Vec<usize> = (0..vectors.nrows()).filter(|&m| keep[m]).collect();
        let mut index = index(&vectors);
        index.retain(&positions).unwrap();
        index.append(more.view()).unwrap();
        let mut expected: Vec<f32> =
            vectors.select(ndarray::Axis(0), &positions).iter().copied().collect();
        expected.extend(&more);
        prop_assert_eq!(index.vectors().unwrap().into_owned(), expected);
        prop_assert_eq!(index.len(), positions.len() + more.nrows());
    }
}

/// Sizes beyond one tile in both directions.
#[test]
fn tiles_join_without_a_seam() {
    let value =
        |seed: usize| move |(i, j): (usize, usize)| ((i * 31 + j * 17 + seed) % 7) as f32 - 3.0;
    let queries = Array2::from_shape_fn((1000, 3), value(1));
    let vectors = Array2::from_shape_fn((2500, 3), value(2));
    let index = index(&vectors);
    let survey = index.survey(queries.view(), 5).unwrap();
    for (query, row) in queries.rows().into_iter().zip(rows(&survey.neighbours)) {
        assert_eq!(row, best(&query.to_vec(), &vectors, 0..2500, 5));
    }
    for (m, &found) in survey.best_query.iter().enumerate() {
        assert_eq!(
            found,
            best(&vectors.row(m).to_vec(), &queries, 0..1000, 1)[0].0
        );
    }
    let all: Vec<usize> = (0..2500).collect();
    let found = index.nearest_earlier(&all, 700, 2).unwrap();
    for (position, row) in rows(&found).into_iter().enumerate() {
        let mut expected = best(
            &vectors.row(position).to_vec(),
            &vectors,
            700..position.max(700),
            2,
        );
        expected.resize(2, (f32::NEG_INFINITY, u32::MAX));
        assert_eq!(row, expected);
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
    let vectors = Array2::zeros((3, 2));
    let mut index = index(&vectors);
    let narrow = Array2::zeros((1, 1));
    let message = |result: Result<(), rareclip_core::BoxError>| result.unwrap_err().to_string();
    assert!(message(index.append(narrow.view())).contains("width 1"));
    assert!(message(index.search(narrow.view(), 1).map(drop)).contains("width 1"));
    assert!(message(index.retain(&[3])).contains("holds 3"));
    assert!(message(index.retain(&[1, 0])).contains("ascend"));
    assert!(message(index.nearest_earlier(&[7], 0, 1).map(drop)).contains("position 7"));
    let queries = Array2::zeros((1, 2));
    assert!(message(index.search_first(queries.view(), 1, 4).map(drop)).contains("holds 3"));
    assert!(ExactIndex::new(0, 1).is_err());
}

#[test]
fn an_empty_index_finds_nothing() {
    let index = ExactIndex::new(2, 0).unwrap();
    let survey = index.survey(Array2::zeros((3, 2)).view(), 2).unwrap();
    assert_eq!(
        (survey.neighbours.similarity.dim(), survey.best_query.len()),
        ((3, 0), 0)
    );
}
