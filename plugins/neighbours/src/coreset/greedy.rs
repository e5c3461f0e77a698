//! Greedy k-center choice: again and again the point farthest from those chosen.
//!
//! Each choice changes the distance of every point, so that a plain implementation reads all points
//! once a choice. Here choices are made among a few *candidates*, the farthest points at the time,
//! as long as the best of them is still ahead of every other point - distances only shrink, so the
//! other points' old ones are bounds. Then the whole batch of choices is brought to all points at
//! once, which keeps the arithmetic in the cache. The result is that of the plain way, to the bit.

use std::cmp::Ordering;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Points that are worked on together: whole vector registers on every machine.
const LANES: usize = 16;
/// Chosen points that are compared with a group at a time.
const TOGETHER: usize = 8;
/// Candidates of a batch: 2048 points of 128 dimensions are 1 MB, which a core's cache holds.
const CANDIDATES: usize = 2048;
/// Groups of points that a thread takes at a time.
const SHARE: usize = 64;
/// The distance of points that cannot be chosen any more.
const TAKEN: f32 = -1.0;

type Lanes = [f32; LANES];

/// Points of `dims` coordinates, in groups of [`LANES`] of which each coordinate lies together:
/// `[group][dims][LANES]`.
pub(crate) struct Points {
    dims: usize,
    count: usize,
    data: Vec<Lanes>,
}

impl Points {
    /// `count` points in the origin.
    pub(crate) fn zeros(count: usize, dims: usize) -> Self {
        Self {
            dims,
            count,
            data: vec![[0.0; LANES]; count.div_ceil(LANES) * dims],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Sets the coordinates of point `at`.
    pub(crate) fn set<'a>(&mut self, at: usize, coordinates: impl IntoIterator<Item = &'a f32>) {
        let group = &mut self.data[at / LANES * self.dims..][..self.dims];
        for (lanes, value) in group.iter_mut().zip(coordinates) {
            lanes[at % LANES] = *value;
        }
    }

    fn coordinates(&self, at: usize) -> impl Iterator<Item = &f32> {
        let group = &self.data[at / LANES * self.dims..][..self.dims];
        group.iter().map(move |lanes| &lanes[at % LANES])
    }

    fn gather(&self, positions: &[usize]) -> Self {
        let mut points = Self::zeros(positions.len(), self.dims);
        for (place, &position) in positions.iter().enumerate() {
            points.set(place, self.coordinates(position));
        }
        points
    }

    /// A distance for every lane, those without a point taken.
    fn distances(&self, value: f32) -> Vec<Lanes> {
        let mut all = vec![[value; LANES]; self.count.div_ceil(LANES)];
        if let (Some(last), rest @ 1..) = (all.last_mut(), self.count % LANES) {
            last[rest..].fill(TAKEN);
        }
        all
    }
}

/// Squared distances of the points of a `group` to `N` others, each `[dims]`, summed coordinate by
/// coordinate whatever the registers of the machine, so that every machine and every `N` give the
/// same bits.
#[inline(always)]
fn squared<const N: usize>(group: &[Lanes], others: [&[f32]; N]) -> [Lanes; N] {
    let mut sums = [[0.0; LANES]; N];
    for (dim, lanes) in group.iter().enumerate() {
        for (sum, other) in sums.iter_mut().zip(others) {
            let coordinate = other[dim];
            for (sum, value) in sum.iter_mut().zip(lanes) {
                let difference = value - coordinate;
                *sum += difference * difference;
            }
        }
    }
    sums
}

/// Lowers the distances of groups of points to those to `others` `[n, dims]`, where they are
/// nearer.
struct Lower<'a> {
    points: &'a [Lanes],
    dims: usize,
    distances: &'a mut [Lanes],
    others: &'a [f32],
}

impl WithSimd for Lower<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let dims = self.dims;
        let groups = self.points.chunks_exact(dims).zip(self.distances);
        for (group, distances) in groups {
            let mut blocks = self.others.chunks_exact(TOGETHER * dims);
            for block in &mut blocks {
                let others: [&[f32]; TOGETHER] =
                    std::array::from_fn(|at| &block[at * dims..(at + 1) * dims]);
                for found in squared(group, others) {
                    lower(distances, &found);
                }
            }
            for other in blocks.remainder().chunks_exact(dims) {
                let [found] = squared(group, [other]);
                lower(distances, &found);
            }
        }
    }
}

#[inline(always)]
fn lower(distances: &mut Lanes, found: &Lanes) {
    for (distance, &found) in distances.iter_mut().zip(found) {
        *distance = if found < *distance { found } else { *distance };
    }
}

fn lower_all(arch: Arch, points: &Points, distances: &mut [Lanes], others: &[f32]) {
    let dims = points.dims;
    let shares = points.data.par_chunks(SHARE * dims);
    shares
        .zip(distances.par_chunks_mut(SHARE))
        .for_each(|(points, distances)| {
            arch.dispatch(Lower {
                points,
                dims,
                distances,
                others,
            });
        });
}

