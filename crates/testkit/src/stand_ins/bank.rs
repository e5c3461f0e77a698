use std::sync::Arc;

use ndarray::{Array1, Array2};
use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::index::Recall;
use rareclip_core::patches::aggregate;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{
    BankStatus, BoxError, Branch, Distance, ErasedBank, Evidence, Features, Grid, MemoryBank,
    MemoryBankFactory, Role, UpdatePolicy, VectorIndex, VectorIndexFactory, typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NAME;

/// The patches of the first images, whole; an image is as rare as its patches are unlike them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BankOptions {
    /// The block read, 1-based. Default 5.
    #[schemars(range(min = 1, max = 64))]
    block: usize,
    /// Images remembered, the last ones; known normals are among them and never leave. Default 5.
    #[schemars(range(min = 1, max = 1000))]
    images: usize,
    /// How the bank searches. Default testkit.
    index: Arc<dyn VectorIndexFactory>,
    /// Which scored images are remembered. Default always.
    update: UpdatePolicy,
}

impl Default for BankOptions {
    fn default() -> Self {
        Self {
            block: 5,
            images: 5,
            index: rareclip_core::index::named(NAME),
            update: UpdatePolicy::Always,
        }
    }
}

#[typetag::serde(name = "testkit")]
impl MemoryBankFactory for BankOptions {
    fn blocks(&self) -> Vec<usize> {
        vec![self.block]
    }

    fn update(&self) -> UpdatePolicy {
        self.update.clone()
    }

    fn capacity_bytes(&self, backbone: &BackboneSpec) -> Result<Option<u64>, BoxError> {
        let width = backbone.width_of(self.block);
        let width = width.ok_or_else(|| format!("the backbone has no block {}", self.block))?;
        let capacity = self.images.max(1).saturating_mul(backbone.grid.patches());
        Ok(self.index.capacity_bytes(width, capacity))
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        let width = backbone.width_of(self.block);
        let width = width.ok_or_else(|| format!("the backbone has no block {}", self.block))?;
        let capacity = self.images.max(1) * backbone.grid.patches();
        Ok(Box::new(StandIn {
            block: self.block,
            images: self.images.max(1),
            grid: backbone.grid,
            index: self.index.build(width, capacity)?,
            absorbed: 0,
            normals: 0,
        }))
    }
}

struct StandIn {
    block: usize,
    images: usize,
    grid: Grid,
    index: Box<dyn VectorIndex>,
    absorbed: u64,
    normals: usize,
}

/// The patches of the image, and how many had been absorbed.
struct Carry {
    patches: Array2<f32>,
    absorbed: u64,
}

impl StandIn {
    /// Patches `[patches, width]` of unit length.
    fn patches(&self, features: &Features) -> Result<Array2<f32>, BoxError> {
        let tokens = features.block(self.block)?;
        let expected = (self.grid.patches(), self.index.width());
        if features.grid != self.grid || tokens.dim() != expected {
            return Err(format!("tokens of shape {:?} do not fit", tokens.shape()).into());
        }
        let mut patches = Vec::new();
        aggregate(tokens.view(), features.grid, 1, &mut patches)?;
        Ok(Array2::from_shape_vec(expected, patches)?)
    }

    fn held(&self) -> usize {
        self.index.len() / self.grid.patches().max(1)
    }
}

impl State for StandIn {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        writer.value("absorbed", &self.absorbed);
        writer.value("normals", &self.normals);
        self.index.save(writer, "patches");
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        self.absorbed = reader.value("absorbed")?;
        self.normals = reader.value("normals")?;
        self.index.load(reader, "patches")?;
        let (held, each) = (self.held(), self.grid.patches());
        let whole = self.index.len() == held * each;
        if !whole || held > self.images || self.normals > held || (held as u64) > self.absorbed {
            let rows = self.index.len();
            return Err(format!("`patches` has {rows} rows, which do not fit the rest").into());
        }
        Ok(self)
    }
}

impl MemoryBank for StandIn {
    type Carry = Carry;

    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        let patches = self.patches(features)?;
        let distances = |found: Array2<f32>| -> Array1<f32> {
            let rows = found.rows().into_iter();
            // An approximate index may find nobody.
            rows.map(|row| (1.0 - row.iter().copied().fold(-1.0, f32::max)).max(0.0))
                .collect()
        };
        let scores = match self.index.is_empty() {
            true => Array1::zeros(patches.nrows()),
            false => distances(self.index.search(patches.view(), 1)?.similarity),
        };
        let normal = self.normals * self.grid.patches();
        let normal_scores = match normal {
            0 => None,
            first => {
                let found = self.index.search_first(patches.view(), 1, first)?;
                Some(distances(found.similarity))
            }
        };
        let mut branch = Branch::of_block(self.block, 1, Distance::Cosine, scores);
        branch.normal_scores = normal_scores;
        Ok((
            Evidence::new(vec![branch]),
            Carry {
                patches,
                absorbed: self.absorbed,
            },
        ))
    }

    fn absorb(&mut self, _: &Features, carry: Self::Carry, role: Role) -> Result<(), BoxError> {
        if carry.absorbed != self.absorbed {
            return Err("the assessment is not the latest of this bank".into());
        }
        let held = self.held();
        let normals = self.normals + usize::from(role == Role::Normal);
        if role == Role::Normal && (self.normals < held || normals > self.images) {
            return Err("known normals come first, and all must fit".into());
        }
        // Where known normals fill the memory, nothing else gets in.
        if normals < self.images || role == Role::Normal {
            if held == self.images {
                let each = self.grid.patches();
                let oldest = self.normals * each..(self.normals + 1) * each;
                let kept: Vec<usize> = (0..held * each).filter(|at| !oldest.contains(at)).collect();
                self.index.retain(&kept)?;
            }
            self.index.append(carry.patches.view())?;
        }
        self.normals = normals;
        self.absorbed += 1;
        Ok(())
    }

    fn recall(&self, features: &Features, stride: usize) -> Result<Option<Recall>, BoxError> {
        let patches = self.patches(features)?;
        if self.index.exact() || self.index.is_empty() {
            return Ok(None);
        }
        let queries = patches.slice(ndarray::s![..;stride.max(1), ..]);
        Recall::measure(&*self.index, queries, 1).map(Some)
    }

    fn status(&self) -> BankStatus {
        BankStatus {
            images: self.absorbed,
            prototypes: self.index.len(),
            bytes: self.index.bytes(),
            capacity_bytes: self.index.capacity_bytes(self.images * self.grid.patches()),
        }
    }
}
