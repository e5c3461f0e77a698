//! The vectors themselves, in a flat index of faiss: everything that misses nothing.

use std::cmp::Ordering;
use std::ops::Range;

use faiss::index::flat::FlatIndexImpl;
use faiss::index::{ConcurrentIndex, Index};
use faiss::selector::IdSelector;
use ndarray::Array1;
use pulp::Arch;
use rareclip_core::Neighbours;
use rareclip_core::index::{Hit, IndexError};
use rayon::prelude::*;

use crate::device::Mirror;
use crate::dot::dot;
use crate::error::{FaissError, engine};
use crate::native::{self, Found};
use crate::options::Metric;

/// Stored vectors that look for their best query at a time.
const REVERSE: usize = 8192;
/// Two similarities closer than this share of the lengths' product may have changed places by
/// rounding inside faiss.
const ROUNDING: f32 = 1e-6;

/// The vectors in arrival order.
pub(crate) struct Flat {
    index: FlatIndexImpl,
    mirror: Mirror<FlatIndexImpl>,
    width: usize,
    /// Vectors there is memory for.
    room: usize,
    /// No vector is longer.
    longest: f32,
    /// Queries given to faiss at a time.
    chunk: usize,
}

/// The best vectors of one query, and whether faiss may have dropped one that is as good.
struct Settled {
    hits: Vec<Hit>,
    complete: bool,
}

