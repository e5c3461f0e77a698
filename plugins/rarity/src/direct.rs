//! RareCLIP-d's bank: a sample of every remembered image, compared with directly.

use std::collections::VecDeque;
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rareclip_core::ComponentError;
use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::bank::{
    BankStatus, ErasedBank, MemoryBank, MemoryBankFactory, saturating_bytes,
};
use rareclip_core::index::{Recall, VectorIndexFactory};
use rareclip_core::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use rareclip_core::{BoxError, Evidence, Features, Grid, Role, UpdatePolicy, VectorIndex, typetag};
use rayon::prelude::*;

use crate::calibrate::{loose, mean_of_largest, voters};
use crate::error::RarityError;
use crate::options::{BranchSpec, DirectOptions, branches};
use crate::sampler;
use rareclip_core::patches::aggregate;

#[typetag::serde(name = "prototype-direct")]
impl MemoryBankFactory for DirectOptions {
    fn blocks(&self) -> Vec<usize> {
        self.blocks.clone()
    }

    fn update(&self) -> UpdatePolicy {
        self.update.clone()
    }

    fn capacity_bytes(&self, backbone: &BackboneSpec) -> Result<Option<u64>, BoxError> {
        let (specs, sample) = checked(self, backbone)?;
        let kept = saturating_bytes([self.keep_images]);
        let each = specs
            .iter()
            .map(|spec| self.index.capacity_bytes(spec.width, sample));
        Ok(each.into_iter().try_fold(0u64, |sum, each| {
            Some(sum.saturating_add(each?.saturating_mul(kept)))
        }))
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        Ok(Box::new(DirectBank::new(self, backbone)?))
    }
}

struct Rules {
    /// Patches kept of an image.
    sample: usize,
    rarity_threshold: f64,
    keep_images: usize,
    normal_looseness: f64,
    index: Arc<dyn VectorIndexFactory>,
}

/// One branch: the samples of the remembered images, known normals first, then oldest first.
pub(crate) struct DirectBranch {
    spec: BranchSpec,
    /// The most bytes that a sample takes.
    most_bytes: usize,
    pub(crate) images: VecDeque<Box<dyn VectorIndex>>,
}

/// What a branch found out about one image.
struct Findings {
    /// Patch features `[patches, width]`.
    patches: Array2<f32>,
    rarity: Array1<f32>,
    normal_rarity: Option<Array1<f32>>,
}

pub(crate) struct Carry {
    patches: Vec<Array2<f32>>,
    images: u64,
}

/// The samples of one stream.
pub(crate) struct DirectBank {
    pub(crate) branches: Vec<DirectBranch>,
    rules: Rules,
    grid: Grid,
    images: u64,
    normals: usize,
}

