//! The kit refuses indexes that break a promise: one fault each, seeded into a sound one.
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

use ndarray::{Array1, Array2, ArrayView2, CowArray, Ix2};
use rareclip_core::index::{NONE, Neighbours, Survey, VectorIndexFactory};
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{BoxError, VectorIndex, typetag};
use rareclip_testkit::index::{check, examine};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Fault {
    None,
    /// `retain` keeps as many vectors, but the first ones.
    RanksStayOpen,
    TiesToTheLater,
    SurveyForgetsTheLastVector,
    SurveyForgetsTheLastQuery,
    FloorIsIgnored,
    OwnPositionIsEarlier,
    FirstIsIgnored,
    WidthIsNotChecked,
    PositionsAreNotChecked,
    BytesStandStill,
    NanIsLarge,
    LoadLosesTheLast,
    MissesOneInTen,
    SearchAlwaysFillsUp,
    WithinIsStrict,
}

#[derive(Debug, Serialize, Deserialize)]
struct Faulty(Fault);

#[typetag::serde(name = "faulty")]
impl VectorIndexFactory for Faulty {
    fn build(&self, width: usize, _: usize) -> Result<Box<dyn VectorIndex>, BoxError> {
        Ok(Box::new(Index {
            fault: self.0,
            width,
            data: Vec::new(),
        }))
    }
}

struct Index {
    fault: Fault,
    width: usize,
    data: Vec<f32>,
}

impl Index {
    fn row(&self, at: usize) -> &[f32] {
        &self.data[at * self.width..(at + 1) * self.width]
    }

    fn checked(&self, rows: ArrayView2<'_, f32>) -> Result<(), BoxError> {
        if rows.ncols() == self.width || self.fault == Fault::WidthIsNotChecked {
            return Ok(());
        }
        Err("wrong width".into())
    }

    fn best(&self, query: &[f32], among: std::ops::Range<usize>, k: usize) -> Vec<(f32, u32)> {
        let dot = |at: usize| {
            query
                .iter()
                .zip(self.row(at))
                .map(|(a, b)| a * b)
                .sum::<f32>()
        };
        let mut all: Vec<(f32, u32)> = among.map(|at| (dot(at), at as u32)).collect();
        match self.fault {
            Fault::NanIsLarge => {}
            _ => all.retain(|entry| !entry.0.is_nan()),
        }
        if self.fault == Fault::MissesOneInTen {
            all.retain(|entry| entry.1 % 10 != 3);
        }
        let later = self.fault == Fault::TiesToTheLater;
        all.sort_by(|a, b| {
            let ties = if later { b.1.cmp(&a.1) } else { a.1.cmp(&b.1) };
            (b.0 + 0.0).total_cmp(&(a.0 + 0.0)).then(ties)
        });
        all.resize(k.max(all.len()), (f32::NEG_INFINITY, NONE));
        all.truncate(k);
        all
    }

    fn collected(k: usize, rows: Vec<Vec<(f32, u32)>>) -> Result<Neighbours, BoxError> {
        let (count, flat) = (rows.len(), rows.concat());
        let (similarity, position) = flat.into_iter().unzip();
        Ok(Neighbours {
            similarity: Array2::from_shape_vec((count, k), similarity)?,
            position: Array2::from_shape_vec((count, k), position)?,
        })
    }
}

impl VectorIndex for Index {
    fn exact(&self) -> bool {
        true
    }

    fn len(&self) -> usize {
        self.data.len() / self.width
    }

    fn width(&self) -> usize {
        self.width
    }

    fn bytes(&self) -> usize {
        match self.fault {
            Fault::BytesStandStill => 1 << 20,
            _ => 4 * self.data.len(),
        }
    }

    fn append(&mut self, rows: ArrayView2<'_, f32>) -> Result<(), BoxError> {
        self.checked(rows)?;
        self.data.extend(rows.iter());
        Ok(())
    }

    fn retain(&mut self, positions: &[usize]) -> Result<(), BoxError> {
        let ascend = positions.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = positions.iter().all(|&at| at < self.len());
        if self.fault != Fault::PositionsAreNotChecked && !(ascend && inside) {
            return Err("wrong positions".into());
        }
        self.data = match self.fault {
            Fault::RanksStayOpen => self.data[..positions.len() * self.width].to_vec(),
            _ => positions
                .iter()
                .filter(|&&at| at < self.len())
                .flat_map(|&at| self.row(at).to_vec())
                .collect(),
        };
        Ok(())
    }

