//! The rareclip bank `acme-bank`: the patches of the latest images, searched one by one.

use std::any::Any;

use ndarray::{Array2, ArrayView1, Axis, concatenate, s};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::bank::BankAssessment;
use rareclip_core::patches::aggregate;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{
    BankStatus, BoxError, Branch, Evidence, Features, Grid, MemoryBank, MemoryBankFactory, Role,
    typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

rareclip_core::register!(bank AcmeBankOptions);

/// The patches of the latest images; a patch is as rare as it is unlike the most similar of them, by cosine.
///
/// Known normals are remembered like other images, and leave like them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AcmeBankOptions {
    /// The block read, 1-based. Default 1.
    #[schemars(range(min = 1, max = 1000))]
    pub block: usize,
    /// Images remembered. Default 20.
    #[schemars(range(min = 1, max = 10_000))]
    pub images: usize,
}

impl Default for AcmeBankOptions {
    fn default() -> Self {
        Self {
            block: 1,
            images: 20,
        }
    }
}

#[typetag::serde(name = "acme-bank")]
impl MemoryBankFactory for AcmeBankOptions {
    fn blocks(&self) -> Vec<usize> {
        vec![self.block]
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn MemoryBank>, BoxError> {
        let width = backbone.width_of(self.block);
        let width = width.ok_or_else(|| format!("the backbone has no block {}", self.block))?;
        Ok(Box::new(Latest {
            block: self.block,
            images: self.images,
            grid: backbone.grid,
            patches: Array2::zeros((0, width)),
            absorbed: 0,
        }))
    }
}

/// The bank of one stream.
struct Latest {
    block: usize,
    images: usize,
    grid: Grid,
    /// Of unit length, `[held images x patches of an image, width]`, the oldest first.
    patches: Array2<f32>,
    absorbed: u64,
}

/// The patches of an image, of unit length `[patches, width]`.
struct Patches(Array2<f32>);

impl Latest {
    fn patches_of(&self, features: &Features) -> Result<Array2<f32>, BoxError> {
        let tokens = features.block(self.block)?;
        let shape = (self.grid.patches(), self.patches.ncols());
        if features.grid != self.grid || tokens.dim() != shape {
            return Err(format!("tokens are {:?}, expected {shape:?}", tokens.dim()).into());
        }
        let mut patches = Vec::new();
        aggregate(tokens.view(), features.grid, 1, &mut patches)?;
        Ok(Array2::from_shape_vec(shape, patches)?)
    }

    /// 1 less the cosine with the most similar patch remembered.
    fn rarity(&self, patch: ArrayView1<'_, f32>) -> f32 {
        if self.patches.is_empty() {
            return 0.0;
        }
        let remembered = self.patches.rows().into_iter();
        let cosines = remembered.map(|other| other.dot(&patch));
        (1.0 - cosines.fold(-1.0, f32::max)).clamp(0.0, 2.0)
    }
}

impl MemoryBank for Latest {
    fn assess(&self, features: &Features) -> Result<BankAssessment, BoxError> {
        let patches = self.patches_of(features)?;
        let rows = patches.rows().into_iter();
        let branch = Branch {
            block: self.block,
            neighbourhood: 1,
            rarity: rows.map(|patch| self.rarity(patch)).collect(),
            normal_rarity: None,
        };
        Ok(BankAssessment {
            evidence: Evidence::new(vec![branch]),
            carry: Box::new(Patches(patches)),
        })
    }

    fn absorb(
        &mut self,
        _: &Features,
        carry: Box<dyn Any + Send>,
        _: Role,
    ) -> Result<(), BoxError> {
        let Patches(new) = *carry
            .downcast::<Patches>()
            .map_err(|_| "the assessment is another bank's")?;
        let most = (self.images - 1) * self.grid.patches();
        let leave = self.patches.nrows().saturating_sub(most);
        let stay = self.patches.slice(s![leave.., ..]);
        self.patches = concatenate(Axis(0), &[stay, new.view()])?;
        self.absorbed += 1;
        Ok(())
    }

    fn status(&self) -> BankStatus {
        let bytes = |rows: usize| rows * self.patches.ncols() * size_of::<f32>();
        BankStatus {
            images: self.absorbed,
            prototypes: self.patches.nrows(),
            bytes: bytes(self.patches.nrows()),
            capacity_bytes: bytes(self.images * self.grid.patches()),
        }
    }

    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        let patches: Vec<f32> = self.patches.iter().copied().collect();
        writer.value("absorbed", &self.absorbed);
        writer.floats("patches", self.patches.shape(), patches);
    }

    fn load(&mut self, reader: &SnapshotReader<'_>) -> Result<(), BoxError> {
        let patches = reader.matrix("patches")?;
        let absorbed = reader.value::<u64>("absorbed")?;
        let held = absorbed.min(self.images as u64) as usize * self.grid.patches();
        let (found, expected) = (patches.dim(), (held, self.patches.ncols()));
        if found != expected {
            return Err(format!("`patches` is {found:?}, expected {expected:?}").into());
        }
        (self.patches, self.absorbed) = (patches, absorbed);
        Ok(())
    }
}
