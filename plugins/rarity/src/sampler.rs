//! The choices of prototypes: which of `[rows, width]` unit vectors to keep.

use ndarray::{ArrayView2, Axis};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rareclip_core::BoxError;
use rareclip_core::index::VectorIndexFactory;

use rareclip_core::patches::normalise;

/// Rounds of k-means; the representatives hardly change after a few.
const ROUNDS: usize = 5;

/// The `keep` smallest of `distances`, ties by arrival, as ascending positions.
pub(crate) fn smallest(distances: &[f32], keep: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..distances.len()).collect();
    if keep < order.len() {
        if keep > 0 {
            order.select_nth_unstable_by(keep - 1, |&a, &b| {
                // Adding 0 makes the two zeros equal.
                (distances[a] + 0.0)
                    .total_cmp(&(distances[b] + 0.0))
                    .then(a.cmp(&b))
            });
        }
        order.truncate(keep);
        order.sort_unstable();
    }
    order
}

/// Greedy k-center: positions in the order of choice, the `protected` first rows before all others.
///
/// Distances are Euclidean; every row starts with the norm of its row of the distance matrix.
pub(crate) fn greedy(rows: ArrayView2<'_, f32>, keep: usize, protected: usize) -> Vec<usize> {
    let mut distances = rows.dot(&rows.t());
    let squares: Vec<f32> = distances.diag().to_vec();
    for (a, mut row) in distances.axis_iter_mut(Axis(0)).enumerate() {
        for (b, value) in row.iter_mut().enumerate() {
            let square = squares[a] + squares[b] - 2.0 * *value;
            *value = if a == b { 0.0 } else { square.max(0.0).sqrt() };
        }
    }
    let norm = |row: ndarray::ArrayView1<'_, f32>| row.dot(&row).sqrt();
    let mut least: Vec<f32> = distances.rows().into_iter().map(norm).collect();
    let mut chosen = Vec::with_capacity(keep);
    while chosen.len() < keep.min(least.len()) {
        let next = if chosen.len() < protected {
            chosen.len()
        } else {
            // The first of equals, so that arrival order decides.
            let better = |best: usize, m: usize| if least[m] > least[best] { m } else { best };
            (0..least.len()).reduce(better).unwrap_or(0)
        };
        chosen.push(next);
        for (least, &distance) in least.iter_mut().zip(distances.row(next)) {
            *least = least.min(distance);
        }
        least[next] = f32::NEG_INFINITY;
    }
    chosen
}

