//! RareCLIP's bank: prototypes with their recurrence, one branch per neighbourhood size and block.

mod branch;

use std::sync::Arc;

use ndarray::Array1;
use rareclip_core::ComponentError;
use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::bank::{
    BankStatus, ErasedBank, MemoryBank, MemoryBankFactory, saturating_bytes,
};
use rareclip_core::index::{Recall, VectorIndexFactory};
use rareclip_core::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use rareclip_core::{BoxError, Evidence, Features, Grid, Role, UpdatePolicy, typetag};
use rayon::prelude::*;

use crate::earlier::Earlier;
use crate::error::RarityError;
use crate::options::{BranchSpec, PrototypeOptions, Sampler, branches};
use crate::pool::Pool;
pub(crate) use branch::BranchBank;
use branch::{Findings, Rules};

#[typetag::serde(name = "prototype")]
impl MemoryBankFactory for PrototypeOptions {
    fn blocks(&self) -> Vec<usize> {
        self.blocks.clone()
    }

    fn update(&self) -> UpdatePolicy {
        self.update.clone()
    }

    fn capacity_bytes(&self, backbone: &BackboneSpec) -> Result<Option<u64>, BoxError> {
        Ok(capacity_bytes(self, backbone, &*self.index)?)
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        Ok(Box::new(PrototypeBank::new(self, backbone)?))
    }
}

/// The prototypes of one stream.
pub(crate) struct PrototypeBank {
    pub(crate) branches: Vec<BranchBank>,
    rules: Rules,
    grid: Grid,
    pool: Pool,
    images: u64,
    normals: u64,
}

/// What an assessment keeps for [`MemoryBank::absorb`].
pub(crate) struct Carry {
    findings: Vec<Findings>,
    images: u64,
}

/// The branches of a bank, and the prototypes kept in each.
fn checked(
    options: &PrototypeOptions,
    backbone: &BackboneSpec,
) -> Result<(Vec<BranchSpec>, usize), ComponentError> {
    let specs = branches(&options.blocks, &options.neighbourhoods, backbone)?;
    let patches = backbone.grid.patches();
    let capacity = (options.capacity * patches as f64).floor();
    ComponentError::require(
        capacity >= 1.0 && capacity < f64::from(u32::MAX),
        "capacity",
        options.capacity,
        "enough for at least one patch and fewer than 4 billion",
    )?;
    ComponentError::require(
        options.neighbours >= 1,
        "neighbours",
        options.neighbours,
        "at least 1",
    )?;
    ComponentError::require(
        options.keep_images >= 1,
        "keep_images",
        options.keep_images,
        "at least 1",
    )?;
    let share = (0.0..=1.0).contains(&options.rarity_threshold);
    ComponentError::require(
        share,
        "rarity_threshold",
        options.rarity_threshold,
        "0 to 1",
    )?;
    ComponentError::require(
        options.looseness < 1.0,
        "looseness",
        options.looseness,
        "below 1",
    )?;
    Ok((specs, capacity as usize))
}

/// The bytes of a bank of `options`, whose index holds as much as `index` says of a width and a
/// number of vectors.
fn capacity_bytes(
    options: &PrototypeOptions,
    backbone: &BackboneSpec,
    index: &dyn VectorIndexFactory,
) -> Result<Option<u64>, ComponentError> {
    let (specs, capacity) = checked(options, backbone)?;
    let patches = backbone.grid.patches();
    let rows = capacity.saturating_add(patches);
    let keep_images = options.keep_images;
    let matrix = saturating_bytes([capacity, keep_images, size_of::<f32>()]);
    let earlier = match options.sampler {
        Sampler::SequentialCoreset => Earlier::capacity_bytes(rows),
        _ => 0,
    };
    let widest = specs.iter().map(|spec| spec.width).max().unwrap_or(0);
    let pool = [
        2,
        specs.len(),
        patches,
        widest.max(keep_images),
        size_of::<f32>(),
    ];
    let mut bytes = saturating_bytes(pool);
    for spec in &specs {
        let Some(vectors) = index.capacity_bytes(spec.width, rows) else {
            return Ok(None);
        };
        for part in [vectors, matrix, saturating_bytes([earlier])] {
            bytes = bytes.saturating_add(part);
        }
    }
    Ok(Some(bytes))
}

