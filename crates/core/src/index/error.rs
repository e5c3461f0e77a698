//! What every index refuses, in the same words.

use crate::index::NONE;

/// A request that no index can answer, and the checks that find it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// Vectors of no width have no similarities.
    #[error(
        "an index needs vectors of at least one number; check the block widths of the backbone"
    )]
    ZeroWidth,
    /// The vectors are wider or narrower than those of the index.
    #[error(
        "vectors have width {found}, the index holds width {expected}; were they made by another backbone?"
    )]
    Width {
        /// Width of the vectors given.
        found: usize,
        /// Width of the vectors held.
        expected: usize,
    },
    /// A position is not one of the index.
    #[error("position {position} is out of range: the index holds {len} vectors")]
    Position {
        /// The position.
        position: usize,
        /// Vectors held.
        len: usize,
    },
    /// Positions to keep are not in ascending order.
    #[error("positions to keep must ascend, but {next} follows {previous}")]
    NotAscending {
        /// A position.
        previous: usize,
        /// The one after it.
        next: usize,
    },
    /// There is not enough memory for the vectors.
    #[error(
        "no memory for {vectors} vectors of width {width}; lower the bank's capacity, or free memory"
    )]
    Memory {
        /// Vectors there should be memory for.
        vectors: usize,
        /// Numbers per vector.
        width: usize,
    },
    /// Positions are stored in 32 bits.
    #[error("{vectors} vectors are more than an index can number; lower the bank's capacity")]
    TooMany {
        /// Vectors there would be.
        vectors: usize,
    },
}

impl IndexError {
    /// Whether vectors of width `found` fit an index of width `expected`.
    ///
    /// # Errors
    /// [`Width`](Self::Width) where they do not.
    pub fn width(found: usize, expected: usize) -> Result<(), Self> {
        if found == expected {
            Ok(())
        } else {
            Err(Self::Width { found, expected })
        }
    }

    /// Whether an index of `len` vectors has one at each of `positions`.
    ///
    /// # Errors
    /// [`Position`](Self::Position) of the first where it has none.
    pub fn positions(positions: &[usize], len: usize) -> Result<(), Self> {
        let beyond = positions.iter().find(|&&position| position >= len);
        beyond.map_or(Ok(()), |&position| Err(Self::Position { position, len }))
    }

    /// Whether an index of `len` vectors has the `first` earliest.
    ///
    /// # Errors
    /// [`Position`](Self::Position) of the last of them where it does not.
    pub fn first(first: usize, len: usize) -> Result<(), Self> {
        match first.checked_sub(1) {
            Some(last) => Self::positions(&[last], len),
            None => Ok(()),
        }
    }

    /// Whether the vectors at `positions` are some of an index of `len`, in ascending order, as
    /// [`retain`](super::VectorIndex::retain) wants them.
    ///
    /// # Errors
    /// [`NotAscending`](Self::NotAscending) or [`Position`](Self::Position).
    pub fn kept(positions: &[usize], len: usize) -> Result<(), Self> {
        if let Some(pair) = positions.windows(2).find(|pair| pair[0] >= pair[1]) {
            let (previous, next) = (pair[0], pair[1]);
            return Err(Self::NotAscending { previous, next });
        }
        let last = positions.last().map_or(&[][..], std::slice::from_ref);
        Self::positions(last, len)
    }

    /// Whether `vectors` vectors can be told apart by 32 bits of which one value, [`NONE`], is
    /// taken.
    ///
    /// # Errors
    /// [`TooMany`](Self::TooMany) where they cannot.
    pub fn count(vectors: usize) -> Result<(), Self> {
        if vectors < NONE as usize {
            Ok(())
        } else {
            Err(Self::TooMany { vectors })
        }
    }

    /// Whether an index can be made for vectors of `width` with memory for `capacity` of them.
    ///
    /// # Errors
    /// [`ZeroWidth`](Self::ZeroWidth), or [`TooMany`](Self::TooMany).
    pub fn shape(width: usize, capacity: usize) -> Result<(), Self> {
        if width == 0 {
            return Err(Self::ZeroWidth);
        }
        let bytes = capacity
            .checked_mul(width)
            .and_then(|n| n.checked_mul(size_of::<f32>()));
        match bytes {
            Some(bytes) if isize::try_from(bytes).is_ok() => Self::count(capacity),
            _ => Err(Self::TooMany { vectors: capacity }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_must_be_there_and_those_to_keep_ascend() {
        assert_eq!(IndexError::kept(&[0, 2, 4], 5), Ok(()));
        assert_eq!(IndexError::kept(&[], 0), Ok(()));
        let (previous, next) = (2, 2);
        let twice = IndexError::NotAscending { previous, next };
        assert_eq!(IndexError::kept(&[0, 2, 2], 5), Err(twice));
        let (position, len) = (5, 5);
        let beyond = IndexError::Position { position, len };
        assert_eq!(IndexError::kept(&[0, 5], 5), Err(beyond.clone()));
        assert_eq!(IndexError::positions(&[4, 5, 9], 5), Err(beyond.clone()));
        assert_eq!(IndexError::first(5, 5), Ok(()));
        assert_eq!(IndexError::first(0, 0), Ok(()));
        assert_eq!(IndexError::first(6, 5), Err(beyond));
    }

    #[test]
    fn an_index_numbers_its_vectors_in_32_bits_of_which_one_value_is_taken() {
        let most = NONE as usize - 1;
        assert_eq!(IndexError::count(most), Ok(()));
        let vectors = most + 1;
        assert_eq!(
            IndexError::count(vectors),
            Err(IndexError::TooMany { vectors })
        );
        assert_eq!(IndexError::shape(1, most), Ok(()));
        assert_eq!(IndexError::shape(0, 1), Err(IndexError::ZeroWidth));
        let overflow = IndexError::shape(usize::MAX, 2);
        assert_eq!(overflow, Err(IndexError::TooMany { vectors: 2 }));
    }
}
