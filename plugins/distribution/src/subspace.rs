//! SubspaceAD's bank: the principal subspace of normal patches.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array1, Array2};
use rareclip_core::ComponentError;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::bank::{
    BankStatus, ErasedBank, MemoryBank, MemoryBankFactory, saturating_bytes,
};
use rareclip_core::patches::dot;
use rareclip_core::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use rareclip_core::{BoxError, Branch, Distance, Evidence, Features, Learning, Role, typetag};
use rayon::prelude::*;

use crate::error::StatisticsError;
use crate::options::SubspaceOptions;
use crate::scatter::Scatter;
use crate::tokens::{Blocks, finite};

/// Patches of one product: few enough to share out among threads.
const ROWS: usize = 128;

#[typetag::serde(name = "subspace")]
impl MemoryBankFactory for SubspaceOptions {
    fn blocks(&self) -> Vec<usize> {
        self.blocks.clone()
    }

    fn capacity_bytes(&self, backbone: &BackboneSpec) -> Result<Option<u64>, BoxError> {
        let (_, width) = checked(self, backbone)?;
        Ok(Some(saturating_bytes([
            width.saturating_add(1),
            width,
            size_of::<f64>(),
        ])))
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        Ok(Box::new(SubspaceBank::new(self, backbone)?))
    }
}

/// What the training pass has come to.
enum State {
    Collecting(Scatter),
    Fitted(Subspace),
}

/// A principal subspace, by what lies outside it: the residual is then a sum of squares, not a
/// difference of large numbers.
#[derive(Debug, Clone, PartialEq)]
struct Subspace {
    /// `[width]`.
    mean: Vec<f32>,
    /// Orthonormal directions outside the subspace, `[directions, width]`.
    outside: Array2<f32>,
    /// Dimensions of the subspace.
    components: usize,
}

impl Subspace {
    /// The squared length of what lies outside, for each of `patches` `[patches, width]`.
    fn residuals(&self, patches: &Array2<f32>) -> Vec<f32> {
        let (directions, width) = self.outside.dim();
        let mut deviations = Vec::with_capacity(patches.len());
        for patch in patches.rows() {
            deviations.extend(patch.iter().zip(&self.mean).map(|(x, mean)| x - mean));
        }
        let basis: &[f32] = self.outside.as_slice().unwrap_or_default();
        let basis = MatRef::from_row_major_slice(basis, directions, width);
        let part = |rows: &[f32]| {
            let count = rows.len() / width;
            let mut outside = vec![0.0f32; count * directions];
            matmul(
                MatMut::from_row_major_slice_mut(&mut outside, count, directions),
                Accum::Replace,
                MatRef::from_row_major_slice(rows, count, width),
                basis.transpose(),
                1.0,
                Par::Seq,
            );
            let length = |row: usize| {
                let row = &outside[row * directions..(row + 1) * directions];
                dot(row, row)
            };
            (0..count).map(length).collect::<Vec<f32>>()
        };
        deviations
            .par_chunks(ROWS * width)
            .flat_map_iter(part)
            .collect()
    }
}

/// The subspace of one stream.
struct SubspaceBank {
    blocks: Blocks,
    width: usize,
    explained_variance: f64,
    images: u64,
    state: State,
}

/// The blocks and their common width, of options that fit the backbone.
fn checked(
    options: &SubspaceOptions,
    backbone: &BackboneSpec,
) -> Result<(Blocks, usize), StatisticsError> {
    let blocks = Blocks::new(&options.blocks, backbone)?;
    let share = options.explained_variance;
    let fits = share > 0.0 && share <= 1.0;
    ComponentError::require(fits, "explained_variance", share, "above 0, up to 1")?;
    let widths = blocks.widths();
    let width = widths.first().copied().unwrap_or_default();
    if widths.iter().any(|&other| other != width) {
        return Err(StatisticsError::Widths { widths });
    }
    Ok((blocks, width))
}

