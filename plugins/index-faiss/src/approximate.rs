//! An approximate index of faiss beside the vectors.

use faiss::index::autotune::ParameterSpace;
use faiss::index::{Index, IndexImpl, index_factory};
use faiss::selector::IdSelector;
use faiss::{Idx, MetricType};
use rareclip_core::index::Hit;
use rayon::prelude::*;

use crate::device::{Device, Mirror};
use crate::error::{FaissError, engine};
use crate::flat::{Flat, removed};
use crate::native::{self, Found};
use crate::options::{FaissOptions, Family, Metric};

/// Vectors that a graph takes in at a time, at least; until then they are searched exactly.
const GRAPH: usize = 1024;
/// The share of a graph that it takes in at a time, at least: each time costs a copy of the graph.
const GROWTH: usize = 32;
/// Vectors of one call to a graph. faiss inserts more than 100 by several threads, and then no two
/// graphs are alike.
const IN_ORDER: usize = 100;

/// An approximate index over the earliest vectors; those after them are not in it yet.
pub(crate) struct Approximate {
    options: FaissOptions,
    family: Family,
    width: usize,
    engine: IndexImpl,
    /// Whether it was trained; `None` where there is nothing to learn.
    trained: Option<bool>,
    mirror: Mirror<IndexImpl>,
    /// What faiss calls the vectors that are in it, by position; ascending.
    ids: Vec<u32>,
    /// What the next vector will be called, which is how many were added.
    next: u32,
}

impl Approximate {
    pub(crate) fn new(
        options: &FaissOptions,
        width: usize,
        device: &Device,
    ) -> Result<Self, FaissError> {
        let engine = build(options, width)?;
        Ok(Self {
            options: options.clone(),
            family: options.family(),
            width,
            trained: (!engine.is_trained()).then_some(false),
            engine,
            mirror: device.mirror(),
            ids: Vec::new(),
            next: 0,
        })
    }

    /// Looks from now on as thoroughly as `options` say, which differ in nothing else.
    pub(crate) fn tune(&mut self, options: &FaissOptions) -> Result<(), FaissError> {
        tune(&self.engine, options)?;
        self.options = options.clone();
        self.mirror.changed();
        Ok(())
    }

