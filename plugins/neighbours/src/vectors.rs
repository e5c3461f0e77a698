//! Unit vectors of known normals, searched by cosine.

use ndarray::{Array1, Array2, ArrayView2};
use rareclip_core::ComponentError;
use rareclip_core::bank::saturating_bytes;
use rareclip_core::index::{Recall, VectorIndexFactory};
use rareclip_core::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use rareclip_core::{BoxError, VectorIndex};

/// The most bytes of up to `count` vectors of `width`, before and after the training pass.
pub(crate) fn vectors_bytes(
    index: &dyn VectorIndexFactory,
    width: usize,
    count: usize,
) -> Option<u64> {
    let collected = saturating_bytes([count, width, size_of::<f32>()]);
    Some(collected.max(index.capacity_bytes(width, count)?))
}

enum State {
    /// The vectors `[n, width]` of each known normal.
    Collecting(Vec<Array2<f32>>),
    Fitted(Box<dyn VectorIndex>),
}

/// The vectors of one branch: those of the known normals one by one, after the training pass an
/// index over all.
pub(crate) struct Vectors {
    width: usize,
    state: State,
}

impl Vectors {
    pub(crate) fn new(width: usize) -> Self {
        Self {
            width,
            state: State::Collecting(Vec::new()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.state {
            State::Collecting(images) => images.iter().map(Array2::nrows).sum(),
            State::Fitted(index) => index.len(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match &self.state {
            State::Collecting(_) => self.len() * self.width * size_of::<f32>(),
            State::Fitted(index) => index.bytes(),
        }
    }

    pub(crate) fn fitted(&self) -> bool {
        matches!(self.state, State::Fitted(_))
    }

    /// Takes the vectors `[n, width]` of one known normal.
    pub(crate) fn collect(&mut self, rows: Array2<f32>) -> Result<(), ComponentError> {
        match &mut self.state {
            State::Collecting(images) => {
                images.push(rows);
                Ok(())
            }
            State::Fitted(_) => Err(ComponentError::AlreadyFitted),
        }
    }

    /// Moves the vectors into an index; images leave as they enter, so that an index which grows
    /// with them does not hold them twice.
    pub(crate) fn fit(&mut self, factory: &dyn VectorIndexFactory) -> Result<(), BoxError> {
        let mut index = factory.build(self.width, self.len())?;
        let State::Collecting(images) = &mut self.state else {
            return Err(ComponentError::AlreadyFitted.into());
        };
        for image in images.drain(..) {
            index.append(image.view())?;
        }
        self.state = State::Fitted(index);
        Ok(())
    }

    /// One minus the mean of the `k` largest cosines of each query `[queries, width]`, at least 0.
    pub(crate) fn distances(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
    ) -> Result<Array1<f32>, BoxError> {
        let State::Fitted(index) = &self.state else {
            return Err(ComponentError::NotFitted.into());
        };
        let found = index.search(queries, k)?.similarity;
        let distance = |row: ndarray::ArrayView1<'_, f32>| {
            let mean = if row.iter().all(|&similarity| similarity > f32::NEG_INFINITY) {
                row.mean().unwrap_or(0.0)
            } else {
                mean_of_found(row)
            };
            (1.0 - mean).max(0.0)
        };
        Ok(found.rows().into_iter().map(distance).collect())
    }

    /// What of the `k` nearest vectors the index finds for each query `[queries, width]`; `None`
    /// where it misses none by nature.
    pub(crate) fn recall(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
    ) -> Result<Option<Recall>, BoxError> {
        match &self.state {
            State::Fitted(index) if !index.exact() => {
                Recall::measure(&**index, queries, k).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Writes the vectors under `name`.
    pub(crate) fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>, name: &str) {
        match &self.state {
            State::Collecting(images) => {
                writer.value(&format!("{name}.images"), &images.len());
                for (number, image) in images.iter().enumerate() {
                    let values: Vec<f32> = image.iter().copied().collect();
                    writer.floats(&format!("{name}.image{number}"), image.shape(), values);
                }
            }
            State::Fitted(index) => {
                index.save(writer, &format!("{name}.vectors"));
            }
        }
    }

    /// Reads what [`save`](Self::save) wrote in the same phase.
    pub(crate) fn load(
        &mut self,
        reader: &SnapshotReader<'_>,
        name: &str,
        fitted: bool,
        factory: &dyn VectorIndexFactory,
    ) -> Result<(), BoxError> {
        if fitted {
            let name = format!("{name}.vectors");
            let mut index = factory.build(self.width, 0)?;
            index.load(reader, &name)?;
            if index.is_empty() {
                let problem = format!("has shape [0, {}], expected [at least 1, {0}]", self.width);
                return Err(SnapshotError::Entry { name, problem }.into());
            }
            self.state = State::Fitted(index);
            return Ok(());
        }
        let count: usize = reader.value(&format!("{name}.images"))?;
        let images: Result<Vec<_>, SnapshotError> = (0..count)
            .map(|number| self.matrix(reader, &format!("{name}.image{number}")))
            .collect();
        self.state = State::Collecting(images?);
        Ok(())
    }

    fn matrix(
        &self,
        reader: &SnapshotReader<'_>,
        name: &str,
    ) -> Result<Array2<f32>, SnapshotError> {
        let matrix = reader.matrix(name)?;
        let (rows, width) = matrix.dim();
        if width == self.width && rows > 0 {
            return Ok(matrix);
        }
        Err(SnapshotError::Entry {
            name: name.to_owned(),
            problem: format!(
                "has shape [{rows}, {width}], expected [at least 1, {}]",
                self.width
            ),
        })
    }
}

/// The mean of those that an approximate index found; where it found nobody, -1: as unlike as can
/// be.
fn mean_of_found(row: ndarray::ArrayView1<'_, f32>) -> f32 {
    let found = row
        .iter()
        .filter(|&&similarity| similarity > f32::NEG_INFINITY);
    let (sum, count) = found.fold((0.0, 0.0), |(sum, count), similarity| {
        (sum + similarity, count + 1.0)
    });
    if count == 0.0 { -1.0 } else { sum / count }
}
