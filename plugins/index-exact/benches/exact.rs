//! Search of one full bank: the product alone, and with the search of its tiles.
#![allow(clippy::unwrap_used, reason = "a measurement may stop at a fault")]

use criterion::{Criterion, criterion_group, criterion_main};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rareclip_core::VectorIndex;
use rareclip_index_exact::ExactIndex;

const WIDTH: usize = 1024;

fn unit_rows(rows: usize, seed: u64) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut values = Array2::from_shape_fn((rows, WIDTH), |_| rng.random_range(-1.0..1.0f32));
    for mut row in values.rows_mut() {
        let norm = row.dot(&row).sqrt();
        row /= norm;
    }
    values
}

fn search(c: &mut Criterion) {
    let (queries, vectors) = (unit_rows(1369, 1), unit_rows(4107, 2));
    let mut index = ExactIndex::new(WIDTH, vectors.nrows()).unwrap();
    index.append(vectors.view()).unwrap();
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let mut group = c.benchmark_group("1369x4107x1024");
    group.sample_size(15);
    group.bench_function("product, one thread", |b| {
        let (q, v) = (queries.as_slice().unwrap(), vectors.as_slice().unwrap());
        let mut out = Mat::<f32>::zeros(vectors.nrows(), queries.nrows());
        b.iter(|| {
            matmul(
                out.as_mut(),
                Accum::Replace,
                MatRef::from_row_major_slice(v, vectors.nrows(), WIDTH),
                MatRef::from_row_major_slice(q, queries.nrows(), WIDTH).transpose(),
                1.0,
                Par::Seq,
            );
        });
    });
    group.bench_function("survey, one thread", |b| {
        b.iter(|| one.install(|| index.survey(queries.view(), 8).unwrap()));
    });
    group.bench_function("survey, all threads", |b| {
        b.iter(|| index.survey(queries.view(), 8).unwrap());
    });
    let all: Vec<usize> = (4107 - 1369..4107).collect();
    group.bench_function("self-similarity of 1369, one thread", |b| {
        b.iter(|| one.install(|| index.nearest_earlier(&all, 4107 - 1369, 8).unwrap()));
    });
    group.finish();
}

criterion_group!(benches, search);
criterion_main!(benches);
