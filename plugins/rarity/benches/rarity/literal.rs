//! The specification word by word.

use std::time::{Duration, Instant};

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array2, Axis};
use rareclip_core::snapshot::{Snapshot, SnapshotWriter};
use rareclip_core::{ErasedBank, Features};
use rayon::prelude::*;

use crate::stage::{BLOCKS, WIDTH};

const K: usize = 3;
const CAPACITY: usize = 4107;
const KEEP: usize = 200;

struct Branch {
    block: usize,
    side: usize,
    /// B `[prototypes, width]`.
    bank: Vec<f32>,
    /// R `[images, prototypes]`.
    matrix: Array2<f32>,
}

/// All branches, one after the other, each on all cores.
pub(crate) struct Literal {
    branches: Vec<Branch>,
    similarity: Vec<f32>,
    own: Vec<f32>,
}

fn product(a: &[f32], b: &[f32], out: &mut Vec<f32>) {
    let (rows, columns) = (a.len() / WIDTH, b.len() / WIDTH);
    out.resize(rows * columns, 0.0);
    matmul(
        MatMut::from_row_major_slice_mut(out, rows, columns),
        Accum::Replace,
        MatRef::from_row_major_slice(a, rows, WIDTH),
        MatRef::from_row_major_slice(b, columns, WIDTH).transpose(),
        1.0,
        Par::rayon(0),
    );
}

fn loose(values: &mut [f32]) {
    let rank = (values.len() as f64 * 0.99).floor() as usize;
    let mut sorted = values.to_vec();
    let scale = *sorted.select_nth_unstable_by(rank - 1, f32::total_cmp).1;
    values
        .iter_mut()
        .for_each(|value| *value = (*value / scale).min(1.0));
}

fn features(tokens: &Array2<f32>, side: usize) -> Vec<f32> {
    let grid = 37;
    let mut out = vec![0.0; tokens.len()];
    out.par_chunks_mut(WIDTH)
        .enumerate()
        .for_each(|(patch, out)| {
            let (row, column) = ((patch / grid) as isize, (patch % grid) as isize);
            let reach = (side / 2) as isize;
            for y in row - reach..=row + reach {
                for x in column - reach..=column + reach {
                    let other = y.clamp(0, grid as isize - 1) * grid as isize
                        + x.clamp(0, grid as isize - 1);
                    let token = tokens.row(other as usize);
                    out.iter_mut()
                        .zip(&token)
                        .for_each(|(sum, value)| *sum += value);
                }
            }
            let norm = out.iter().map(|value| value * value).sum::<f32>().sqrt();
            out.iter_mut().for_each(|value| *value /= norm);
        });
    out
}

impl Literal {
    /// Starts from what `bank` holds.
    pub(crate) fn of(bank: &dyn ErasedBank) -> Self {
        let mut branches = Vec::new();
        let snapshot = saved(bank);
        let reader = snapshot.reader().unwrap();
        for number in 0..2 * BLOCKS.len() {
            let rows = reader
                .matrix(&format!("branch{number}.recurrence"))
                .unwrap();
            let oldest: usize = reader.value(&format!("branch{number}.next")).unwrap();
            let order: Vec<usize> = (0..KEEP).map(|j| (oldest + j) % KEEP).collect();
            let matrix = rows
                .t()
                .select(Axis(0), &order)
                .as_standard_layout()
                .into_owned();
            let bank = reader
                .floats(&format!("branch{number}.prototypes"))
                .unwrap()
                .1;
            branches.push(Branch {
                block: BLOCKS[number % BLOCKS.len()],
                side: [1, 3][number / BLOCKS.len()],
                bank,
                matrix,
            });
        }
        Self {
            branches,
            similarity: Vec::new(),
            own: Vec::new(),
        }
    }

    /// The share of the prototypes that `bank` holds in the same places.
    pub(crate) fn same_prototypes(&self, bank: &dyn ErasedBank) -> f64 {
        let snapshot = saved(bank);
        let reader = snapshot.reader().unwrap();
        let (mut same, mut all) = (0u32, 0u32);
        for (number, branch) in self.branches.iter().enumerate() {
            let theirs = reader
                .floats(&format!("branch{number}.prototypes"))
                .unwrap()
                .1;
            for (a, b) in branch.bank.chunks(WIDTH).zip(theirs.chunks(WIDTH)) {
                all += 1;
                same += u32::from(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5));
            }
        }
        f64::from(same) / f64::from(all)
    }

    /// One image. Returns the time of features, similarity, top-k and rarity, self-similarity, and
    /// the rest.
    pub(crate) fn image(&mut self, image: &Features) -> [Duration; 5] {
        let mut times = [Duration::ZERO; 5];
        for branch in &mut self.branches {
            let mut lap = Instant::now();
            let mut next = |stage: usize| {
                times[stage] += lap.elapsed();
                lap = Instant::now();
            };
            let queries = features(&image.tokens[&branch.block], branch.side);
            next(0);
            product(&queries, &branch.bank, &mut self.similarity);
            next(1);
            let (weighed, best, rarity) = branch.rarity(&self.similarity);
            std::hint::black_box(rarity);
            next(2);
            branch.extend(&queries, &weighed, &best);
            next(4);
            product(&branch.bank, &branch.bank, &mut self.own);
            let count = branch.bank.len() / WIDTH;
            let nearest: Vec<f32> = self
                .own
                .par_chunks(count)
                .enumerate()
                .map(|(m, row)| {
                    row[..m]
                        .iter()
                        .fold(0.0f32, |a, &b| if b > a { b } else { a })
                })
                .collect();
            next(3);
            branch.keep(&nearest);
            next(4);
        }
        times
    }
}

