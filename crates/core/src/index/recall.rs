//! How complete an approximate index is.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::{NONE, VectorIndex};
use crate::BoxError;

/// How many of the true nearest vectors an index found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recall {
    /// Nearest vectors looked for of each query.
    pub k: usize,
    /// Those found.
    pub found: u64,
    /// Those there were to find.
    pub wanted: u64,
}

impl Recall {
    /// How many of the true `k` nearest vectors `index` finds, over all `queries`
    /// `[queries, width]`.
    ///
    /// # Errors
    /// When the width differs or the engine fails.
    pub fn measure(
        index: &dyn VectorIndex,
        queries: ArrayView2<'_, f32>,
        k: usize,
    ) -> Result<Self, BoxError> {
        let found = index.search(queries, k)?.position;
        let wanted = index.search_exactly(queries, k)?.position;
        let mut recall = Self {
            k,
            ..Self::default()
        };
        for (found, wanted) in found.rows().into_iter().zip(wanted.rows()) {
            for position in wanted.iter().filter(|&&position| position != NONE) {
                recall.wanted += 1;
                recall.found += u64::from(found.iter().any(|other| other == position));
            }
        }
        Ok(recall)
    }

    /// The recall of several indexes together; `None` where none of them has any to measure.
    ///
    /// # Errors
    /// The first one among `recalls`.
    pub fn together(
        recalls: impl IntoIterator<Item = Result<Option<Self>, BoxError>>,
    ) -> Result<Option<Self>, BoxError> {
        let mut all: Option<Self> = None;
        for recall in recalls {
            if let Some(recall) = recall? {
                *all.get_or_insert_default() += recall;
            }
        }
        Ok(all)
    }

    /// The share found, 0 to 1; 1 where there was nothing to find.
    pub fn share(self) -> f64 {
        match self.wanted {
            0 => 1.0,
            wanted => self.found as f64 / wanted as f64,
        }
    }
}

impl std::ops::AddAssign for Recall {
    fn add_assign(&mut self, other: Self) {
        self.k = self.k.max(other.k);
        self.found += other.found;
        self.wanted += other.wanted;
    }
}