impl DirectBranch {
    /// Compares an image with every remembered one.
    fn assess(
        &self,
        features: &Features,
        rules: &Rules,
        normals: usize,
    ) -> Result<Findings, BoxError> {
        let tokens = features.block(self.spec.block)?;
        let count = tokens.nrows();
        let mut patches = Vec::new();
        aggregate(
            tokens.view(),
            features.grid,
            self.spec.neighbourhood,
            &mut patches,
        )?;
        let patches = Array2::from_shape_vec((count, self.spec.width), patches)?;
        if self.images.is_empty() {
            let rarity = Array1::zeros(count);
            return Ok(Findings {
                patches,
                rarity,
                normal_rarity: None,
            });
        }
        let mut best = Array2::zeros((count, self.images.len()));
        for (mut column, image) in best.columns_mut().into_iter().zip(&self.images) {
            // An approximate index may find nobody: then the image says that the patch is as unlike
            // as a patch can be.
            let found = image.search(patches.view(), 1)?.similarity;
            column.assign(&found.column(0).mapv(|similarity| similarity.max(-1.0)));
        }
        let normal_rarity = (normals > 0).then(|| {
            let normal = best.slice(ndarray::s![.., ..normals.min(best.ncols())]);
            let largest = |row: ndarray::ArrayView1<'_, f32>| {
                row.iter().copied().fold(f32::NEG_INFINITY, f32::max)
            };
            let mut nearest: Vec<f32> = normal.rows().into_iter().map(largest).collect();
            loose(&mut nearest, rules.normal_looseness, &mut Vec::new());
            nearest.iter().map(|value| 1.0 - value * value).collect()
        });
        let voters = voters(self.images.len(), rules.rarity_threshold);
        let rarity = best
            .rows_mut()
            .into_iter()
            .map(|mut row| match row.as_slice_mut() {
                Some(row) => 1.0 - mean_of_largest(row, voters),
                None => 0.0,
            })
            .collect();
        Ok(Findings {
            patches,
            rarity,
            normal_rarity,
        })
    }

    /// The sample of an image: sequential sampling of the image on its own.
    fn sample(
        &self,
        patches: ArrayView2<'_, f32>,
        rules: &Rules,
    ) -> Result<Box<dyn VectorIndex>, BoxError> {
        let mut whole = rules.index.build(self.spec.width, patches.nrows())?;
        whole.append(patches)?;
        let all: Vec<usize> = (0..patches.nrows()).collect();
        let nearest = whole.nearest_earlier(&all, 0, 1)?;
        let distances: Vec<f32> = nearest
            .similarity
            .iter()
            .map(|value| value.max(0.0))
            .collect();
        let kept = sampler::smallest(&distances, rules.sample);
        let mut sample = rules.index.build(self.spec.width, kept.len())?;
        sample.append(patches.select(Axis(0), &kept).view())?;
        Ok(sample)
    }
}

/// The branches of a bank, and the patches kept of an image in each.
fn checked(
    options: &DirectOptions,
    backbone: &BackboneSpec,
) -> Result<(Vec<BranchSpec>, usize), ComponentError> {
    let specs = branches(&options.blocks, &options.neighbourhoods, backbone)?;
    let share = |value: f64| (0.0..=1.0).contains(&value);
    ComponentError::require(
        share(options.image_share),
        "image_share",
        options.image_share,
        "0 to 1",
    )?;
    ComponentError::require(
        share(options.rarity_threshold),
        "rarity_threshold",
        options.rarity_threshold,
        "0 to 1",
    )?;
    ComponentError::require(
        options.keep_images >= 1,
        "keep_images",
        options.keep_images,
        "at least 1",
    )?;
    let looseness = options.normal_looseness;
    ComponentError::require(looseness < 1.0, "normal_looseness", looseness, "below 1")?;
    let patches = backbone.grid.patches();
    let sample = (options.image_share * patches as f64).floor() as usize;
    Ok((specs, sample.clamp(1, patches.max(1))))
}

impl DirectBank {
    pub(crate) fn new(options: &DirectOptions, backbone: &BackboneSpec) -> Result<Self, BoxError> {
        let (specs, sample) = checked(options, backbone)?;
        let rules = Rules {
            sample,
            rarity_threshold: options.rarity_threshold,
            keep_images: options.keep_images,
            normal_looseness: options.normal_looseness,
            index: Arc::clone(&options.index),
        };
        let branch = |spec: BranchSpec| -> Result<DirectBranch, BoxError> {
            // A missing engine should be found out now.
            let index = rules.index.build(spec.width, rules.sample)?;
            Ok(DirectBranch {
                spec,
                most_bytes: index.capacity_bytes(rules.sample),
                images: VecDeque::new(),
            })
        };
        let branches: Result<Vec<_>, BoxError> = specs.into_iter().map(branch).collect();
        Ok(Self {
            branches: branches?,
            rules,
            grid: backbone.grid,
            images: 0,
            normals: 0,
        })
    }

    fn held(&self) -> usize {
        self.branches
            .first()
            .map_or(0, |branch| branch.images.len())
    }

    fn check(&self, features: &Features) -> Result<(), BoxError> {
        let specs = self.branches.iter().map(|branch| &branch.spec);
        BranchSpec::check_all(specs, features, self.grid)
    }
}