/// Where a point stands in the order of choice: the farther first, among equals the earlier.
#[derive(Clone, Copy)]
struct Rank {
    distance: f32,
    position: usize,
}

impl Rank {
    fn order(&self, other: &Self) -> Ordering {
        let farther = other.distance.total_cmp(&self.distance);
        farther.then(self.position.cmp(&other.position))
    }
}

/// The squares of the mean distances of all points to those at `starts`.
fn begin(arch: Arch, points: &Points, starts: &[usize]) -> Vec<Lanes> {
    let mut sums = points.distances(0.0);
    for &start in starts {
        let mut distances = points.distances(f32::INFINITY);
        let other: Vec<f32> = points.coordinates(start).copied().collect();
        lower_all(arch, points, &mut distances, &other);
        for (sum, distance) in sums
            .as_flattened_mut()
            .iter_mut()
            .zip(distances.as_flattened())
        {
            if *sum != TAKEN {
                *sum += distance.sqrt();
            }
        }
    }
    let share = 1.0 / starts.len().max(1) as f32;
    for sum in sums.as_flattened_mut() {
        if *sum != TAKEN {
            *sum = (*sum * share) * (*sum * share);
        }
    }
    sums
}

/// The candidates of a batch, by position, and the rank of the first point that is none.
fn candidates(distances: &[Lanes]) -> (Vec<usize>, Option<Rank>) {
    let all = distances.as_flattened().iter().enumerate();
    let rank = |(position, &distance): (usize, &f32)| Rank { distance, position };
    let mut ranks: Vec<Rank> = all
        .map(rank)
        .filter(|rank| rank.distance != TAKEN)
        .collect();
    let mut limit = None;
    if ranks.len() > CANDIDATES {
        limit = Some(*ranks.select_nth_unstable_by(CANDIDATES, Rank::order).1);
        ranks.truncate(CANDIDATES);
    }
    let mut positions: Vec<usize> = ranks.iter().map(|rank| rank.position).collect();
    positions.sort_unstable();
    (positions, limit)
}

/// The farthest of the points, the earlier among equals; `None` where all are taken.
fn farthest(distances: &[Lanes]) -> Option<(usize, f32)> {
    let largest = distances.iter().fold([TAKEN; LANES], |mut largest, lanes| {
        for (largest, &value) in largest.iter_mut().zip(lanes) {
            *largest = if value > *largest { value } else { *largest };
        }
        largest
    });
    let largest = largest.into_iter().fold(TAKEN, f32::max);
    let flat = distances.as_flattened();
    let place = flat
        .iter()
        .position(|&value| value == largest && value != TAKEN)?;
    Some((place, largest))
}