impl Flat {
    pub(crate) fn new(
        width: usize,
        capacity: usize,
        chunk: usize,
        mirror: Mirror<FlatIndexImpl>,
    ) -> Result<Self, FaissError> {
        let failed = engine("make a flat index");
        let mut index = FlatIndexImpl::new_ip(width as u32).map_err(&failed)?;
        if capacity > 0 {
            // Emptied, the index keeps the memory, so that it does not grow by doubling.
            let mut zeros = Vec::new();
            zeros
                .try_reserve_exact(capacity * width)
                .map_err(|_| IndexError::Memory {
                    vectors: capacity,
                    width,
                })?;
            zeros.resize(capacity * width, 0.0);
            index.add(&zeros).map_err(&failed)?;
            index.reset().map_err(&failed)?;
        }
        Ok(Self {
            index,
            mirror,
            width,
            room: capacity,
            longest: 0.0,
            chunk,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.index.ntotal() as usize
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn bytes(&self) -> usize {
        self.room * self.width * size_of::<f32>()
    }

    /// All vectors `[len, width]`.
    pub(crate) fn values(&self) -> &[f32] {
        match self.len() {
            // faiss has no memory to point to yet.
            0 => &[],
            _ => self.index.xb(),
        }
    }

    pub(crate) fn row(&self, at: usize) -> &[f32] {
        &self.values()[at * self.width..(at + 1) * self.width]
    }

    pub(crate) fn append(&mut self, rows: &[f32]) -> Result<(), FaissError> {
        if rows.is_empty() {
            return Ok(());
        }
        let (before, added) = (self.len(), rows.len() / self.width);
        self.index.add(rows).map_err(engine("add vectors"))?;
        if self.room < before + added {
            // The rule by which the C++ library's vectors grow.
            self.room = before + before.max(added);
        }
        self.longest = self.longest.max(longest(rows, self.width));
        self.mirror.changed();
        Ok(())
    }

    /// By how much a similarity with a query of this length may be off inside faiss.
    fn margin(&self, length: f32) -> f32 {
        let margin = ROUNDING * length * self.longest;
        if margin.is_nan() {
            f32::INFINITY
        } else {
            margin
        }
    }

    /// Keeps the vectors at `positions`, which ascend.
    pub(crate) fn retain(&mut self, positions: &[usize]) -> Result<(), FaissError> {
        if positions.len() == self.len() {
            return Ok(());
        }
        self.mirror.changed();
        if positions.is_empty() {
            self.longest = 0.0;
            return self.index.reset().map_err(engine("empty the index"));
        }
        let removed = removed(positions, self.len());
        let failed = engine("remove vectors");
        let selector = IdSelector::bitmap(&removed).map_err(&failed)?;
        self.index.remove_ids(&selector).map_err(&failed)?;
        Ok(())
    }

    /// What faiss finds among the vectors at `range`.
    fn candidates(
        &self,
        queries: &[f32],
        k: usize,
        range: &Range<usize>,
    ) -> Result<Found, FaissError> {
        if *range != (0..self.len()) {
            return native::search_range(&self.index, queries, self.width, k, range.clone());
        }
        if let Some(found) = self.mirror.search(&self.index, queries, k) {
            return found;
        }
        let found = ConcurrentIndex::search(&self.index, queries, k).map_err(engine("search"))?;
        Ok(found.into())
    }

    /// The `k` best of the vectors at `range` for each query, ties by arrival.
    pub(crate) fn search(
        &self,
        queries: &[f32],
        k: usize,
        range: Range<usize>,
    ) -> Result<Neighbours, FaissError> {
        let k = k.min(range.len());
        let count = queries.len() / self.width;
        let mut all = Neighbours::empty(count, k);
        if k == 0 {
            return Ok(all);
        }
        for (number, queries) in queries.chunks(self.chunk * self.width).enumerate() {
            for (at, hits) in self.best(queries, k, &range)?.iter().enumerate() {
                all.put(number * self.chunk + at, hits);
            }
        }
        Ok(all)
    }

    /// [`search`](Self::search) for one chunk of queries. One vector more than asked for tells
    /// whether the last place is contested; then more are fetched, and in the end all are looked
    /// at, because faiss drops equals at will.
    fn best(
        &self,
        queries: &[f32],
        k: usize,
        range: &Range<usize>,
    ) -> Result<Vec<Vec<Hit>>, FaissError> {
        let width = self.width;
        let mut best = vec![Vec::new(); queries.len() / width];
        let mut open: Vec<usize> = (0..best.len()).collect();
        for fetch in [k + 1, 8 * k + 64] {
            let fetch = fetch.min(range.len());
            let gathered: Vec<f32>;
            let asked = if open.len() == best.len() {
                queries
            } else {
                gathered = gather(queries, width, &open);
                &gathered
            };
            let found = self.candidates(asked, fetch, range)?;
            let rows = asked
                .par_chunks_exact(width)
                .zip(found.distances.par_chunks_exact(fetch))
                .zip(found.labels.par_chunks_exact(fetch));
            let settled: Vec<Settled> = rows
                .map(|((query, distances), labels)| {
                    self.settle(query, distances, labels, k, range.len())
                })
                .collect();
            let mut contested = Vec::new();
            for (at, settled) in open.into_iter().zip(settled) {
                best[at] = settled.hits;
                if !settled.complete {
                    contested.push(at);
                }
            }
            open = contested;
            if open.is_empty() {
                return Ok(best);
            }
        }
        let scanned: Vec<Vec<Hit>> = open
            .par_iter()
            .map(|&at| self.scan(&queries[at * width..(at + 1) * width], k, range.clone()))
            .collect();
        for (at, hits) in open.into_iter().zip(scanned) {
            best[at] = hits;
        }
        Ok(best)
    }

    fn settle(
        &self,
        query: &[f32],
        distances: &[f32],
        labels: &[i64],
        k: usize,
        among: usize,
    ) -> Settled {
        let positions = labels.iter().filter(|&&label| label >= 0);
        let mut hits = self.measured(query, positions.map(|&label| label as u32));
        let fetched = labels.len();
        let last = distances.last().copied().unwrap_or(f32::NEG_INFINITY);
        let contested = match hits.get(k - 1) {
            Some(worst) => {
                let margin = self.margin(dot(Arch::new(), query, query).sqrt());
                // A difference of two infinities settles nothing.
                (worst.similarity - last).partial_cmp(&margin) != Some(Ordering::Greater)
            }
            None => false,
        };
        let missing = labels.last().is_some_and(|&label| label < 0);
        hits.truncate(k);
        Settled {
            hits,
            complete: fetched == among || missing || !contested,
        }
    }

    /// The vectors at `positions` with their similarities, best first.
    pub(crate) fn measured(&self, query: &[f32], positions: impl Iterator<Item = u32>) -> Vec<Hit> {
        let arch = Arch::new();
        let hit = |position: u32| Hit {
            position,
            similarity: dot(arch, query, self.row(position as usize)),
        };
        let mut hits: Vec<Hit> = positions
            .map(hit)
            .filter(|hit| !hit.similarity.is_nan())
            .collect();
        hits.sort_unstable_by(Hit::best_first);
        hits
    }

    /// The `k` best of the vectors at `range`, every one looked at.
    fn scan(&self, query: &[f32], k: usize, range: Range<usize>) -> Vec<Hit> {
        let arch = Arch::new();
        let mut best: Vec<Hit> = Vec::with_capacity(k + 1);
        if k == 0 {
            return best;
        }
        for at in range {
            let similarity = dot(arch, query, self.row(at));
            let least = best
                .get(k - 1)
                .map_or(f32::NEG_INFINITY, |hit| hit.similarity);
            let wanted = similarity > least || (best.len() < k && !similarity.is_nan());
            if wanted {
                let place = best.partition_point(|hit| hit.similarity >= similarity);
                best.insert(
                    place,
                    Hit {
                        position: at as u32,
                        similarity,
                    },
                );
                best.truncate(k);
            }
        }
        best
    }

    /// Keeps the `k` of `hits` that are nearest by `metric`, in the order of their similarities.
    pub(crate) fn keep_nearest(&self, hits: &mut Vec<Hit>, k: usize, metric: Metric) {
        if metric == Metric::L2 && hits.len() > k {
            let arch = Arch::new();
            // |q - p|^2 = |q|^2 - (2 q.p - |p|^2); what is infinitely long is near to nobody.
            let nearness = |hit: &Hit| {
                let row = self.row(hit.position as usize);
                (2.0 * hit.similarity - dot(arch, row, row)).max(f32::NEG_INFINITY)
            };
            let mut rated: Vec<(f32, Hit)> =
                hits.drain(..).map(|hit| (nearness(&hit), hit)).collect();
            rated.sort_unstable_by(|(a, one), (b, other)| {
                b.total_cmp(a).then(one.position.cmp(&other.position))
            });
            hits.extend(rated.into_iter().take(k).map(|(_, hit)| hit));
        }
        hits.sort_unstable_by(Hit::best_first);
        hits.truncate(k);
    }

    /// The `k` of the vectors at `range` with the least Euclidean distance to each query, every one
    /// looked at.
    pub(crate) fn closest(&self, queries: &[f32], k: usize, range: Range<usize>) -> Neighbours {
        let k = k.min(range.len());
        let closest: Vec<Vec<Hit>> = queries
            .par_chunks_exact(self.width)
            .map(|query| {
                let mut hits = self.measured(query, range.start as u32..range.end as u32);
                self.keep_nearest(&mut hits, k, Metric::L2);
                hits
            })
            .collect();
        let mut all = Neighbours::empty(closest.len(), k);
        for (query, hits) in closest.iter().enumerate() {
            all.put(query, hits);
        }
        all
    }

    /// For each vector its largest inner product with any query. The queries become the index, and
    /// the vectors ask, where they lie.
    pub(crate) fn best_query(&self, queries: &[f32]) -> Result<Array1<f32>, FaissError> {
        let (width, arch) = (self.width, Arch::new());
        if queries.is_empty() {
            return Ok(Array1::from_elem(self.len(), f32::NEG_INFINITY));
        }
        let failed = engine("search for the best queries");
        let mut reverse = FlatIndexImpl::new_ip(width as u32).map_err(&failed)?;
        reverse.add(queries).map_err(&failed)?;
        let mirror = self.mirror.another();
        let mut best = Vec::with_capacity(self.len());
        for vectors in self.values().chunks(REVERSE * width) {
            let found = match mirror.search(&reverse, vectors, 1) {
                Some(found) => found?,
                None => ConcurrentIndex::search(&reverse, vectors, 1)
                    .map_err(&failed)?
                    .into(),
            };
            best.par_extend(vectors.par_chunks_exact(width).zip(&found.labels).map(
                |(vector, &label)| match usize::try_from(label) {
                    Ok(at) => dot(arch, vector, &queries[at * width..(at + 1) * width]),
                    Err(_) => f32::NEG_INFINITY,
                },
            ));
        }
        Ok(Array1::from_vec(best))
    }

    /// For each of `positions` the `k` best of the vectors at `floor..position`.
    pub(crate) fn nearest_earlier(
        &self,
        positions: &[usize],
        floor: usize,
        k: usize,
    ) -> Result<Neighbours, FaissError> {
        let mut order: Vec<usize> = (0..positions.len()).collect();
        order.sort_by_key(|&at| positions[at]);
        let sorted: Vec<usize> = order.iter().map(|&at| positions[at]).collect();
        let mut best = vec![Vec::new(); sorted.len()];
        if k > 0 {
            self.earlier(&sorted, floor, k, &mut best)?;
        }
        let mut all = Neighbours::empty(positions.len(), k);
        for (at, hits) in order.into_iter().zip(&best) {
            all.put(at, hits);
        }
        Ok(all)
    }

    /// [`nearest_earlier`](Self::nearest_earlier) of ascending positions: what lies before the
    /// first is earlier than all of them and is searched for all at once; then the same for either
    /// half.
    fn earlier(
        &self,
        positions: &[usize],
        from: usize,
        k: usize,
        best: &mut [Vec<Hit>],
    ) -> Result<(), FaissError> {
        /// Positions that are not worth a search by faiss.
        const FEW: usize = 24;
        if positions.len() <= FEW {
            best.par_iter_mut().zip(positions).for_each(|(best, &own)| {
                merge(best, self.scan(self.row(own), k, from..own.max(from)), k);
            });
            return Ok(());
        }
        let first = positions[0].max(from);
        if first > from {
            let queries = match positions {
                [one, .., last] if last - one + 1 == positions.len() => {
                    &self.values()[one * self.width..(last + 1) * self.width]
                }
                _ => &gather(self.values(), self.width, positions),
            };
            let among = from..first;
            let fetch = k.min(among.len());
            for (queries, best) in queries
                .chunks(self.chunk * self.width)
                .zip(best.chunks_mut(self.chunk))
            {
                for (best, hits) in best.iter_mut().zip(self.best(queries, fetch, &among)?) {
                    merge(best, hits, k);
                }
            }
        }
        let half = positions.len() / 2;
        let (left, right) = best.split_at_mut(half);
        self.earlier(&positions[..half], first, k, left)?;
        self.earlier(&positions[half..], first, k, right)
    }

    /// For each query all vectors whose inner product is at least `least`.
    pub(crate) fn within(&self, queries: &[f32], least: f32) -> Result<Vec<Vec<Hit>>, FaissError> {
        let mut all = Vec::with_capacity(queries.len() / self.width);
        if self.len() == 0 || least.is_nan() {
            all.resize(queries.len() / self.width, Vec::new());
            return Ok(all);
        }
        for queries in queries.chunks(self.chunk * self.width) {
            let margin = self.margin(longest(queries, self.width));
            let radius = (least - margin.max(f32::MIN_POSITIVE)).max(f32::MIN);
            let found = ConcurrentIndex::range_search(&self.index, queries, radius)
                .map_err(engine("search a range of similarities"))?;
            let (limits, labels) = (found.lims(), found.labels());
            for (query, limits) in queries.chunks_exact(self.width).zip(limits.windows(2)) {
                let labels = labels[limits[0]..limits[1]].iter();
                let positions = labels.filter_map(|label| label.get()).map(|at| at as u32);
                let mut hits = self.measured(query, positions);
                hits.truncate(hits.partition_point(|hit| hit.similarity >= least));
                all.push(hits);
            }
        }
        Ok(all)
    }
}

/// The bits of the positions among `len` that are not in `kept`, which ascends.
pub(crate) fn removed(kept: &[usize], len: usize) -> Vec<u8> {
    let mut bits = vec![0xff; len.div_ceil(8)];
    for &at in kept {
        bits[at / 8] &= !(1 << (at % 8));
    }
    bits
}

/// The Euclidean length of the longest of `rows` `[n, width]`; NaN counts as nothing.
fn longest(rows: &[f32], width: usize) -> f32 {
    let arch = Arch::new();
    let lengths = rows.par_chunks_exact(width);
    let lengths = lengths.map(|row| dot(arch, row, row).sqrt());
    lengths.reduce(|| 0.0, f32::max)
}

/// The rows at `at`, one after the other.
pub(crate) fn gather(values: &[f32], width: usize, at: &[usize]) -> Vec<f32> {
    at.iter()
        .flat_map(|at| &values[at * width..(at + 1) * width])
        .copied()
        .collect()
}

/// The `k` best of both.
fn merge(best: &mut Vec<Hit>, more: Vec<Hit>, k: usize) {
    best.extend(more);
    best.sort_unstable_by(Hit::best_first);
    best.truncate(k);
}
