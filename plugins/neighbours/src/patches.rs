//! The bank `patches`.

use std::sync::Arc;

use ndarray::{Array2, s};
use rareclip_core::ComponentError;
use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::bank::{
    BankStatus, ErasedBank, Learning, MemoryBank, MemoryBankFactory, saturating_bytes,
};
use rareclip_core::index::{Recall, VectorIndexFactory};
use rareclip_core::patches::{aggregate, check_neighbourhoods};
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{BoxError, Branch, Distance, Evidence, Features, Grid, Role, typetag};

use crate::error::too_many_normals;
use crate::options::{PatchOptions, check_shapes, require_bound, widths};
use crate::vectors::{Vectors, vectors_bytes};

#[typetag::serde(name = "patches")]
impl MemoryBankFactory for PatchOptions {
    fn blocks(&self) -> Vec<usize> {
        self.blocks.clone()
    }

    fn capacity_bytes(&self, backbone: &BackboneSpec) -> Result<Option<u64>, BoxError> {
        let blocks = checked(self, backbone)?;
        let count = self.max_normals.saturating_mul(backbone.grid.patches());
        let sides = saturating_bytes([self.neighbourhoods.len()]);
        let each = |&(_, width): &(usize, usize)| vectors_bytes(&*self.index, width, count);
        Ok(blocks.iter().map(each).try_fold(0u64, |sum, each| {
            Some(sum.saturating_add(each?.saturating_mul(sides)))
        }))
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        Ok(Box::new(PatchBank::new(self, backbone)?))
    }
}

/// One neighbourhood size on one block.
struct PatchBranch {
    block: usize,
    neighbourhood: usize,
    vectors: Vectors,
}

impl PatchBranch {
    /// Patches `[patches, width]` of unit length.
    fn patches(&self, features: &Features) -> Result<Array2<f32>, BoxError> {
        let tokens = features.block(self.block)?;
        let mut patches = Vec::new();
        aggregate(
            tokens.view(),
            features.grid,
            self.neighbourhood,
            &mut patches,
        )?;
        Ok(Array2::from_shape_vec(tokens.dim(), patches)?)
    }
}

/// Every patch of the known normals of one stream.
struct PatchBank {
    branches: Vec<PatchBranch>,
    /// Blocks with their widths.
    blocks: Vec<(usize, usize)>,
    grid: Grid,
    neighbours: usize,
    max_normals: usize,
    /// The most bytes that the vectors of all branches take.
    most_bytes: usize,
    index: Arc<dyn VectorIndexFactory>,
    images: u64,
}

/// The blocks with their widths, of options that fit the backbone.
fn checked(
    options: &PatchOptions,
    backbone: &BackboneSpec,
) -> Result<Vec<(usize, usize)>, ComponentError> {
    let blocks = widths(&options.blocks, backbone)?;
    let sides = &options.neighbourhoods;
    check_neighbourhoods("neighbourhoods", sides, backbone.grid)?;
    let different = (1..sides.len()).all(|at| !sides[..at].contains(&sides[at]));
    let odd = !sides.is_empty() && sides.iter().all(|side| side % 2 == 1);
    ComponentError::require(
        different && odd,
        "neighbourhoods",
        sides,
        "a list of different odd numbers",
    )?;
    let neighbours = options.neighbours;
    ComponentError::require(neighbours >= 1, "neighbours", neighbours, "at least 1")?;
    require_bound(options.max_normals)?;
    Ok(blocks)
}

impl PatchBank {
    fn new(options: &PatchOptions, backbone: &BackboneSpec) -> Result<Self, BoxError> {
        let blocks = checked(options, backbone)?;
        let sides = &options.neighbourhoods;
        let neighbours = options.neighbours;
        let index = Arc::clone(&options.index);
        // A missing engine should be found out now.
        let mut most_bytes = 0usize;
        for &(_, width) in &blocks {
            let vectors = options.max_normals.saturating_mul(backbone.grid.patches());
            let each = index.build(width, 1)?.capacity_bytes(vectors);
            most_bytes = most_bytes.saturating_add(each.saturating_mul(sides.len()));
        }
        let branch = |neighbourhood: usize, (block, width): (usize, usize)| PatchBranch {
            block,
            neighbourhood,
            vectors: Vectors::new(width),
        };
        let of_side = |&side: &usize| blocks.iter().map(move |&block| branch(side, block));
        Ok(Self {
            branches: sides.iter().flat_map(of_side).collect(),
            blocks: blocks.clone(),
            grid: backbone.grid,
            neighbours,
            max_normals: options.max_normals,
            most_bytes,
            index,
            images: 0,
        })
    }

