//! Small real components, declared as a plugin would declare them.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses a part of it"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView4, Axis};
use rareclip_core::ErasedBank;
use rareclip_core::ErasedScorer;
use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::index::VectorIndexFactory;
use rareclip_core::typetag;
use rareclip_core::*;
use rareclip_imaging::{InputRecipe, Preset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub const SIDE: usize = 4;

/// Gray levels of 2 x 2 pixel patches as one-dimensional tokens.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GrayOptions {
    /// Added to every token.
    pub offset: f32,
    /// Threads to use.
    #[schemars(extend("x-runtime" = true))]
    pub threads: usize,
}

struct Gray {
    spec: BackboneSpec,
    offset: f32,
}

#[typetag::serde(name = "gray")]
impl BackboneFactory for GrayOptions {
    fn build(&self, blocks: &BTreeSet<usize>) -> Result<Arc<dyn Backbone>, BoxError> {
        Ok(Arc::new(Gray {
            spec: BackboneSpec {
                input: InputRecipe {
                    side: SIDE,
                    preset: Preset::Product,
                    ..InputRecipe::imagenet(SIDE)
                },
                grid: Grid {
                    rows: 2,
                    columns: 2,
                },
                blocks: blocks.iter().map(|block| (*block, 1)).collect(),
                embedding_width: 1,
                weights: "none".into(),
            },
            offset: self.offset,
        }))
    }
}

impl Backbone for Gray {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>, BoxError> {
        Ok(images
            .axis_iter(Axis(0))
            .map(|image| {
                let token = |patch: usize| {
                    let (row, column) = (patch / 2 * 2, patch % 2 * 2);
                    image
                        .slice(ndarray::s![0, row..row + 2, column..column + 2])
                        .sum()
                        / 4.0
                        + self.offset
                };
                let tokens = Array2::from_shape_fn((4, 1), |(patch, _)| token(patch));
                let blocks = self.spec.blocks.iter();
                let tokens = blocks.map(|(b, _)| (*b, tokens.clone())).collect();
                Features::new(self.spec.grid, tokens, Array1::ones(1))
            })
            .collect())
    }
}

/// The mean token of all images seen.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MeanOptions {
    /// The block to read.
    #[schemars(range(min = 1, max = 100))]
    pub block: usize,
    /// How the memory is searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<Arc<dyn VectorIndexFactory>>,
    /// What is remembered.
    pub keep: Keep,
    /// When it learns.
    pub pass: Pass,
    /// Which images it remembers.
    pub update: UpdatePolicy,
}

/// When a mean bank learns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pass {
    /// From every image.
    #[default]
    Online,
    /// From normals.
    Fit,
    /// From the whole batch.
    Batch,
}

/// What a mean bank keeps.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Keep {
    /// Every image.
    All,
    /// The last images.
    Last {
        /// How many.
        #[schemars(range(min = 1))]
        images: usize,
    },
}

impl Default for MeanOptions {
    fn default() -> Self {
        Self {
            block: 1,
            index: None,
            keep: Keep::All,
            pass: Pass::Online,
            update: UpdatePolicy::Always,
        }
    }
}

#[typetag::serde(name = "mean")]
impl MemoryBankFactory for MeanOptions {
    fn blocks(&self) -> Vec<usize> {
        vec![self.block]
    }

    fn update(&self) -> UpdatePolicy {
        self.update.clone()
    }

    fn build(&self, _: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        Ok(Box::new(Mean {
            block: self.block,
            pass: self.pass,
            sum: 0.0,
            images: 0,
        }))
    }
}

#[derive(State)]
struct Mean {
    block: usize,
    pass: Pass,
    #[state]
    sum: f32,
    #[state]
    images: u64,
}

impl Mean {
    fn level(&self, features: &Features) -> Result<f32, BoxError> {
        Ok(features.block(self.block)?.mean().unwrap_or(0.0))
    }
}