    /// Vectors that are in the engine.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        // An engine that cannot be measured cannot be written either, and saving says so.
        native::size(&self.engine).unwrap_or(0) + self.ids.capacity() * size_of::<u32>()
    }

    /// Takes in the vectors of `flat` that are not in the engine yet, once there are enough.
    pub(crate) fn take_in(&mut self, flat: &Flat) -> Result<(), FaissError> {
        if self.trained == Some(false) {
            let wanted = self.options.training_vectors();
            if flat.len() < wanted {
                return Ok(());
            }
            self.train(flat, wanted)?;
        }
        let waiting = flat.len() - self.len();
        if waiting == 0 || self.family == Family::Graph && waiting < GRAPH.max(self.len() / GROWTH)
        {
            return Ok(());
        }
        if self.next as usize + waiting >= u32::MAX as usize {
            return self.rebuild(flat);
        }
        self.add(flat)
    }

    /// Trains on `wanted` vectors, evenly spread over all.
    fn train(&mut self, flat: &Flat, wanted: usize) -> Result<(), FaissError> {
        let mut sample = Vec::with_capacity(wanted * self.width);
        for number in 0..wanted {
            let row = flat.row((number as u64 * flat.len() as u64 / wanted as u64) as usize);
            // faiss refuses to train on anything else.
            if row.iter().all(|value| value.is_finite()) {
                sample.extend_from_slice(row);
            }
        }
        let failed = engine("train the index");
        self.engine.train(&sample).map_err(failed)?;
        self.trained = Some(true);
        self.mirror.changed();
        Ok(())
    }

    /// Adds the vectors of `flat` that are not in the engine.
    fn add(&mut self, flat: &Flat) -> Result<(), FaissError> {
        if self.family == Family::Graph {
            // The levels of a graph are drawn by a generator that is not saved and begins anew in
            // every copy that is read: after this, a restored index draws as one that was never
            // saved.
            self.engine = copied(&self.engine)?;
            tune(&self.engine, &self.options)?;
        }
        let failed = engine("add vectors");
        self.mirror.changed();
        let step = match self.family {
            Family::Graph => IN_ORDER,
            _ => flat.len(),
        };
        let values = &flat.values()[self.len() * self.width..];
        for rows in values.chunks(step.max(1) * self.width) {
            let ids = self.next..self.next + (rows.len() / self.width) as u32;
            if self.family == Family::Lists {
                let names: Vec<Idx> = ids.clone().map(|id| Idx::new(id.into())).collect();
                self.engine.add_with_ids(rows, &names).map_err(&failed)?;
            } else {
                self.engine.add(rows).map_err(&failed)?;
            }
            self.next = ids.end;
            self.ids.extend(ids);
        }
        Ok(())
    }

    /// Starts again from the vectors of `flat`; what was learnt in training stays.
    fn rebuild(&mut self, flat: &Flat) -> Result<(), FaissError> {
        self.empty()?;
        self.add(flat)
    }

    /// Builds the engine again from the vectors of `flat` alone: what an earlier one learnt in
    /// training is forgotten.
    pub(crate) fn start_again(&mut self, flat: &Flat) -> Result<(), FaissError> {
        self.engine = build(&self.options, self.width)?;
        self.trained = (!self.engine.is_trained()).then_some(false);
        self.mirror.changed();
        self.ids.clear();
        self.next = 0;
        self.take_in(flat)
    }

    /// Lets all vectors go; what was learnt in training stays.
    fn empty(&mut self) -> Result<(), FaissError> {
        if self.trained.is_none() {
            self.engine = build(&self.options, self.width)?;
        } else {
            self.engine.reset().map_err(engine("empty the index"))?;
        }
        self.mirror.changed();
        self.ids.clear();
        self.next = 0;
        Ok(())
    }

    /// Keeps the vectors at `positions` (ascending) of those there were; `flat` holds the kept ones
    /// already.
    pub(crate) fn retain(&mut self, positions: &[usize], flat: &Flat) -> Result<(), FaissError> {
        let held = self.len();
        let inside = &positions[..positions.partition_point(|&at| at < held)];
        if inside.len() == held {
            return Ok(());
        }
        self.mirror.changed();
        let bits = removed(inside, held);
        let kept: Vec<u32> = inside.iter().map(|&at| self.ids[at]).collect();
        let gone = match self.family {
            // They stay in the graph, as ways to the others.
            Family::Graph => {
                self.ids = kept;
                let dead = self.next as usize - self.ids.len();
                if dead > self.ids.len() / 2 {
                    return self.rebuild_graph(flat);
                }
                return Ok(());
            }
            Family::Lists => {
                let gone = (0..held).filter(|at| bits[at / 8] & 1 << (at % 8) != 0);
                let gone: Vec<Idx> = gone.map(|at| Idx::new(self.ids[at].into())).collect();
                IdSelector::batch(&gone).and_then(|all| self.engine.remove_ids(&all))
            }
            Family::Codes | Family::Flat => {
                IdSelector::bitmap(&bits).and_then(|all| self.engine.remove_ids(&all))
            }
        };
        if gone != Ok(held - inside.len()) || self.engine.ntotal() as usize != inside.len() {
            // Not every kind of index can remove.
            return self.rebuild(flat);
        }
        self.ids = kept;
        if self.family == Family::Codes {
            self.next = self.ids.len() as u32;
            self.ids.clear();
            self.ids.extend(0..self.next);
        }
        Ok(())
    }

    /// A graph with too many dead: built anew if it is worth a graph at all.
    fn rebuild_graph(&mut self, flat: &Flat) -> Result<(), FaissError> {
        self.empty()?;
        if flat.len() < GRAPH {
            return Ok(());
        }
        self.add(flat)
    }

    /// What the engine proposes as the `k` best of the vectors in it, for each query, with their
    /// true similarities.
    pub(crate) fn propose(
        &self,
        flat: &Flat,
        queries: &[f32],
        k: usize,
    ) -> Result<Vec<Vec<Hit>>, FaissError> {
        let k = k.min(self.len());
        let mut best = vec![Vec::new(); queries.len() / self.width];
        if k == 0 {
            return Ok(best);
        }
        let held = self.engine.ntotal() as usize;
        let dead = held - self.len();
        let more = if self.options.compresses() {
            self.options.refine
        } else {
            1
        };
        let mut fetch = (k * more).min(held);
        let mut open: Vec<usize> = (0..best.len()).collect();
        loop {
            let asked = crate::flat::gather(queries, self.width, &open);
            let mut proposed = Vec::with_capacity(open.len());
            for asked in asked.chunks(self.options.query_chunk * self.width) {
                let found = self.ask(asked, fetch)?;
                proposed.par_extend(
                    asked
                        .par_chunks_exact(self.width)
                        .zip(found.labels.par_chunks_exact(fetch))
                        .map(|(query, labels)| {
                            let mut hits = flat.measured(query, self.alive(labels));
                            let full = hits.len() >= k || labels.last().is_some_and(|&l| l < 0);
                            flat.keep_nearest(&mut hits, k, self.options.metric);
                            (hits, full)
                        }),
                );
            }
            let mut short = Vec::new();
            for (at, (hits, full)) in open.into_iter().zip(proposed) {
                best[at] = hits;
                if !full {
                    short.push(at);
                }
            }
            // Dead vectors took the places of living ones: ask those queries for more.
            if dead == 0 || short.is_empty() || fetch == held {
                return Ok(best);
            }
            open = short;
            fetch = (2 * fetch).min(held);
        }
    }

    /// The positions of the living among what the engine named.
    fn alive(&self, labels: &[i64]) -> impl Iterator<Item = u32> {
        labels.iter().filter_map(|&label| {
            let id = u32::try_from(label).ok()?;
            self.ids.binary_search(&id).ok().map(|at| at as u32)
        })
    }

    fn ask(&self, queries: &[f32], k: usize) -> Result<Found, FaissError> {
        if let Some(found) = self.mirror.search(&self.engine, queries, k) {
            return found;
        }
        native::search(&self.engine, queries, self.width, k)
    }

    /// What a copy needs besides the vectors; no bytes of an engine as it was built, because faiss
    /// does not write down how an index is to be trained.
    pub(crate) fn state(&self) -> Result<(Vec<u8>, &[u32], u32), FaissError> {
        let as_built = self.next == 0 && self.trained != Some(true);
        let bytes = if as_built {
            Vec::new()
        } else {
            native::to_bytes(&self.engine)?
        };
        Ok((bytes, &self.ids, self.next))
    }

    /// Takes over what [`state`](Self::state) gave, or says what does not fit.
    ///
    /// # Safety
    /// `bytes` are those that [`state`](Self::state) gave, in this process or under a
    /// [seal](crate::seal).
    #[allow(
        unsafe_code,
        reason = "faiss reads bytes that only it may have written"
    )]
    pub(crate) unsafe fn restore(
        &mut self,
        bytes: &[u8],
        ids: Vec<u32>,
        next: u32,
        len: usize,
    ) -> Result<(), String> {
        let read = match bytes {
            [] => build(&self.options, self.width),
            // SAFETY: the caller promises it.
            bytes => unsafe { native::from_bytes(bytes) },
        };
        let read = read.map_err(|error| error.to_string())?;
        let ascending = ids.windows(2).all(|pair| pair[0] < pair[1]);
        let known = ids.last().is_none_or(|&last| last < next);
        let held = match self.family {
            Family::Graph => next as usize,
            _ => ids.len(),
        };
        let numbered = self.family != Family::Codes || next as usize == ids.len();
        let fits = read.d() as usize == self.width
            && read.metric_type() == self.engine.metric_type()
            && read.ntotal() as usize == held;
        if !(ascending && known && numbered && fits && ids.len() <= len) {
            return Err(format!(
                "holds {} vectors of width {} under {} names, expected width {} and up to {len}",
                read.ntotal(),
                read.d(),
                ids.len(),
                self.width
            ));
        }
        tune(&read, &self.options).map_err(|error| error.to_string())?;
        self.trained = self.trained.map(|_| read.is_trained());
        self.engine = read;
        self.mirror.changed();
        self.ids = ids;
        self.next = next;
        Ok(())
    }
}