    fn fitted(&self) -> bool {
        self.branches
            .first()
            .is_some_and(|branch| branch.vectors.fitted())
    }
}

impl State for PatchBank {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        writer.value("images", &self.images);
        writer.value("fitted", &self.fitted());
        for (number, branch) in self.branches.iter().enumerate() {
            branch.vectors.save(writer, &format!("branch{number}"));
        }
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        self.images = reader.value("images")?;
        let fitted = reader.value("fitted")?;
        for (number, branch) in self.branches.iter_mut().enumerate() {
            let name = format!("branch{number}");
            branch
                .vectors
                .load(reader, &name, fitted, self.index.as_ref())?;
        }
        Ok(self)
    }
}

impl MemoryBank for PatchBank {
    type Carry = ();

    fn learning(&self) -> Learning {
        Learning::Fit
    }

    fn collect(&mut self, features: &Features) -> Result<(), BoxError> {
        check_shapes(features, self.grid, &self.blocks)?;
        if self.fitted() {
            return Err(ComponentError::AlreadyFitted.into());
        }
        if self.images >= self.max_normals as u64 {
            let max_normals = self.max_normals;
            return Err(too_many_normals(max_normals).into());
        }
        // All branches or none.
        let branches = self.branches.iter();
        let patches: Result<Vec<_>, BoxError> =
            branches.map(|branch| branch.patches(features)).collect();
        for (branch, patches) in self.branches.iter_mut().zip(patches?) {
            branch.vectors.collect(patches)?;
        }
        self.images += 1;
        Ok(())
    }

    fn fit(&mut self) -> Result<(), BoxError> {
        let found = self
            .branches
            .iter()
            .map(|branch| branch.vectors.len())
            .min();
        let found = found.unwrap_or(0);
        if found < self.neighbours {
            return Err(ComponentError::TooFewNormals {
                what: "patches",
                found,
                needed: self.neighbours,
                remedy: ", or lower `neighbours`",
            }
            .into());
        }
        for branch in &mut self.branches {
            branch.vectors.fit(self.index.as_ref())?;
        }
        Ok(())
    }

    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        check_shapes(features, self.grid, &self.blocks)?;
        let assess = |branch: &PatchBranch| {
            let patches = branch.patches(features)?;
            let distances = branch.vectors.distances(patches.view(), self.neighbours)?;
            let (block, side) = (branch.block, branch.neighbourhood);
            Ok(Branch::of_block(block, side, Distance::Cosine, distances))
        };
        let branches: Result<Vec<_>, BoxError> = self.branches.iter().map(assess).collect();
        Ok((Evidence::new(branches?), ()))
    }

    fn absorb(&mut self, _: &Features, (): (), _: Role) -> Result<(), BoxError> {
        Ok(())
    }

    fn recall(&self, features: &Features, stride: usize) -> Result<Option<Recall>, BoxError> {
        check_shapes(features, self.grid, &self.blocks)?;
        Recall::together(self.branches.iter().map(|branch| {
            let patches = branch.patches(features)?;
            let queries = patches.slice(s![..;stride.max(1), ..]);
            branch.vectors.recall(queries, self.neighbours)
        }))
    }

    fn status(&self) -> BankStatus {
        let bytes = self
            .branches
            .iter()
            .map(|branch| branch.vectors.bytes())
            .sum();
        BankStatus {
            images: self.images,
            prototypes: self
                .branches
                .iter()
                .map(|branch| branch.vectors.len())
                .sum(),
            bytes,
            capacity_bytes: if self.fitted() {
                bytes
            } else {
                self.most_bytes
            },
        }
    }
}