impl MemoryBank for Mean {
    type Carry = f32;

    fn learning(&self) -> Learning {
        match self.pass {
            Pass::Online => Learning::Online,
            Pass::Fit => Learning::Fit,
            Pass::Batch => Learning::Batch,
        }
    }

    fn collect(&mut self, features: &Features) -> Result<(), BoxError> {
        self.sum += self.level(features)?;
        self.images += 1;
        Ok(())
    }

    fn fit(&mut self) -> Result<(), BoxError> {
        if self.images < 2 {
            return Err("two normals are the least".into());
        }
        Ok(())
    }

    fn assess_batch(&self, images: &dyn FeatureSource) -> Result<Vec<Evidence>, BoxError> {
        let mut all = Self {
            block: self.block,
            pass: self.pass,
            sum: 0.0,
            images: 0,
        };
        for at in 0..images.len() {
            MemoryBank::collect(&mut all, images.get(at)?.as_ref())?;
        }
        (0..images.len())
            .map(|at| Ok(MemoryBank::assess(&all, images.get(at)?.as_ref())?.0))
            .collect()
    }

    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        let tokens = features.block(self.block)?.column(0).to_owned();
        let mean = if self.images == 0 {
            0.0
        } else {
            self.sum / self.images as f32
        };
        let rarity = tokens.mapv(|token| {
            if self.images == 0 {
                0.0
            } else {
                (token - mean).abs()
            }
        });
        Ok((
            Evidence::new(vec![Branch::of_block(
                self.block,
                1,
                Distance::Other,
                rarity,
            )]),
            tokens.mean().unwrap_or(0.0),
        ))
    }

    fn absorb(&mut self, _: &Features, carry: f32, _: Role) -> Result<(), BoxError> {
        if self.pass == Pass::Fit {
            return Ok(());
        }
        self.sum += carry;
        self.images += 1;
        Ok(())
    }

    fn status(&self) -> BankStatus {
        BankStatus {
            images: self.images,
            prototypes: 1,
            bytes: 12,
            capacity_bytes: 12,
        }
    }
}

/// The largest rarity of any patch.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LargestOptions {}

#[typetag::serde(name = "largest")]
impl ScorerFactory for LargestOptions {
    fn build(&self, spec: &BackboneSpec, _: &[usize]) -> Result<Box<dyn ErasedScorer>, BoxError> {
        Ok(Box::new(Stateless(Largest(spec.grid))))
    }
}

struct Largest(Grid);

impl StatelessScorer for Largest {
    fn score(&self, input: &ScoreInput<'_>) -> Result<Scored, BoxError> {
        let rarity = input.evidence()?.branches[0].scores.to_vec();
        let values = Array2::from_shape_vec((self.0.rows, self.0.columns), rarity)?;
        let map = AnomalyMap { values };
        let score = map.max();
        Ok(Scored::new(map, score))
    }

    fn nominal_range(&self) -> (f32, f32) {
        (0.0, 1.0)
    }
}

register! {
    backbone GrayOptions;
    bank MeanOptions;
    scorer LargestOptions;
}

pub const CONFIG: &str = r#"
name = "toy"
[backbone]
type = "gray"
[bank]
type = "mean"
block = 2
[scorer]
type = "largest"
"#;

pub fn detector() -> Detector {
    detector_with(&[])
}

/// The toy detector with keys of its config changed.
pub fn detector_with(set: &[&str]) -> Detector {
    let mut config = config::ConfigBuilder::new()
        .toml("toy.toml", CONFIG)
        .unwrap();
    for assignment in set {
        config = config.set(assignment).unwrap();
    }
    Detector::build(&config.build().unwrap()).unwrap()
}

pub fn image(level: f32) -> ndarray::Array4<f32> {
    let mut image = ndarray::Array4::from_elem((1, 3, SIDE, SIDE), level);
    image[[0, 0, 0, 0]] = level * 2.0;
    image
}