impl PrototypeBank {
    pub(crate) fn new(
        options: &PrototypeOptions,
        backbone: &BackboneSpec,
    ) -> Result<Self, BoxError> {
        let (specs, capacity) = checked(options, backbone)?;
        let patches = backbone.grid.patches();
        let rules = Rules {
            capacity,
            neighbours: options.neighbours,
            looseness: options.looseness,
            rarity_threshold: options.rarity_threshold,
            sampler: options.sampler.clone(),
            index: Arc::clone(&options.index),
        };
        let built: Result<Vec<BranchBank>, BoxError> = specs
            .iter()
            .map(|&spec| BranchBank::new(spec, &rules, patches, options.keep_images))
            .collect();
        let branches = built?;
        let widest = specs.iter().map(|spec| spec.width).max().unwrap_or(0);
        Ok(Self {
            // Patch features and their recurrence, per branch.
            pool: Pool::new(
                2 * branches.len(),
                patches * widest.max(options.keep_images),
            ),
            branches,
            rules,
            grid: backbone.grid,
            images: 0,
            normals: 0,
        })
    }

    fn check(&self, features: &Features) -> Result<(), BoxError> {
        let specs = self.branches.iter().map(|branch| &branch.spec);
        BranchSpec::check_all(specs, features, self.grid)
    }
}

impl State for PrototypeBank {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        writer.value("images", &self.images);
        writer.value("normals", &self.normals);
        for (number, branch) in self.branches.iter().enumerate() {
            writer.scoped(&format!("branch{number}"), |writer| branch.save(writer));
        }
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        self.images = reader.value("images")?;
        self.normals = reader.value("normals")?;
        if self.normals > self.images {
            let (normals, images) = (self.normals, self.images);
            return Err(SnapshotError::Entry {
                name: "normals".into(),
                problem: format!("has {normals} known normals of {images} images"),
            }
            .into());
        }
        for (number, branch) in self.branches.iter_mut().enumerate() {
            branch.load(reader, &format!("branch{number}."), &self.rules)?;
        }
        Ok(self)
    }
}

impl MemoryBank for PrototypeBank {
    type Carry = Carry;

    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        self.check(features)?;
        let found: Result<Vec<Findings>, BoxError> = self
            .branches
            .par_iter()
            .map(|branch| branch.assess(features, &self.rules, &self.pool))
            .collect();
        let mut findings = found?;
        let branches = self.branches.iter().zip(&mut findings);
        let branches = branches.map(|(branch, findings)| {
            let normal_rarity = findings.normal_rarity.take();
            branch.spec.evidence(
                Array1::from_vec(std::mem::take(&mut findings.rarity)),
                normal_rarity.map(Array1::from_vec),
            )
        });
        let evidence = Evidence::new(branches.collect());
        let carry = Carry {
            findings,
            images: self.images,
        };
        Ok((evidence, carry))
    }

    fn absorb(
        &mut self,
        features: &Features,
        carry: Self::Carry,
        role: Role,
    ) -> Result<(), BoxError> {
        self.check(features)?;
        if carry.images != self.images || carry.findings.len() != self.branches.len() {
            return Err(RarityError::ForeignAssessment("bank").into());
        }
        if role == Role::Normal && self.normals < self.images {
            return Err(ComponentError::LateNormal.into());
        }
        let normals = self.normals + u64::from(role == Role::Normal);
        let image = self.images;
        let rules = &self.rules;
        self.branches
            .par_iter_mut()
            .zip(carry.findings)
            .enumerate()
            .try_for_each(|(number, (branch, findings))| {
                branch.absorb(findings, rules, role, normals as usize, (number, image))
            })?;
        self.images += 1;
        self.normals = normals;
        Ok(())
    }

    fn recall(&self, features: &Features, stride: usize) -> Result<Option<Recall>, BoxError> {
        self.check(features)?;
        let branches = self.branches.iter();
        Recall::together(branches.map(|branch| branch.recall(features, &self.rules, stride)))
    }

    fn status(&self) -> BankStatus {
        let of = |count: fn(&BranchBank) -> usize| self.branches.iter().map(count).sum::<usize>();
        let capacity: usize = self
            .branches
            .iter()
            .map(|branch| branch.capacity_bytes(self.rules.capacity, self.grid.patches()))
            .sum();
        BankStatus {
            images: self.images,
            prototypes: of(|branch| branch.index.len()),
            bytes: of(BranchBank::bytes) + self.pool.bytes(),
            capacity_bytes: capacity + self.pool.capacity_bytes(),
        }
    }
}