impl Branch {
    /// P `[images, patches]`, q `[prototypes]` and the rarity `[patches]`.
    fn rarity(&self, similarity: &[f32]) -> (Array2<f32>, Vec<f32>, Vec<f32>) {
        let count = self.matrix.ncols();
        let patches = similarity.len() / count;
        let top: Vec<[(f32, usize); K]> = similarity
            .par_chunks(count)
            .map(|row| {
                let mut top = [(f32::NEG_INFINITY, 0); K];
                for (m, &value) in row.iter().enumerate() {
                    if value > top[K - 1].0 {
                        let mut at = K - 1;
                        while at > 0 && value > top[at - 1].0 {
                            top[at] = top[at - 1];
                            at -= 1;
                        }
                        top[at] = (value, m);
                    }
                }
                top
            })
            .collect();
        let mut values: Vec<f32> = top.iter().flatten().map(|entry| entry.0).collect();
        loose(&mut values);
        let mut weighed = Array2::zeros((self.matrix.nrows(), patches));
        weighed
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .zip(self.matrix.axis_iter(Axis(0)))
            .for_each(|(mut out, row)| {
                for (n, out) in out.iter_mut().enumerate() {
                    let sum: f32 = (0..K).map(|i| values[n * K + i] * row[top[n][i].1]).sum();
                    *out = sum / K as f32;
                }
            });
        let voters = (self.matrix.nrows() as f64 * 0.3).ceil() as usize;
        let rarity = weighed
            .axis_iter(Axis(1))
            .into_par_iter()
            .map(|column| {
                let mut column = column.to_vec();
                column.select_nth_unstable_by(voters - 1, |a, b| b.total_cmp(a));
                1.0 - column[..voters].iter().sum::<f32>() / voters as f32
            })
            .collect();
        let mut best = similarity
            .par_chunks(count * 256)
            .map(|rows| {
                let mut best = vec![f32::NEG_INFINITY; count];
                for row in rows.chunks(count) {
                    for (best, &value) in best.iter_mut().zip(row) {
                        *best = if value > *best { value } else { *best };
                    }
                }
                best
            })
            .reduce(
                || vec![f32::NEG_INFINITY; count],
                |mut a, b| {
                    a.iter_mut().zip(b).for_each(|(a, b)| *a = a.max(b));
                    a
                },
            );
        loose(&mut best);
        (weighed, best, rarity)
    }

    /// B <- [B ; Q], R <- [[R, P], [q, 1]].
    fn extend(&mut self, queries: &[f32], weighed: &Array2<f32>, best: &[f32]) {
        self.bank.extend_from_slice(queries);
        let (images, old) = self.matrix.dim();
        let mut matrix = Array2::ones((images + 1, old + weighed.ncols()));
        matrix
            .slice_mut(ndarray::s![..images, ..old])
            .assign(&self.matrix);
        matrix
            .slice_mut(ndarray::s![..images, old..])
            .assign(weighed);
        let best = ndarray::ArrayView1::from(best);
        matrix.slice_mut(ndarray::s![images, ..old]).assign(&best);
        self.matrix = matrix;
    }

    /// Keeps the prototypes least similar to their nearest earlier one, and forgets the oldest
    /// image.
    fn keep(&mut self, nearest: &[f32]) {
        let mut kept: Vec<usize> = (0..nearest.len()).collect();
        kept.sort_by(|&a, &b| nearest[a].total_cmp(&nearest[b]));
        kept.truncate(CAPACITY);
        kept.sort_unstable();
        for (to, &from) in kept.iter().enumerate() {
            self.bank
                .copy_within(from * WIDTH..(from + 1) * WIDTH, to * WIDTH);
        }
        self.bank.truncate(kept.len() * WIDTH);
        let rows = self.matrix.nrows().saturating_sub(KEEP);
        self.matrix = self
            .matrix
            .slice(ndarray::s![rows.., ..])
            .select(Axis(1), &kept);
    }
}

fn saved(bank: &dyn ErasedBank) -> Snapshot {
    let mut writer = SnapshotWriter::new();
    bank.save(&mut writer);
    Snapshot::from_bytes("bank".as_ref(), writer.to_bytes().unwrap()).unwrap()
}
