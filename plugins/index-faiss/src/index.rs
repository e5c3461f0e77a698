//! The vectors, and the approximate index beside them where one is asked for.

use std::borrow::Cow;

use data_encoding::HEXLOWER;
use ndarray::ArrayView2;
use rareclip_core::BoxError;
use rareclip_core::index::{Hit, Neighbours, Survey, VectorIndex};
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::approximate::Approximate;
use crate::device::Device;
use crate::error::FaissError;
use crate::flat::{Flat, NONE, merge, nobody, put};
use crate::options::{FaissOptions, Family};

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
    metric: crate::Metric,
    /// Bytes of the engine; they are stored in whole words.
    bytes: usize,
    sha256: String,
    /// What the next vector will be called.
    next: u32,
}

impl FaissIndex {
    /// An empty index for vectors of `width` with memory for `capacity` of them.
    ///
    /// # Errors
    /// [`FaissError::ZeroWidth`]; [`FaissError::Option`] or [`FaissError::Factory`] for options that make no index;
    /// [`FaissError::NoGpu`]; [`FaissError::TooMany`] for a capacity beyond 32 bits.
    pub fn new(options: &FaissOptions, width: usize, capacity: usize) -> Result<Self, FaissError> {
        options.check()?;
        if width == 0 || width > i32::MAX as usize {
            return Err(FaissError::ZeroWidth);
        }
        if capacity >= NONE as usize || capacity.checked_mul(width).is_none() {
            return Err(FaissError::TooMany { vectors: capacity });
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

    fn check_width(&self, rows: ArrayView2<'_, f32>) -> Result<(), FaissError> {
        let (found, expected) = (rows.ncols(), self.flat.width());
        if found == expected {
            Ok(())
        } else {
            Err(FaissError::Width { found, expected })
        }
    }

    fn check_position(&self, position: usize) -> Result<(), FaissError> {
        let len = self.flat.len();
        if position < len {
            Ok(())
        } else {
            Err(FaissError::Position { position, len })
        }
    }

    fn neighbours(&self, queries: &[f32], k: usize) -> Result<Neighbours, FaissError> {
        let len = self.flat.len();
        let inside = self.approximate.as_ref().map_or(0, Approximate::len);
        let waiting = self.flat.search(queries, k, inside..len)?;
        let Some(approximate) = self.approximate.as_ref().filter(|_| inside > 0) else {
            return Ok(waiting);
        };
        let k = k.min(len);
        let mut all = nobody(queries.len() / self.flat.width(), k);
        let proposed = approximate.propose(&self.flat, queries, k)?;
        for (query, mut best) in proposed.into_iter().enumerate() {
            let similarity = waiting.similarity.row(query);
            let rest = waiting.position.row(query);
            let rest = rest.iter().zip(similarity).filter(|(at, _)| **at != NONE);
            let rest = rest.map(|(&position, &similarity)| Hit {
                position,
                similarity,
            });
            merge(&mut best, rest.collect(), k);
            put(&mut all, query, &best);
        }
        Ok(all)
    }

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
        let len = self.flat.len();
        let restored = approximate.restore(&bytes, ids, saved.next, len);
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
        self.check_width(rows)?;
        let vectors = self.len() + rows.nrows();
        if vectors >= NONE as usize {
            return Err(FaissError::TooMany { vectors }.into());
        }
        self.flat.append(&contiguous(&rows))?;
        if let Some(approximate) = &mut self.approximate {
            approximate.take_in(&self.flat)?;
        }
        Ok(())
    }

    fn retain(&mut self, positions: &[usize]) -> Result<(), BoxError> {
        if let Some(&last) = positions.last() {
            self.check_position(last)?;
        }
        if let Some(pair) = positions.windows(2).find(|pair| pair[0] >= pair[1]) {
            let (previous, next) = (pair[0], pair[1]);
            return Err(FaissError::NotAscending { previous, next }.into());
        }
        self.flat.retain(positions)?;
        if let Some(approximate) = &mut self.approximate {
            approximate.retain(positions, &self.flat)?;
        }
        Ok(())
    }

    fn search(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Neighbours, BoxError> {
        self.check_width(queries)?;
        Ok(self.neighbours(&contiguous(&queries), k)?)
    }

    fn survey(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Survey, BoxError> {
        self.check_width(queries)?;
        let queries = contiguous(&queries);
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
        self.check_width(queries)?;
        if first > 0 {
            self.check_position(first - 1)?;
        }
        Ok(self.flat.search(&contiguous(&queries), k, 0..first)?)
    }

    fn nearest_earlier(
        &self,
        positions: &[usize],
        floor: usize,
        k: usize,
    ) -> Result<Neighbours, BoxError> {
        positions
            .iter()
            .try_for_each(|&position| self.check_position(position))?;
        Ok(self.flat.nearest_earlier(positions, floor, k)?)
    }

    fn vectors(&self) -> Result<Cow<'_, [f32]>, BoxError> {
        Ok(Cow::Borrowed(self.flat.values()))
    }

    fn search_exactly(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
    ) -> Result<Neighbours, BoxError> {
        self.search_first(queries, k, self.len())
    }

    fn within(&self, queries: ArrayView2<'_, f32>, least: f32) -> Result<Vec<Vec<Hit>>, BoxError> {
        self.check_width(queries)?;
        Ok(self.flat.within(&contiguous(&queries), least)?)
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
        self.check_width(rows.view())?;
        if rows.nrows() >= NONE as usize {
            let vectors = rows.nrows();
            return Err(FaissError::TooMany { vectors }.into());
        }
        self.flat.retain(&[])?;
        self.flat.append(&contiguous(&rows.view()))?;
        self.restore(reader, name)
    }
}

/// The values of `rows` in row-major order.
fn contiguous<'a>(rows: &'a ArrayView2<'_, f32>) -> Cow<'a, [f32]> {
    match rows.as_slice() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(rows.iter().copied().collect()),
    }
}