impl SubspaceBank {
    fn new(options: &SubspaceOptions, backbone: &BackboneSpec) -> Result<Self, StatisticsError> {
        let (blocks, width) = checked(options, backbone)?;
        Ok(Self {
            blocks,
            width,
            explained_variance: options.explained_variance,
            images: 0,
            state: State::Collecting(Scatter::new(width)?),
        })
    }
}

impl rareclip_core::State for SubspaceBank {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        writer.value("images", &self.images);
        writer.value("fitted", &matches!(self.state, State::Fitted(_)));
        match &self.state {
            State::Collecting(scatter) => scatter.save(writer),
            State::Fitted(subspace) => {
                writer.floats("mean", &[self.width], subspace.mean.as_slice());
                let outside = subspace.outside.as_slice().unwrap_or_default();
                writer.floats("outside", subspace.outside.shape(), outside);
            }
        }
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        self.images = reader.value("images")?;
        if !reader.value::<bool>("fitted")? {
            let mut scatter = Scatter::new(self.width)?;
            scatter.load(reader)?;
            self.state = State::Collecting(scatter);
            return Ok(self);
        }
        let mean = reader.vector("mean")?.to_vec();
        let outside = reader.matrix("outside")?;
        let (directions, width) = outside.dim();
        let fits = mean.len() == self.width && directions <= width;
        if !fits || width != self.width {
            let problem = format!(
                "has shape [{directions}, {width}] beside a mean of {}, expected a width of {}",
                mean.len(),
                self.width
            );
            let name = "outside".into();
            return Err(SnapshotError::Entry { name, problem }.into());
        }
        self.state = State::Fitted(Subspace {
            components: width - directions,
            mean,
            outside,
        });
        Ok(self)
    }
}

impl MemoryBank for SubspaceBank {
    type Carry = ();

    fn learning(&self) -> Learning {
        Learning::Fit
    }

    fn collect(&mut self, features: &Features) -> Result<(), BoxError> {
        let patches = self.blocks.mean(features)?;
        match &mut self.state {
            State::Collecting(scatter) => scatter.add(patches.view()),
            State::Fitted(_) => return Err(ComponentError::AlreadyFitted.into()),
        }
        self.images += 1;
        Ok(())
    }

    fn fit(&mut self) -> Result<(), BoxError> {
        let State::Collecting(scatter) = &self.state else {
            return Err(ComponentError::AlreadyFitted.into());
        };
        if scatter.count < 2 {
            // The patches of one image are enough, unless it has but one.
            return Err(ComponentError::TooFewNormals {
                what: "images",
                found: self.images as usize,
                remedy: "",
                needed: if self.blocks.patches() > 1 { 1 } else { 2 },
            }
            .into());
        }
        let outside = scatter.outside(self.explained_variance)?;
        let subspace = Subspace {
            mean: scatter.mean.iter().map(|&mean| mean as f32).collect(),
            outside: outside.basis,
            components: outside.components,
        };
        if finite(&subspace.outside, "").is_err() {
            return Err(StatisticsError::Covariance.into());
        }
        self.state = State::Fitted(subspace);
        Ok(())
    }

    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        let State::Fitted(subspace) = &self.state else {
            return Err(ComponentError::NotFitted.into());
        };
        let residuals = subspace.residuals(&self.blocks.mean(features)?);
        finite(&residuals, "the residual")?;
        let residuals = Array1::from_vec(residuals);
        let branch = Branch::new("the mean of the blocks", Distance::Residual, residuals);
        Ok((Evidence::new(vec![branch]), ()))
    }

    fn absorb(&mut self, _: &Features, (): (), _: Role) -> Result<(), BoxError> {
        Ok(())
    }

    fn status(&self) -> BankStatus {
        let (bytes, prototypes) = match &self.state {
            State::Collecting(scatter) => {
                let values = scatter.mean.len() + scatter.sums.len();
                (values * size_of::<f64>(), 0)
            }
            State::Fitted(subspace) => {
                let values = subspace.mean.len() + subspace.outside.len();
                (values * size_of::<f32>(), subspace.components)
            }
        };
        BankStatus {
            images: self.images,
            prototypes,
            bytes,
            capacity_bytes: (self.width + 1) * self.width * size_of::<f64>(),
        }
    }
}
