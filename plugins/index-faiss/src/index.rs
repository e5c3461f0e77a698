//! The vectors, and the approximate index beside them where one is asked for.

use std::ops::Range;

use data_encoding::HEXLOWER;
use ndarray::{ArrayView2, CowArray, Ix2};
use rareclip_core::BoxError;
use rareclip_core::index::{Hit, IndexError, NONE, Neighbours, Survey, VectorIndex};
use rareclip_core::patches::row_major;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::approximate::Approximate;
use crate::device::Device;
use crate::error::FaissError;
use crate::flat::Flat;
use crate::options::{FaissOptions, Family, Metric};
use crate::seal;

/// Vectors in arrival order, searched by faiss.
pub struct FaissIndex {
    flat: Flat,
    approximate: Option<Approximate>,
    options: FaissOptions,
}

/// What a saved engine is checked by before faiss reads it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    factory: String,
    metric: Metric,
    /// Bytes of the engine; they are stored in whole words.
    bytes: usize,
    sha256: String,
    /// What the next vector will be called.
    next: u32,
    /// The [seal](crate::seal) of the engine and the names of its vectors; absent where there was
    /// no key, and in states of earlier versions.
    #[serde(default)]
    seal: Option<String>,
}

/// The parts that are sealed together.
fn sealed<'a>(bytes: &'a [u8], names: &'a [u8]) -> [&'a [u8]; 3] {
    [b"rareclip faiss engine", bytes, names]
}

fn bytes_of(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

impl FaissIndex {
    /// An empty index for vectors of `width` with memory for `capacity` of them.
    ///
    /// # Errors
    /// [`FaissError::Request`] for no width or a capacity beyond 32 bits; [`FaissError::TooWide`];
    /// [`FaissError::Option`] or [`FaissError::Factory`] for options that make no index;
    /// [`FaissError::NoGpu`]; [`FaissError::NoDevice`].
    pub fn new(options: &FaissOptions, width: usize, capacity: usize) -> Result<Self, FaissError> {
        options.check()?;
        IndexError::shape(width, capacity)?;
        if i32::try_from(width).is_err() {
            return Err(FaissError::TooWide { width });
        }
        let device = Device::open(options)?;
        let approximate = match options.family() {
            Family::Flat => None,
            _ => Some(Approximate::new(options, width, &device)?),
        };
        Ok(Self {
            flat: Flat::new(width, capacity, options.query_chunk, device.mirror())?,
            approximate,
            options: options.clone(),
        })
    }

    /// Sets how thoroughly an index that holds vectors already is searched:
    /// [`FaissOptions::probes`] and [`FaissOptions::search_depth`].
    ///
    /// # Errors
    /// [`FaissError::Option`] for a number out of range.
    pub fn tune(&mut self, probes: usize, search_depth: usize) -> Result<(), FaissError> {
        let options = FaissOptions {
            probes,
            search_depth,
            ..self.options.clone()
        };
        options.check()?;
        if let Some(approximate) = &mut self.approximate {
            approximate.tune(&options)?;
        }
        self.options = options;
        Ok(())
    }

    /// The `k` nearest of the vectors at `range` for each query, none missed.
    fn exactly(
        &self,
        queries: &[f32],
        k: usize,
        range: Range<usize>,
    ) -> Result<Neighbours, FaissError> {
        match self.options.metric {
            Metric::InnerProduct => self.flat.search(queries, k, range),
            Metric::L2 => Ok(self.flat.closest(queries, k, range)),
        }
    }

    fn neighbours(&self, queries: &[f32], k: usize) -> Result<Neighbours, FaissError> {
        let len = self.flat.len();
        let inside = self.approximate.as_ref().map_or(0, Approximate::len);
        let waiting = self.exactly(queries, k, inside..len)?;
        let Some(approximate) = self.approximate.as_ref().filter(|_| inside > 0) else {
            return Ok(waiting);
        };
        let k = k.min(len);
        let mut all = Neighbours::empty(queries.len() / self.flat.width(), k);
        let proposed = approximate.propose(&self.flat, queries, k)?;
        for (query, mut best) in proposed.into_iter().enumerate() {
            let similarity = waiting.similarity.row(query);
            let rest = waiting.position.row(query);
            let rest = rest.iter().zip(similarity).filter(|(at, _)| **at != NONE);
            let rest = rest.map(|(&position, &similarity)| Hit {
                position,
                similarity,
            });
            best.extend(rest);
            self.flat.keep_nearest(&mut best, k, self.options.metric);
            all.put(query, &best);
        }
        Ok(all)
    }

    #[allow(
        unsafe_code,
        reason = "faiss reads bytes that only it may have written"
    )]
    fn restore(&mut self, reader: &SnapshotReader<'_>, name: &str) -> Result<(), BoxError> {
        let Some(approximate) = &mut self.approximate else {
            return Ok(());
        };
        let wrong = |problem: String| FaissError::State {
            name: name.to_owned(),
            problem,
        };
        let saved: Saved = reader.value(&format!("{name}.engine"))?;
        if saved.factory != self.options.factory || saved.metric != self.options.metric {
            let problem = format!("was made by factory {:?}", saved.factory);
            return Err(wrong(problem).into());
        }
        let (_, words) = reader.ints(&format!("{name}.engine.words"))?;
        let (_, ids) = reader.ints(&format!("{name}.engine.ids"))?;
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        if bytes.len() != saved.bytes.next_multiple_of(4) {
            let problem = format!("its engine has {} of {} bytes", bytes.len(), saved.bytes);
            return Err(wrong(problem).into());
        }
        bytes.truncate(saved.bytes);
        if HEXLOWER.encode(&Sha256::digest(&bytes)) != saved.sha256 {
            return Err(wrong("the checksum of its engine does not match".into()).into());
        }
        let names = bytes_of(&ids);
        let own = |seal: String| seal::is_sealed(&seal, &sealed(&bytes, &names));
        if !bytes.is_empty() && !saved.seal.is_some_and(own) {
            return Ok(approximate.start_again(&self.flat)?);
        }
        let len = self.flat.len();
        // SAFETY: the bytes are sealed by this user's programs, or there are none.
        let restored = unsafe { approximate.restore(&bytes, ids, saved.next, len) };
        Ok(restored.map_err(wrong)?)
    }
}

