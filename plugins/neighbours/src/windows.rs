//! The bank `windows`.

use std::sync::Arc;

use ndarray::{Array1, Array2, s};
use rareclip_core::ComponentError;
use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::bank::{BankStatus, ErasedBank, Learning, MemoryBank, MemoryBankFactory};
use rareclip_core::index::{Recall, VectorIndexFactory};
use rareclip_core::patches::{check_windows, normalise, windows_to_patches};
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{BoxError, Branch, Distance, Evidence, Features, Grid, Role, typetag};

use crate::error::{NeighbourError, too_many_normals};
use crate::options::{WindowOptions, require_bound};
use crate::vectors::{Vectors, vectors_bytes};

#[typetag::serde(name = "windows")]
impl MemoryBankFactory for WindowOptions {
    /// None: windows are no blocks.
    fn blocks(&self) -> Vec<usize> {
        Vec::new()
    }

    fn capacity_bytes(&self, backbone: &BackboneSpec) -> Result<Option<u64>, BoxError> {
        self.check(backbone)?;
        let counts = self.sides.iter().map(|&side| {
            let each = windows_of(backbone.grid, side);
            self.max_normals.saturating_mul(each)
        });
        let each = counts.map(|count| vectors_bytes(&*self.index, backbone.embedding_width, count));
        Ok(each
            .into_iter()
            .try_fold(0u64, |sum, each| Some(sum.saturating_add(each?))))
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        self.check(backbone)?;
        let sides = &self.sides;
        // A missing engine should be found out now.
        let probe = self.index.build(backbone.embedding_width, 1)?;
        let grid = backbone.grid;
        let most = |&side: &usize| {
            probe.capacity_bytes(self.max_normals.saturating_mul(windows_of(grid, side)))
        };
        let most_bytes = sides.iter().map(most).fold(0, usize::saturating_add);
        let branch = |&side: &usize| WindowBranch {
            side,
            vectors: Vectors::new(backbone.embedding_width),
        };
        Ok(Box::new(WindowBank {
            branches: sides.iter().map(branch).collect(),
            width: backbone.embedding_width,
            grid: backbone.grid,
            images: 0,
            max_normals: self.max_normals,
            most_bytes,
            index: Arc::clone(&self.index),
        }))
    }
}

/// Windows of `side` patches, which is no longer than the grid.
fn windows_of(grid: Grid, side: usize) -> usize {
    (grid.rows + 1 - side) * (grid.columns + 1 - side)
}

impl WindowOptions {
    /// Checks that the options fit the backbone.
    fn check(&self, backbone: &BackboneSpec) -> Result<(), NeighbourError> {
        let sides = &self.sides;
        check_windows("sides", sides, backbone.grid).map_err(ComponentError::from)?;
        let different = (1..sides.len()).all(|at| !sides[..at].contains(&sides[at]));
        ComponentError::require(
            !sides.is_empty() && different && !sides.contains(&0),
            "sides",
            sides,
            "a list of different sides in patches",
        )?;
        Ok(require_bound(self.max_normals)?)
    }
}

/// The windows of one side.
struct WindowBranch {
    side: usize,
    vectors: Vectors,
}

impl WindowBranch {
    fn name(&self) -> String {
        format!("windows_{}", self.side)
    }

    /// The windows `[windows, width]` of an image, of unit length.
    fn windows(&self, features: &Features, width: usize) -> Result<Array2<f32>, NeighbourError> {
        let side = self.side;
        let windows = features
            .windows
            .get(&side)
            .ok_or_else(|| NeighbourError::Windows {
                side,
                available: features.windows.keys().copied().collect(),
            })?;
        if windows.ncols() != width {
            return Err(ComponentError::shape(
                "the windows",
                windows.shape(),
                &[windows.nrows(), width],
            )
            .into());
        }
        let mut windows = windows.as_standard_layout().into_owned();
        for mut row in windows.rows_mut() {
            if !row.as_slice_mut().is_some_and(normalise) {
                return Err(ComponentError::non_finite("a window").into());
            }
        }
        Ok(windows)
    }
}