    fn search(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Neighbours, BoxError> {
        self.checked(queries)?;
        let k = match self.fault {
            Fault::SearchAlwaysFillsUp => k,
            _ => k.min(self.len()),
        };
        let rows = queries.rows().into_iter();
        let best = rows.map(|query| self.best(&query.to_vec(), 0..self.len(), k));
        Self::collected(k, best.collect())
    }

    fn survey(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Survey, BoxError> {
        let mut asked = queries.nrows();
        if self.fault == Fault::SurveyForgetsTheLastQuery {
            asked = asked.saturating_sub(1);
        }
        let best = (0..self.len()).map(|at| {
            let products = queries.rows().into_iter().take(asked).map(|query| {
                query
                    .iter()
                    .zip(self.row(at))
                    .map(|(a, b)| a * b)
                    .sum::<f32>()
            });
            products.fold(f32::NEG_INFINITY, f32::max)
        });
        let mut best: Vec<f32> = best.collect();
        if let (Fault::SurveyForgetsTheLastVector, Some(last)) = (self.fault, best.last_mut()) {
            *last = f32::NEG_INFINITY;
        }
        Ok(Survey {
            neighbours: self.search(queries, k)?,
            best_query: Array1::from_vec(best),
        })
    }

    fn search_first(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        first: usize,
    ) -> Result<Neighbours, BoxError> {
        self.checked(queries)?;
        if first > self.len() {
            return Err("too few vectors".into());
        }
        let k = k.min(first);
        let among = match self.fault {
            Fault::FirstIsIgnored => self.len(),
            _ => first,
        };
        let rows = queries.rows().into_iter();
        Self::collected(
            k,
            rows.map(|query| self.best(&query.to_vec(), 0..among, k))
                .collect(),
        )
    }

    fn nearest_earlier(
        &self,
        positions: &[usize],
        floor: usize,
        k: usize,
    ) -> Result<Neighbours, BoxError> {
        if positions.iter().any(|&at| at >= self.len()) {
            return Err("out of range".into());
        }
        let floor = if self.fault == Fault::FloorIsIgnored {
            0
        } else {
            floor
        };
        let own = usize::from(self.fault == Fault::OwnPositionIsEarlier);
        let rows = positions
            .iter()
            .map(|&at| self.best(self.row(at), floor..at + own, k));
        Self::collected(k, rows.collect())
    }

    fn vectors(&self) -> Result<CowArray<'_, f32, Ix2>, BoxError> {
        let shape = (self.data.len() / self.width, self.width);
        Ok(ArrayView2::from_shape(shape, &self.data)?.into())
    }

    fn within(
        &self,
        queries: ArrayView2<'_, f32>,
        least: f32,
    ) -> Result<Vec<Vec<rareclip_core::index::Hit>>, BoxError> {
        self.checked(queries)?;
        let rows = queries.rows().into_iter().map(|query| {
            let all = self.best(&query.to_vec(), 0..self.len(), self.len());
            let wanted = |similarity: f32| match self.fault {
                Fault::WithinIsStrict => similarity > least,
                _ => similarity >= least,
            };
            let hits = all
                .into_iter()
                .filter(|entry| entry.1 != NONE && wanted(entry.0));
            hits.map(|(similarity, position)| rareclip_core::index::Hit {
                position,
                similarity,
            })
            .collect()
        });
        Ok(rows.collect())
    }

    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>, name: &str) {
        writer.floats(name, &[self.len(), self.width], self.data.as_slice());
    }

    fn load(&mut self, reader: &SnapshotReader<'_>, name: &str) -> Result<(), BoxError> {
        let rows = reader.matrix(name)?;
        self.checked(rows.view())?;
        self.data = rows.iter().copied().collect();
        if self.fault == Fault::LoadLosesTheLast {
            self.data
                .truncate(self.data.len().saturating_sub(self.width));
        }
        Ok(())
    }
}

#[test]
fn a_sound_index_passes() {
    check(&Faulty(Fault::None));
}

macro_rules! refused {
    ($($name:ident: $fault:ident => $promise:literal)*) => {
        $(#[test]
        fn $name() {
            let broken = examine(&Faulty(Fault::$fault)).unwrap_err();
            assert!(broken.promise.contains($promise), "{broken}");
        })*
    };
}

refused! {
    ranks_that_stay_open_are_found: RanksStayOpen => "close ranks"
    ties_to_the_later_are_found: TiesToTheLater => "close ranks"
    a_survey_that_forgets_a_vector_is_found: SurveyForgetsTheLastVector => "survey"
    a_survey_that_forgets_a_query_is_found: SurveyForgetsTheLastQuery => "survey"
    a_floor_that_is_ignored_is_found: FloorIsIgnored => "between floor and position"
    a_vector_that_is_its_own_earlier_one_is_found: OwnPositionIsEarlier => "between floor and position"
    a_bound_that_is_ignored_is_found: FirstIsIgnored => "among the first"
    widths_that_are_not_checked_are_found: WidthIsNotChecked => "another width"
    positions_that_are_not_checked_are_found: PositionsAreNotChecked => "do not ascend"
    memory_that_stands_still_is_found: BytesStandStill => "memory is reported"
    nan_that_counts_as_large_is_found: NanIsLarge => "NaN"
    a_state_that_loses_a_vector_is_found: LoadLosesTheLast => "never having stopped"
    neighbours_that_are_missed_are_found: MissesOneInTen => "close ranks"
    results_that_are_filled_up_are_found: SearchAlwaysFillsUp => "empty index"
    a_bound_that_is_strict_is_found: WithinIsStrict => "misses nothing"
}