impl VectorIndex for FaissIndex {
    fn exact(&self) -> bool {
        self.approximate.is_none()
    }

    fn len(&self) -> usize {
        self.flat.len()
    }

    fn width(&self) -> usize {
        self.flat.width()
    }

    fn bytes(&self) -> usize {
        let approximate = self.approximate.as_ref();
        self.flat.bytes() + approximate.map_or(0, Approximate::bytes)
    }

    fn capacity_bytes(&self, vectors: usize) -> usize {
        let each = self.width().saturating_mul(size_of::<f32>());
        let approximate = match &self.approximate {
            None => 0,
            Some(_) => self.options.most_bytes(self.width(), vectors),
        };
        vectors.saturating_mul(each).saturating_add(approximate)
    }

    fn append(&mut self, rows: ArrayView2<'_, f32>) -> Result<(), BoxError> {
        IndexError::width(rows.ncols(), self.width())?;
        IndexError::count(self.len() + rows.nrows())?;
        self.flat.append(&row_major(&rows))?;
        let before = self.len() - rows.nrows();
        if let Some(approximate) = &mut self.approximate
            && let Err(error) = approximate.take_in(&self.flat)
        {
            // All of the rows are taken, or none.
            let kept: Vec<usize> = (0..before).collect();
            self.flat.retain(&kept)?;
            approximate.retain(&kept, &self.flat)?;
            return Err(error.into());
        }
        Ok(())
    }

    fn retain(&mut self, positions: &[usize]) -> Result<(), BoxError> {
        IndexError::kept(positions, self.len())?;
        self.flat.retain(positions)?;
        if let Some(approximate) = &mut self.approximate {
            approximate.retain(positions, &self.flat)?;
        }
        Ok(())
    }

    fn search(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Neighbours, BoxError> {
        IndexError::width(queries.ncols(), self.width())?;
        Ok(self.neighbours(&row_major(&queries), k)?)
    }

    fn survey(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Survey, BoxError> {
        IndexError::width(queries.ncols(), self.width())?;
        let queries = row_major(&queries);
        Ok(Survey {
            neighbours: self.neighbours(&queries, k)?,
            best_query: self.flat.best_query(&queries)?,
        })
    }

    fn search_first(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        first: usize,
    ) -> Result<Neighbours, BoxError> {
        IndexError::width(queries.ncols(), self.width())?;
        IndexError::first(first, self.len())?;
        Ok(self.flat.search(&row_major(&queries), k, 0..first)?)
    }

    fn nearest_earlier(
        &self,
        positions: &[usize],
        floor: usize,
        k: usize,
    ) -> Result<Neighbours, BoxError> {
        IndexError::positions(positions, self.len())?;
        Ok(self.flat.nearest_earlier(positions, floor, k)?)
    }

    fn vectors(&self) -> Result<CowArray<'_, f32, Ix2>, BoxError> {
        let shape = (self.len(), self.width());
        Ok(ArrayView2::from_shape(shape, self.flat.values())?.into())
    }

    fn search_exactly(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
    ) -> Result<Neighbours, BoxError> {
        self.search_first(queries, k, self.len())
    }

    fn within(&self, queries: ArrayView2<'_, f32>, least: f32) -> Result<Vec<Vec<Hit>>, BoxError> {
        IndexError::width(queries.ncols(), self.width())?;
        Ok(self.flat.within(&row_major(&queries), least)?)
    }

    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>, name: &str) {
        let shape = [self.len(), self.width()];
        writer.floats(name, &shape, self.flat.values());
        let Some(approximate) = &self.approximate else {
            return;
        };
        // An engine that cannot be written leaves no entry; loading says that it is missing.
        let Ok((mut bytes, ids, next)) = approximate.state() else {
            return;
        };
        let saved = Saved {
            factory: self.options.factory.clone(),
            metric: self.options.metric,
            bytes: bytes.len(),
            sha256: HEXLOWER.encode(&Sha256::digest(&bytes)),
            next,
            seal: seal::seal(&sealed(&bytes, &bytes_of(ids))),
        };
        writer.value(&format!("{name}.engine"), &saved);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let (words, _) = bytes.as_chunks::<4>();
        let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        writer.ints(&format!("{name}.engine.words"), &[words.len()], words);
        writer.ints(&format!("{name}.engine.ids"), &[ids.len()], ids);
    }

    fn load(&mut self, reader: &SnapshotReader<'_>, name: &str) -> Result<(), BoxError> {
        let rows = reader.matrix(name)?;
        IndexError::width(rows.ncols(), self.width())?;
        IndexError::count(rows.nrows())?;
        self.flat.retain(&[])?;
        self.flat.append(&row_major(&rows.view()))?;
        self.restore(reader, name)
    }
}