/// The windows of the known normals of one stream.
struct WindowBank {
    branches: Vec<WindowBranch>,
    width: usize,
    grid: Grid,
    images: u64,
    max_normals: usize,
    /// The most bytes that the windows of all branches take.
    most_bytes: usize,
    index: Arc<dyn VectorIndexFactory>,
}

impl State for WindowBank {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        writer.value("images", &self.images);
        let fitted = self.branches.iter().all(|branch| branch.vectors.fitted());
        writer.value("fitted", &fitted);
        for branch in &self.branches {
            branch.vectors.save(writer, &branch.name());
        }
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        self.images = reader.value("images")?;
        let fitted = reader.value("fitted")?;
        for branch in &mut self.branches {
            let name = branch.name();
            branch
                .vectors
                .load(reader, &name, fitted, self.index.as_ref())?;
        }
        Ok(self)
    }
}

impl MemoryBank for WindowBank {
    type Carry = ();

    fn learning(&self) -> Learning {
        Learning::Fit
    }

    fn collect(&mut self, features: &Features) -> Result<(), BoxError> {
        if self.images as usize >= self.max_normals {
            let max_normals = self.max_normals;
            return Err(too_many_normals(max_normals).into());
        }
        let width = self.width;
        let windows: Result<Vec<_>, _> = self
            .branches
            .iter()
            .map(|branch| branch.windows(features, width))
            .collect();
        for (branch, windows) in self.branches.iter_mut().zip(windows?) {
            branch.vectors.collect(windows)?;
        }
        self.images += 1;
        Ok(())
    }

    fn fit(&mut self) -> Result<(), BoxError> {
        let fewest = self
            .branches
            .iter()
            .map(|branch| branch.vectors.len())
            .min();
        if fewest.unwrap_or(0) == 0 {
            return Err(ComponentError::TooFewNormals {
                what: "windows",
                found: 0,
                needed: 1,
                remedy: ", or lower `sides`",
            }
            .into());
        }
        for branch in &mut self.branches {
            branch.vectors.fit(self.index.as_ref())?;
        }
        Ok(())
    }

    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        let mut branches = Vec::with_capacity(self.branches.len());
        for branch in &self.branches {
            let windows = branch.windows(features, self.width)?;
            let distances = branch.vectors.distances(windows.view(), 1)?;
            let halves = distances.iter().map(|distance| 0.5 * distance).collect();
            let map = windows_to_patches(Array1::from_vec(halves).view(), branch.side, self.grid);
            let source = format!("windows of {0} x {0} patches", branch.side);
            let scores = map.mapv(|value| value as f32);
            branches.push(Branch::new(source, Distance::Cosine, scores));
        }
        Ok((Evidence::new(branches), ()))
    }

    fn absorb(&mut self, _: &Features, (): (), _: Role) -> Result<(), BoxError> {
        Ok(())
    }

    fn recall(&self, features: &Features, stride: usize) -> Result<Option<Recall>, BoxError> {
        Recall::together(self.branches.iter().map(|branch| {
            let windows = branch.windows(features, self.width)?;
            let queries = windows.slice(s![..;stride.max(1), ..]);
            branch.vectors.recall(queries, 1)
        }))
    }

    fn status(&self) -> BankStatus {
        let sum = |of: &dyn Fn(&Vectors) -> usize| -> usize {
            self.branches.iter().map(|branch| of(&branch.vectors)).sum()
        };
        let bytes = sum(&Vectors::bytes);
        let fitted = self.branches.iter().all(|branch| branch.vectors.fitted());
        BankStatus {
            images: self.images,
            prototypes: sum(&Vectors::len),
            bytes,
            capacity_bytes: if fitted { bytes } else { self.most_bytes },
        }
    }
}