/// A uniform choice among the rows after the `protected` ones, ascending.
pub(crate) fn random(
    rows: usize,
    keep: usize,
    protected: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<usize> {
    let protected = protected.min(keep).min(rows);
    let mut others: Vec<usize> = (protected..rows).collect();
    let (chosen, _) = others.partial_shuffle(rng, (keep - protected).min(rows - protected));
    let mut kept: Vec<usize> = (0..protected).chain(chosen.iter().copied()).collect();
    kept.sort_unstable();
    kept
}

/// The rows nearest to the centres of spherical k-means, ascending; clusters without a row are made
/// up for by the rows farthest from their centre. The `protected` first rows stay in any case and
/// are not clustered.
pub(crate) fn k_means(
    rows: ArrayView2<'_, f32>,
    keep: usize,
    protected: usize,
    rng: &mut ChaCha8Rng,
    index: &dyn VectorIndexFactory,
) -> Result<Vec<usize>, BoxError> {
    let protected = protected.min(keep).min(rows.nrows());
    let others = rows.slice(ndarray::s![protected.., ..]);
    let clusters = (keep - protected).min(others.nrows());
    let mut kept: Vec<usize> = (0..protected).collect();
    if clusters == 0 {
        return Ok(kept);
    }
    let starts = random(others.nrows(), clusters, 0, rng);
    let mut centres = others.select(Axis(0), &starts);
    let assign = |centres: &ndarray::Array2<f32>| -> Result<_, BoxError> {
        let mut search = index.build(others.ncols(), clusters)?;
        search.append(centres.view())?;
        search.search_exactly(others, 1)
    };
    let mut nearest = assign(&centres)?;
    for _ in 0..ROUNDS {
        let mut sums = ndarray::Array2::<f32>::zeros(centres.dim());
        for (row, &cluster) in others.rows().into_iter().zip(&nearest.position) {
            let mut sum = sums.row_mut(cluster as usize);
            sum += &row;
        }
        for (mut centre, mut sum) in centres.rows_mut().into_iter().zip(sums.rows_mut()) {
            if let Some(sum) = sum.as_slice_mut() {
                normalise(sum);
            }
            if sum.iter().any(|&value| value != 0.0) {
                centre.assign(&sum);
            }
        }
        nearest = assign(&centres)?;
    }
    let mut order: Vec<usize> = (0..others.nrows()).collect();
    let similarity = |m: usize| nearest.similarity[[m, 0]];
    order.sort_by(|&a, &b| similarity(b).total_cmp(&similarity(a)));
    let mut taken = vec![false; clusters];
    let (mut chosen, mut rest) = (Vec::with_capacity(clusters), Vec::new());
    for m in order {
        let cluster = nearest.position[[m, 0]] as usize;
        if std::mem::replace(&mut taken[cluster], true) {
            rest.push(m);
        } else {
            chosen.push(m);
        }
    }
    let missing = clusters - chosen.len();
    chosen.extend(rest.iter().rev().take(missing));
    kept.extend(chosen.into_iter().map(|m| m + protected));
    kept.sort_unstable();
    Ok(kept)
}

/// The generator of one choice: the same seed, branch and image give the same choice, so none needs
/// to be saved.
pub(crate) fn generator(seed: u64, branch: usize, image: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(image << 16 | branch as u64);
    rng
}

#[cfg(test)]
mod tests {
    use super::*;
    use rareclip_index_exact::ExactOptions;

    fn rows() -> ndarray::Array2<f32> {
        let mut rows =
            ndarray::Array2::from_shape_fn((20, 4), |(i, j)| ((i * 31 + j * 17) % 13) as f32 - 6.0);
        for mut row in rows.rows_mut() {
            normalise(row.as_slice_mut().unwrap());
        }
        rows
    }

    #[test]
    fn the_smallest_are_kept_and_ties_go_to_the_earlier() {
        assert_eq!(smallest(&[0.5, 0.1, 0.5, 0.0, 0.5], 3), [0, 1, 3]);
    }

    #[test]
    fn random_keeps_the_protected_and_as_many_as_asked() {
        let kept = random(50, 20, 5, &mut generator(7, 0, 1));
        assert_eq!((kept.len(), &kept[..5]), (20, &[0, 1, 2, 3, 4][..]));
        assert!(kept.is_sorted());
        assert_eq!(kept, random(50, 20, 5, &mut generator(7, 0, 1)));
        assert_ne!(kept, random(50, 20, 5, &mut generator(8, 0, 1)));
    }

    #[test]
    fn k_means_keeps_one_of_each_group() {
        let axes = ndarray::Array2::<f32>::eye(4);
        let rows = axes.select(Axis(0), &[0, 0, 1, 2, 2, 2, 3, 3]);
        let mut rng = generator(0, 0, 0);
        let kept = k_means(rows.view(), 8, 0, &mut rng, &ExactOptions {}).unwrap();
        assert_eq!(kept, [0, 1, 2, 3, 4, 5, 6, 7]);
        let kept = k_means(rows.view(), 3, 1, &mut rng, &ExactOptions {}).unwrap();
        assert_eq!((kept.len(), kept[0]), (3, 0));
    }

    #[test]
    fn greedy_takes_the_protected_first_and_never_twice() {
        let mut chosen = greedy(rows().view(), 20, 2);
        assert_eq!(chosen[..2], [0, 1]);
        chosen.sort_unstable();
        assert_eq!(chosen, (0..20).collect::<Vec<_>>());
    }
}
