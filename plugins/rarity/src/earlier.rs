//! Sequential coreset sampling without repeated work.
//!
//! The rule (paper: SCS) keeps the prototypes least similar to their nearest *earlier* prototype.
//! Taken literally it needs the similarity of every prototype to every earlier one after every
//! image. But a prototype's nearest earlier one changes only when that one is dropped, and the
//! similarities of new patches to the prototypes are known from the search. So each prototype keeps
//! a short list of its nearest earlier ones; a list that has lost every entry is looked up again.
//! What is kept is the same as by the literal rule.

use rareclip_core::index::NONE;
use rareclip_core::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use rareclip_core::{BoxError, Neighbours, VectorIndex};

use rareclip_core::ComponentError;

use crate::error::reserved;

/// Entries of a list: enough that a whole list is rarely dropped, few enough to be found on the
/// way.
pub(crate) const DEPTH: usize = 6;

/// Per prototype its most similar earlier prototypes still present, best first; places beyond hold
/// `-inf` and [`NONE`].
#[derive(Debug)]
pub(crate) struct Earlier {
    /// `[prototypes, DEPTH]`.
    similarity: Vec<f32>,
    /// `[prototypes, DEPTH]`.
    position: Vec<u32>,
}

impl Earlier {
    pub(crate) fn new(capacity: usize) -> Result<Self, ComponentError> {
        let what = "the nearest earlier prototypes";
        Ok(Self {
            similarity: reserved(what, &[capacity, DEPTH])?,
            position: reserved(what, &[capacity, DEPTH])?,
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.similarity.capacity() * size_of::<f32>() + self.position.capacity() * size_of::<u32>()
    }

    /// Memory for `capacity` lists.
    pub(crate) fn capacity_bytes(capacity: usize) -> usize {
        capacity.saturating_mul(DEPTH * (size_of::<f32>() + size_of::<u32>()))
    }

    pub(crate) fn len(&self) -> usize {
        self.similarity.len() / DEPTH
    }

    /// Per prototype its similarity to the nearest earlier one, at least 0 (paper: d).
    pub(crate) fn nearest(&self) -> Vec<f32> {
        self.similarity
            .iter()
            .step_by(DEPTH)
            .map(|&similarity| similarity.max(0.0))
            .collect()
    }

    /// Adds a prototype whose nearest earlier ones are the best of two searches, both best first.
    /// Returns its similarity to the nearest.
    pub(crate) fn push(&mut self, one: (&[f32], &[u32]), other: (&[f32], &[u32])) -> f32 {
        let (mut i, mut j) = (0, 0);
        for _ in 0..DEPTH {
            let left = one.0.get(i).copied().unwrap_or(f32::NEG_INFINITY);
            let right = other.0.get(j).copied().unwrap_or(f32::NEG_INFINITY);
            let (similarity, position) = if left >= right {
                i += 1;
                (left, one.1.get(i - 1))
            } else {
                j += 1;
                (right, other.1.get(j - 1))
            };
            self.similarity.push(similarity);
            self.position.push(position.copied().unwrap_or(NONE));
        }
        self.similarity[self.similarity.len() - DEPTH]
    }

    /// Keeps the lists at `places` (ascending), whose prototypes are at `positions` among `before`,
    /// and renumbers them.
    pub(crate) fn retain(&mut self, places: &[usize], positions: &[usize], before: usize) {
        let mut renumbered = vec![NONE; before];
        for (new, &old) in (0u32..).zip(positions) {
            renumbered[old] = new;
        }
        for (to, &from) in places.iter().enumerate() {
            let mut length = 0;
            for place in from * DEPTH..(from + 1) * DEPTH {
                let (similarity, position) = (self.similarity[place], self.position[place]);
                let position = renumbered.get(position as usize).copied().unwrap_or(NONE);
                if position != NONE {
                    self.similarity[to * DEPTH + length] = similarity;
                    self.position[to * DEPTH + length] = position;
                    length += 1;
                }
            }
            self.similarity[to * DEPTH + length..(to + 1) * DEPTH].fill(f32::NEG_INFINITY);
            self.position[to * DEPTH + length..(to + 1) * DEPTH].fill(NONE);
        }
        self.similarity.truncate(places.len() * DEPTH);
        self.position.truncate(places.len() * DEPTH);
    }

    /// Looks up again the lists that have lost every entry. Returns how many.
    pub(crate) fn repair(&mut self, index: &dyn VectorIndex) -> Result<usize, BoxError> {
        // A list without entries of any but the first prototype cannot be complete.
        let lost: Vec<usize> = (1..self.len())
            .filter(|m| self.position[m * DEPTH] == NONE)
            .collect();
        if lost.is_empty() {
            return Ok(0);
        }
        let Neighbours {
            similarity,
            position,
        } = index.nearest_earlier(&lost, 0, DEPTH)?;
        for ((&m, similarity), position) in lost.iter().zip(similarity.rows()).zip(position.rows())
        {
            let places = self.similarity[m * DEPTH..]
                .iter_mut()
                .zip(&mut self.position[m * DEPTH..]);
            for ((to_similarity, to_position), (&similarity, &position)) in
                places.zip(similarity.iter().zip(position))
            {
                (*to_similarity, *to_position) = (similarity, position);
            }
        }
        Ok(lost.len())
    }

    pub(crate) fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        let shape = [self.len(), DEPTH];
        writer.floats("earlier.similarity", &shape, self.similarity.as_slice());
        writer.ints("earlier.position", &shape, self.position.as_slice());
    }

    /// Reads the lists of `prototypes` back; `scope` goes before every name.
    pub(crate) fn load(
        &mut self,
        reader: &SnapshotReader<'_>,
        scope: &str,
        prototypes: usize,
    ) -> Result<(), SnapshotError> {
        let (shape, similarity) = reader.floats_with_gaps(&format!("{scope}earlier.similarity"))?;
        let (other, position) = reader.ints(&format!("{scope}earlier.position"))?;
        let known = |&p: &u32| p == NONE || (p as usize) < prototypes;
        let found = |(value, place): (&f32, &u32)| value.is_finite() || *place == NONE;
        if !similarity.iter().zip(&position).all(found) {
            return Err(SnapshotError::Entry {
                name: format!("{scope}earlier.similarity"),
                problem: "a neighbour is infinitely far".into(),
            });
        }
        if shape != [prototypes, DEPTH] || other != shape || !position.iter().all(known) {
            return Err(SnapshotError::Entry {
                name: format!("{scope}earlier"),
                problem: format!("has shape {shape:?}, expected [{prototypes}, {DEPTH}]"),
            });
        }
        self.similarity.clear();
        self.similarity.extend_from_slice(&similarity);
        self.position.clear();
        self.position.extend_from_slice(&position);
        Ok(())
    }
}
