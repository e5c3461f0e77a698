//! The rareclip bank `{{name}}`: the patches of the latest images, searched one by one.

use ndarray::{Array2, ArrayView1, Axis, concatenate, s};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::patches::unit_rows;
use rareclip_core::state::check_rows;
use rareclip_core::{
    BankStatus, BoxError, Branch, Distance, ErasedBank, Evidence, Features, Grid, MemoryBank,
    MemoryBankFactory, Role, State, typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

rareclip_core::register!(bank {{Name}}Options);

/// The patches of the latest images; a patch is as rare as it is unlike the most similar of them,
/// by cosine.
///
/// Known normals are remembered like other images, and leave like them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct {{Name}}Options {
    /// The block read, 1-based. Default 1.
    #[schemars(range(min = 1, max = 1000))]
    pub block: usize,
    /// Images remembered. Default 20.
    #[schemars(range(min = 1, max = 10_000))]
    pub images: usize,
}

impl Default for {{Name}}Options {
    fn default() -> Self {
        Self {
            block: 1,
            images: 20,
        }
    }
}

#[typetag::serde(name = "{{name}}")]
impl MemoryBankFactory for {{Name}}Options {
    fn blocks(&self) -> Vec<usize> {
        vec![self.block]
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        Ok(Box::new(Latest {
            options: self.clone(),
            grid: backbone.grid,
            patches: Array2::zeros((0, backbone.width(self.block)?)),
            absorbed: 0,
        }))
    }
}

/// The bank of one stream: what is marked `#[state]` is saved, the rest comes from the options.
#[derive(State)]
#[state(check = check)]
struct Latest {
    options: {{Name}}Options,
    grid: Grid,
    /// Of unit length, `[held images x patches of an image, width]`, the oldest first.
    #[state]
    patches: Array2<f32>,
    #[state]
    absorbed: u64,
}

/// Whether a saved memory is one of this bank.
fn check(bank: &Latest) -> Result<(), BoxError> {
    let held = bank.absorbed.min(bank.options.images as u64) as usize * bank.grid.patches();
    check_rows("patches", bank.patches.nrows(), held)
}

impl MemoryBank for Latest {
    /// The patches of the image, of unit length `[patches, width]`.
    type Carry = Array2<f32>;

    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        let (block, width) = (self.options.block, self.patches.ncols());
        let patches = unit_rows(features.tokens_of(block, self.grid, width)?.view())?;
        // 1 less the cosine with the most similar patch remembered.
        let rarity = |patch: ArrayView1<'_, f32>| {
            let remembered = self.patches.rows().into_iter();
            let most = remembered.map(|other| other.dot(&patch)).reduce(f32::max);
            most.map_or(0.0, |most| (1.0 - most).clamp(0.0, 2.0))
        };
        let scores = patches.rows().into_iter().map(rarity).collect();
        let branch = Branch::of_block(block, 1, Distance::Cosine, scores);
        Ok((Evidence::new(vec![branch]), patches))
    }

    fn absorb(&mut self, _: &Features, new: Self::Carry, _: Role) -> Result<(), BoxError> {
        let most = (self.options.images - 1) * self.grid.patches();
        let leave = self.patches.nrows().saturating_sub(most);
        self.patches = concatenate![Axis(0), self.patches.slice(s![leave.., ..]), new];
        self.absorbed += 1;
        Ok(())
    }

    fn status(&self) -> BankStatus {
        let bytes = |rows: usize| rows * self.patches.ncols() * size_of::<f32>();
        BankStatus {
            images: self.absorbed,
            prototypes: self.patches.nrows(),
            bytes: bytes(self.patches.nrows()),
            capacity_bytes: bytes(self.options.images * self.grid.patches()),
        }
    }
}