impl State for DirectBank {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        writer.value("images", &self.images);
        writer.value("normals", &self.normals);
        writer.value("held", &self.held());
        for (number, branch) in self.branches.iter().enumerate() {
            for (place, image) in branch.images.iter().enumerate() {
                image.save(writer, &format!("branch{number}.image{place}"));
            }
        }
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        self.images = reader.value("images")?;
        self.normals = reader.value("normals")?;
        let held: usize = reader.value("held")?;
        for (number, branch) in self.branches.iter_mut().enumerate() {
            branch.images.clear();
            for place in 0..held {
                let name = format!("branch{number}.image{place}");
                let mut index = self
                    .rules
                    .index
                    .build(branch.spec.width, self.rules.sample)?;
                index.load(reader, &name)?;
                let rows = index.len();
                if rows != self.rules.sample || held > self.rules.keep_images {
                    let problem = format!(
                        "has {rows} rows in {held} images, expected {} in up to {}",
                        self.rules.sample, self.rules.keep_images
                    );
                    return Err(SnapshotError::Entry { name, problem }.into());
                }
                branch.images.push_back(index);
            }
        }
        Ok(self)
    }
}

impl MemoryBank for DirectBank {
    type Carry = Carry;

    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        self.check(features)?;
        let found: Result<Vec<Findings>, BoxError> = self
            .branches
            .par_iter()
            .map(|branch| branch.assess(features, &self.rules, self.normals))
            .collect();
        let mut evidence = Vec::with_capacity(self.branches.len());
        let mut patches = Vec::with_capacity(self.branches.len());
        for (branch, findings) in self.branches.iter().zip(found?) {
            patches.push(findings.patches);
            evidence.push(
                branch
                    .spec
                    .evidence(findings.rarity, findings.normal_rarity),
            );
        }
        let carry = Carry {
            patches,
            images: self.images,
        };
        Ok((Evidence::new(evidence), carry))
    }

    fn absorb(
        &mut self,
        features: &Features,
        carry: Self::Carry,
        role: Role,
    ) -> Result<(), BoxError> {
        self.check(features)?;
        if carry.images != self.images || carry.patches.len() != self.branches.len() {
            return Err(RarityError::ForeignAssessment("bank").into());
        }
        if role == Role::Normal && (self.normals as u64) < self.images {
            return Err(ComponentError::LateNormal.into());
        }
        let normals = self.normals + usize::from(role == Role::Normal);
        if normals > self.rules.keep_images {
            let keep_images = self.rules.keep_images;
            return Err(ComponentError::TooManyNormals {
                most: keep_images,
                option: "keep_images",
            }
            .into());
        }
        let samples: Result<Vec<Box<dyn VectorIndex>>, BoxError> = self
            .branches
            .par_iter()
            .zip(carry.patches)
            .map(|(branch, patches)| branch.sample(patches.view(), &self.rules))
            .collect();
        for (branch, sample) in self.branches.iter_mut().zip(samples?) {
            branch.images.push_back(sample);
            if branch.images.len() > self.rules.keep_images {
                branch.images.remove(normals);
            }
        }
        self.images += 1;
        self.normals = normals;
        Ok(())
    }

    fn recall(&self, features: &Features, stride: usize) -> Result<Option<Recall>, BoxError> {
        self.check(features)?;
        let mut all: Option<Recall> = None;
        for branch in &self.branches {
            let tokens = features.block(branch.spec.block)?;
            let mut patches = Vec::new();
            let side = branch.spec.neighbourhood;
            aggregate(tokens.view(), features.grid, side, &mut patches)?;
            let patches = ArrayView2::from_shape((tokens.nrows(), branch.spec.width), &patches)?;
            let queries = patches.slice(ndarray::s![..;stride.max(1), ..]);
            for image in branch.images.iter().filter(|image| !image.exact()) {
                *all.get_or_insert_default() += Recall::measure(&**image, queries, 1)?;
            }
        }
        Ok(all)
    }

    fn status(&self) -> BankStatus {
        let held = || self.branches.iter().flat_map(|branch| &branch.images);
        let each: usize = self.branches.iter().map(|branch| branch.most_bytes).sum();
        BankStatus {
            images: self.images,
            prototypes: held().map(|image| image.len()).sum(),
            bytes: held().map(|image| image.bytes()).sum(),
            capacity_bytes: self.rules.keep_images.saturating_mul(each),
        }
    }
}