/// The positions of `wanted` points, in the order of choice: always the one farthest from those
/// chosen before, where the distance that counts is at most the mean distance to the points at
/// `starts` (published code: approximate greedy coreset). Among equals the earlier goes first.
/// `progress` is told how many are chosen.
pub(crate) fn greedy(
    points: &Points,
    wanted: usize,
    starts: &[usize],
    progress: &mut dyn FnMut(usize),
) -> Vec<usize> {
    let arch = Arch::new();
    let wanted = wanted.min(points.len());
    let mut distances = begin(arch, points, starts);
    let mut chosen = Vec::with_capacity(wanted);
    while chosen.len() < wanted {
        let (positions, limit) = candidates(&distances);
        let near = points.gather(&positions);
        let mut ahead = near.distances(0.0);
        for (ahead, &position) in ahead.as_flattened_mut().iter_mut().zip(&positions) {
            *ahead = distances.as_flattened()[position];
        }
        let mut batch = Vec::new();
        while chosen.len() < wanted {
            let Some((place, distance)) = farthest(&ahead) else {
                break;
            };
            let position = positions[place];
            let own = Rank { distance, position };
            if limit.is_some_and(|limit| own.order(&limit) == Ordering::Greater) {
                break;
            }
            chosen.push(position);
            let from = batch.len();
            batch.extend(points.coordinates(position));
            ahead.as_flattened_mut()[place] = TAKEN;
            distances.as_flattened_mut()[position] = TAKEN;
            arch.dispatch(Lower {
                points: &near.data,
                dims: points.dims,
                distances: &mut ahead,
                others: &batch[from..],
            });
        }
        if batch.is_empty() {
            // Only NaN is left, which has no order.
            break;
        }
        lower_all(arch, points, &mut distances, &batch);
        progress(chosen.len());
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points(rows: &[Vec<f32>]) -> Points {
        let mut points = Points::zeros(rows.len(), rows[0].len());
        for (at, row) in rows.iter().enumerate() {
            points.set(at, row);
        }
        points
    }

    fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
    }

    /// Every distance after every choice.
    fn plain(
        rows: &[Vec<f32>],
        wanted: usize,
        starts: &[usize],
    ) -> (Vec<usize>, Vec<f32>, Vec<f32>) {
        let mean = |row: &Vec<f32>| {
            let distance = |&start: &usize| squared_distance(row, &rows[start]).sqrt();
            let sum = starts.iter().map(distance).fold(0.0, |a, b| a + b);
            let mean = sum * (1.0 / starts.len() as f32);
            mean * mean
        };
        let mut distances: Vec<f32> = rows.iter().map(mean).collect();
        let (mut chosen, mut radii) = (Vec::new(), Vec::new());
        for _ in 0..wanted {
            let mut best = None;
            for (at, &distance) in distances.iter().enumerate() {
                if distance >= 0.0 && best.is_none_or(|(_, largest)| distance > largest) {
                    best = Some((at, distance));
                }
            }
            let (at, radius) = best.unwrap();
            chosen.push(at);
            radii.push(radius);
            distances[at] = TAKEN;
            for (distance, row) in distances.iter_mut().zip(rows) {
                *distance = distance.min(squared_distance(row, &rows[at]));
            }
        }
        (chosen, radii, distances)
    }

    fn choose(rows: &[Vec<f32>], wanted: usize, starts: &[usize]) -> Vec<usize> {
        greedy(&points(rows), wanted, starts, &mut |_| {})
    }

    #[test]
    fn the_farthest_goes_first() {
        // Distances to the start at 0 are 0, 1, 9, 10, 4; the last is chosen 10, then 4 (distance
        // 4), then 9 and 1 (1 each).
        let rows: Vec<Vec<f32>> = [0.0, 1.0, 9.0, 10.0, 4.0].map(|x| vec![x]).to_vec();
        assert_eq!(choose(&rows, 4, &[0]), [3, 4, 1, 2]);
    }

    #[test]
    fn several_starts_begin_with_their_mean_distance() {
        // Means of the distances to 0 and 8: 4, 4, 5, 4; the third goes first, whatever the nearest
        // start is.
        let rows: Vec<Vec<f32>> = [0.0, 8.0, 9.0, 4.0].map(|x| vec![x]).to_vec();
        assert_eq!(choose(&rows, 1, &[0, 1]), [2]);
    }

    #[test]
    fn equal_points_are_chosen_once_each_in_their_order() {
        let rows = vec![vec![1.0, 2.0]; 20];
        assert_eq!(choose(&rows, 20, &[5]), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn more_points_than_candidates_are_chosen_as_by_the_plain_way() {
        let coordinate = |at: usize, dim: usize| ((at * 7919 + dim * 104_729) % 1009) as f32 / 32.0;
        let rows: Vec<Vec<f32>> = (0..CANDIDATES * 2 + 5)
            .map(|at| (0..5).map(|dim| coordinate(at, dim)).collect())
            .collect();
        let starts = [3, 77, 1000];
        assert_eq!(choose(&rows, 700, &starts), plain(&rows, 700, &starts).0);
    }

    proptest! {
        #[test]
        fn batches_choose_as_the_plain_way(
            rows in (1usize..6).prop_flat_map(|dims| {
                prop::collection::vec(prop::collection::vec(-8i8..8, dims), 1..120)
            }),
            share in 0.0f64..1.0,
        ) {
            let rows: Vec<Vec<f32>> =
                rows.iter().map(|row| row.iter().map(|&value| f32::from(value) / 4.0).collect()).collect();
            let wanted = ((rows.len() as f64 * share) as usize).max(1);
            let starts = [0, rows.len() / 2];
            let (chosen, _, _) = plain(&rows, wanted, &starts);
            prop_assert_eq!(choose(&rows, wanted, &starts), chosen);
        }

        #[test]
        fn no_point_is_left_farther_than_the_last_choice_was(
            rows in prop::collection::vec(prop::collection::vec(-1.0f32..1.0, 3), 2..150),
            share in 0.0f64..1.0,
        ) {
            let wanted = ((rows.len() as f64 * share) as usize).max(1);
            let chosen = choose(&rows, wanted, &[0]);
            let start = |row: &Vec<f32>| squared_distance(row, &rows[0]);
            // What counts for a point before choice number `before`.
            let counts = |at: usize, before: usize| {
                let near = chosen[..before].iter().map(|&other| squared_distance(&rows[at], &rows[other]));
                near.fold(start(&rows[at]), f32::min)
            };
            for (number, &choice) in chosen.iter().enumerate() {
                let radius = counts(choice, number);
                for at in (0..rows.len()).filter(|at| !chosen[..number].contains(at)) {
                    prop_assert!(counts(at, number) <= radius);
                }
            }
        }
    }
}