/// A copy of an engine by way of its bytes.
#[allow(unsafe_code, reason = "faiss reads bytes that it has just written")]
fn copied(engine: &IndexImpl) -> Result<IndexImpl, FaissError> {
    let bytes = native::to_bytes(engine)?;
    // SAFETY: the bytes are those of `to_bytes`.
    unsafe { native::from_bytes(&bytes) }
}

/// An empty index.
fn build(options: &FaissOptions, width: usize) -> Result<IndexImpl, FaissError> {
    let metric = match options.metric {
        Metric::InnerProduct => MetricType::InnerProduct,
        Metric::L2 => MetricType::L2,
    };
    let index = index_factory(width as u32, &options.factory, metric).map_err(|source| {
        FaissError::Factory {
            factory: options.factory.clone(),
            width,
            source,
        }
    })?;
    tune(&index, options)?;
    Ok(index)
}

/// Sets how thoroughly searches look.
fn tune(index: &IndexImpl, options: &FaissOptions) -> Result<(), FaissError> {
    let failed = engine("set how thoroughly to search");
    let space = ParameterSpace::new().map_err(&failed)?;
    let set = |name: &str, value: usize| space.set_index_parameter(index, name, value as f64);
    match options.family() {
        Family::Lists => set("nprobe", options.probes).map_err(&failed),
        Family::Graph => set("efSearch", options.search_depth).map_err(&failed),
        Family::Codes | Family::Flat => Ok(()),
    }
}
