//! RareCLIP's scorer: prior, patch rarity and image rarity to a map and a score.

mod fusion;
mod memory;
mod rescoring;

use ndarray::Array1;
use rareclip_core::ComponentError;
use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::bank::saturating_bytes;
use rareclip_core::scorer::ScorerFactory;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{
    AnomalyMap, Blur, BoxError, ErasedScorer, Evidence, Grid, Role, ScoreInput, Scored, Scorer,
    typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{RarityError, finite};
use crate::options::width_of;
use fusion::{fuse, largest_share, mean, mix, rescaled};
use memory::ImageMemory;
pub(crate) use memory::Remembered;
use rareclip_core::patches::normalise;

/// How strongly known normals speak against the online memory (k-shot). With K normals among `seen`
/// images both maps and image rarities become `(a online + w normal) / (a + w)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ShotMixing {
    /// RareCLIP: w = K/8 and a = 1 - K/seen, so that the online memory counts as much as it has
    /// seen.
    #[default]
    Rareclip,
    /// RareCLIP-d: w = K/4 and a = 1.
    Direct,
}

impl ShotMixing {
    /// The weights `(a, w)` of the online memory and of `normals` known normals among `seen`
    /// images.
    fn weights(self, normals: usize, seen: u64) -> (f32, f32) {
        let count = normals as f32;
        match self {
            Self::Rareclip => (1.0 - count / (seen as f32).max(count).max(1.0), count / 8.0),
            Self::Direct => (1.0, count / 4.0),
        }
    }
}

/// Re-scoring: images whose appearance is alike should score alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rescoring {
    /// Whether it is done. Default true.
    pub enabled: bool,
    /// One neighbour is used per so many remembered images, and none before there are more than so
    /// many. Default 20.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub period: usize,
    /// Most neighbours used beside the image itself. Default 8.
    #[schemars(range(min = 0, max = 10_000))]
    pub max_neighbours: usize,
    /// Factor on the similarities, scaled to a maximum of 1, in the softmax that weighs the
    /// neighbours. Default 200.
    #[schemars(range(min = 0.0, max = 1e6))]
    pub temperature: f32,
}

impl Default for Rescoring {
    fn default() -> Self {
        Self {
            enabled: true,
            period: 20,
            max_neighbours: 8,
            temperature: 200.0,
        }
    }
}

/// RareCLIP's score: patch rarity, image rarity and, where there is one, the text prior (ICCV 2025,
/// section 3).
///
/// Without a prompt head every patch is foreground and the map is patch rarity plus image rarity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RarityOptions {
    /// Blocks whose mean foreground token stands for an image, 1-based; empty: those of the bank.
    /// Default empty.
    #[schemars(length(max = 64), inner(range(min = 1, max = 4096)), extend("x-memory" = true))]
    pub blocks: Vec<usize>,
    /// Share of the patches regarded as foreground, those with the largest running prior. Default
    /// 0.5.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub foreground_ratio: f64,
    /// Share of the remembered images that vote on an image (paper: rarity threshold, rho). Default
    /// 0.3.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub rarity_threshold: f64,
    /// Images whose embedding, score and mean tokens are remembered, beside the known normals.
    /// Default 1000.
    #[schemars(range(min = 1, max = 1_000_000), extend("x-memory" = true))]
    pub keep_images: usize,
    /// Re-scoring.
    pub rescoring: Rescoring,
    /// Weight of known normals: `rareclip` goes with the bank `prototype`, `direct` with
    /// `prototype-direct`.
    pub shot_mixing: ShotMixing,
    /// Taps of the Gaussian blur of the map, in pixels, odd. Default 25.
    #[schemars(range(min = 1, max = 1001))]
    pub blur_kernel: usize,
    /// Standard deviation of the Gaussian blur of the map, in pixels. Default 4.
    #[schemars(range(min = 0.01, max = 1000.0))]
    pub blur_sigma: f32,
}

impl Default for RarityOptions {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            foreground_ratio: 0.5,
            rarity_threshold: 0.3,
            keep_images: 1000,
            rescoring: Rescoring::default(),
            shot_mixing: ShotMixing::default(),
            blur_kernel: 25,
            blur_sigma: 4.0,
        }
    }
}

#[typetag::serde(name = "rarity")]
impl ScorerFactory for RarityOptions {
    fn blocks(&self) -> Vec<usize> {
        self.blocks.clone()
    }

    fn capacity_bytes(
        &self,
        backbone: &BackboneSpec,
        bank_blocks: &[usize],
    ) -> Result<Option<u64>, BoxError> {
        let blocks = if self.blocks.is_empty() {
            bank_blocks
        } else {
            &self.blocks
        };
        let mut numbers = 1usize.saturating_add(backbone.embedding_width);
        for &block in blocks {
            numbers = numbers.saturating_add(width_of(backbone, block)?);
        }
        let images = saturating_bytes([self.keep_images, numbers, size_of::<f32>()]);
        let foreground = saturating_bytes([backbone.grid.patches(), size_of::<f32>()]);
        Ok(Some(images.saturating_add(foreground)))
    }

    fn build(
        &self,
        backbone: &BackboneSpec,
        bank_blocks: &[usize],
    ) -> Result<Box<dyn ErasedScorer>, BoxError> {
        Ok(Box::new(RarityScorer::new(self, backbone, bank_blocks)?))
    }
}

/// The scorer of one stream.
pub(crate) struct RarityScorer {
    options: RarityOptions,
    blocks: Vec<usize>,
    grid: Grid,
    side: usize,
    /// Images absorbed, known normals included.
    seen: u64,
    /// Running mean of the prior `[patches]` (paper: F); `None` before the first image and in
    /// streams without a prior.
    foreground: Option<Array1<f32>>,
    pub(crate) memory: ImageMemory,
}

/// What an assessment keeps for [`Scorer::absorb`].
pub(crate) struct Carry {
    seen: u64,
    role: Role,
    foreground: Option<Array1<f32>>,
    remembered: Remembered,
}

/// Every stage of one image, from prior to patch map.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the golden tests compare every stage")
)]
pub(crate) struct Stages {
    /// F after this image.
    pub(crate) foreground: Option<Array1<f32>>,
    /// The patches that count as foreground, ascending.
    pub(crate) foreground_patches: Vec<usize>,
    /// A_text, raised to F.
    pub(crate) text_map: Option<Array1<f32>>,
    /// Per block the mean foreground token (paper: u).
    pub(crate) appearance: Vec<Vec<f32>>,
    /// Image rarity before known normals are mixed in.
    pub(crate) image_rarity_online: f32,
    /// Image rarity (paper: g).
    pub(crate) image_rarity: f32,
    /// Mean of the rarities of all branches.
    pub(crate) rare_online: Array1<f32>,
    /// The same with known normals mixed in.
    pub(crate) rare_mixed: Array1<f32>,
    /// The same with the image rarity added.
    pub(crate) rare_with_foreground: Array1<f32>,
    /// The patch map (paper: A).
    pub(crate) combined: Array1<f32>,
}

impl RarityScorer {
    pub(crate) fn new(
        options: &RarityOptions,
        backbone: &BackboneSpec,
        bank_blocks: &[usize],
    ) -> Result<Self, BoxError> {
        if bank_blocks.is_empty() {
            return Err(ComponentError::NoEvidence.into());
        }
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let ratio = options.foreground_ratio;
        ComponentError::require(share(ratio), "foreground_ratio", ratio, "0 to 1")?;
        let threshold = options.rarity_threshold;
        ComponentError::require(share(threshold), "rarity_threshold", threshold, "0 to 1")?;
        ComponentError::require(
            options.keep_images >= 1,
            "keep_images",
            options.keep_images,
            "at least 1",
        )?;
        let period = options.rescoring.period;
        ComponentError::require(period >= 1, "rescoring.period", period, "at least 1")?;
        let temperature = options.rescoring.temperature;
        ComponentError::require(
            temperature.is_finite() && temperature >= 0.0,
            "rescoring.temperature",
            temperature,
            "a number from 0",
        )?;
        rareclip_imaging::gaussian_kernel(options.blur_kernel, options.blur_sigma)?;
        let blocks = if options.blocks.is_empty() {
            bank_blocks.to_vec()
        } else {
            options.blocks.clone()
        };
        let widths: Result<Vec<usize>, ComponentError> = blocks
            .iter()
            .map(|&block| width_of(backbone, block))
            .collect();
        Ok(Self {
            memory: ImageMemory::new(options.keep_images, widths?, backbone.embedding_width),
            options: options.clone(),
            blocks,
            grid: backbone.grid,
            side: backbone.input.side,
            seen: 0,
            foreground: None,
        })
    }

    #[cfg(test)]
    pub(crate) fn rescoring(&self) -> &Rescoring {
        &self.options.rescoring
    }

    /// Every stage up to the patch map A (ICCV 2025, section 3).
    ///
    /// 1. F: the running mean of the text map; its largest patches are the foreground.
    /// 2. A_text <- max(A_text, F).
    /// 3. u: per block the mean token of the foreground; g: how rare u is among those of the
    ///    remembered images.
    /// 4. A_rare: the mean rarity of all branches of the bank, mixed with the rarity against known
    ///    normals.
    /// 5. A_rare <- A_rare + g (1 + F01) where g > 0, with F01 = F rescaled to \[0, 1\].
    /// 6. A: A_text for the first image, then both alike, then mostly A_rare.
    pub(crate) fn stages(&self, input: &ScoreInput<'_>) -> Result<Stages, BoxError> {
        let evidence = self.check(input)?;
        let text = input.prior.map(|prior| &prior.patches);
        // Step 1. Without a prior, every patch is foreground.
        let foreground = self.running_foreground(input);
        let foreground_patches = match &foreground {
            Some(foreground) => largest_share(foreground, self.options.foreground_ratio),
            None => (0..self.grid.patches()).collect(),
        };
        // Step 2.
        let text_map = text.zip(foreground.as_ref()).map(|(text, foreground)| {
            let mut map = text.clone();
            map.zip_mut_with(foreground, |text, &mean| *text = text.max(mean));
            map
        });
        // Step 3.
        let appearance = self.appearance(input, &foreground_patches)?;
        let rarity = self
            .memory
            .rarity(&appearance, self.options.rarity_threshold);
        let normals = self.memory.normals();
        let weights = self.options.shot_mixing.weights(normals, self.seen);
        let image_rarity = match rarity.normal {
            Some(normal) => mix(rarity.online, normal, weights),
            None => rarity.online,
        };

        // Step 4.
        let patches = self.grid.patches();
        let rare_online = mean(
            evidence.branches.iter().map(|branch| &branch.scores),
            patches,
        );
        let rare_mixed = self.mixed_with_normals(&rare_online, evidence);
        // Step 5.
        let mut rare_with_foreground = rare_mixed.clone();
        if image_rarity > 0.0 {
            match &foreground {
                Some(foreground) => rare_with_foreground
                    .zip_mut_with(&rescaled(foreground), |rare, f| {
                        *rare += image_rarity * (1.0 + f)
                    }),
                None => rare_with_foreground += image_rarity,
            }
        }
        // Step 6.
        let combined = fuse(&rare_with_foreground, text_map.as_ref(), self.seen);
        Ok(Stages {
            foreground,
            foreground_patches,
            text_map,
            appearance,
            image_rarity_online: rarity.online,
            image_rarity,
            rare_online,
            rare_mixed,
            rare_with_foreground,
            combined,
        })
    }

    /// F as it is with this image, if the image is absorbed; `None` without a prior.
    fn running_foreground(&self, input: &ScoreInput<'_>) -> Option<Array1<f32>> {
        let text = &input.prior?.patches;
        let learns = input.update || input.role == Role::Normal;
        Some(match &self.foreground {
            Some(mean) if learns => {
                let seen = self.seen as f32;
                (mean * seen + text) / (seen + 1.0)
            }
            Some(mean) => mean.clone(),
            None => text.clone(),
        })
    }

    /// The rare map with the rarity against known normals mixed in, where there are any.
    fn mixed_with_normals(&self, online: &Array1<f32>, evidence: &Evidence) -> Array1<f32> {
        let mut mixed = online.clone();
        let normals = self.memory.normals();
        let maps: Option<Vec<&Array1<f32>>> = evidence
            .branches
            .iter()
            .map(|branch| branch.normal_scores.as_ref())
            .collect();
        if let (Some(maps), true) = (maps, normals > 0) {
            let weights = self.options.shot_mixing.weights(normals, self.seen);
            let normal = mean(maps.into_iter(), online.len());
            mixed.zip_mut_with(&normal, |online, &normal| {
                *online = mix(*online, normal, weights)
            });
        }
        mixed
    }

    /// Checks shapes and that the stream keeps having, or not having, a prior.
    fn check<'a>(&self, input: &ScoreInput<'a>) -> Result<&'a Evidence, BoxError> {
        let patches = self.grid.patches();
        let shape = |what, found: &[usize], expected: usize| {
            if found == [expected] {
                return Ok(());
            }
            Err(ComponentError::shape(what, found, &[expected]))
        };
        if let Some(prior) = input.prior {
            shape("the prior", prior.patches.shape(), patches)?;
        }
        let before = self.foreground.is_some();
        if self.seen > 0 && before != input.prior.is_some() {
            return Err(RarityError::PriorChanged { before }.into());
        }
        let embedding = input.features.embedding.shape();
        shape(
            "the image embedding",
            embedding,
            self.memory.embedding_width(),
        )?;
        let evidence = input.evidence.ok_or(ComponentError::NoEvidence)?;
        if evidence.branches.is_empty() {
            return Err(ComponentError::NoEvidence.into());
        }
        finite("the image embedding", &input.features.embedding)?;
        if let Some(prior) = input.prior {
            finite("the prior", prior.patches.iter().chain([&prior.image]))?;
        }
        for branch in &evidence.branches {
            shape("the evidence", branch.scores.shape(), patches)?;
            finite("the evidence", &branch.scores)?;
            if let Some(normal) = &branch.normal_scores {
                shape("the evidence of the known normals", normal.shape(), patches)?;
                finite("the evidence of the known normals", normal)?;
            }
        }
        Ok(evidence)
    }

    /// Per block the mean of the raw tokens of the foreground patches, of unit length.
    fn appearance(
        &self,
        input: &ScoreInput<'_>,
        patches: &[usize],
    ) -> Result<Vec<Vec<f32>>, BoxError> {
        let mut all = Vec::with_capacity(self.blocks.len());
        for (&block, &width) in self.blocks.iter().zip(self.memory.widths()) {
            let tokens = input.features.block(block)?;
            let expected = vec![self.grid.patches(), width];
            if tokens.shape() != expected {
                let found = tokens.shape().to_vec();
                let what = "a block of tokens";
                return Err(ComponentError::shape(what, &found, &expected).into());
            }
            let mut sum = Array1::<f32>::zeros(width);
            for &patch in patches {
                sum += &tokens.row(patch);
            }
            let mut unit = sum.to_vec();
            if !normalise(&mut unit) {
                return Err(ComponentError::non_finite("a token").into());
            }
            all.push(unit);
        }
        Ok(all)
    }

    /// The patch map at input resolution, blurred.
    fn map(&self, combined: &Array1<f32>) -> rareclip_core::Result<AnomalyMap> {
        let blur = Blur {
            kernel: self.options.blur_kernel,
            sigma: self.options.blur_sigma,
        };
        AnomalyMap::from_patches(combined.view(), self.grid, self.side, Some(blur))
    }
}

impl State for RarityScorer {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        writer.value("seen", &self.seen);
        writer.value("prior", &self.foreground.is_some());
        if let Some(foreground) = self.foreground.as_ref().and_then(|map| map.as_slice()) {
            writer.floats("foreground", &[foreground.len()], foreground);
        }
        self.memory.save(writer);
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        self.seen = reader.value("seen")?;
        let prior: bool = reader.value("prior")?;
        self.foreground = prior.then(|| reader.vector("foreground")).transpose()?;
        let patches = self.grid.patches();
        if let Some(map) = self.foreground.as_ref().filter(|map| map.len() != patches) {
            let what = "the saved foreground";
            let (found, expected) = (vec![map.len()], vec![patches]);
            return Err(ComponentError::shape(what, &found, &expected).into());
        }
        self.memory.load(reader)?;
        Ok(self)
    }
}

impl Scorer for RarityScorer {
    type Carry = Carry;

    fn assess(&self, input: &ScoreInput<'_>) -> Result<(Option<Scored>, Self::Carry), BoxError> {
        let stages = self.stages(input)?;
        let embedding = input.features.embedding.to_vec();
        let mut remembered = Remembered {
            embedding,
            appearance: stages.appearance,
            raw_score: 0.0,
        };
        let scored = match input.role {
            Role::Normal => None,
            Role::Query => {
                let map = self.map(&stages.combined)?;
                let raw_score = map.max() + input.prior.map_or(0.0, |prior| prior.image);
                finite("the anomaly map", map.values.iter().chain([&raw_score]))?;
                remembered.raw_score = raw_score;
                let score = self.memory.rescored(&remembered, &self.options.rescoring);
                finite("the score after re-scoring", [&score])?;
                Some(Scored {
                    map,
                    raw_score,
                    score,
                })
            }
        };
        let carry = Carry {
            seen: self.seen,
            role: input.role,
            foreground: stages.foreground,
            remembered,
        };
        Ok((scored, carry))
    }

    fn absorb(&mut self, input: &ScoreInput<'_>, carry: Self::Carry) -> Result<(), BoxError> {
        if carry.seen != self.seen || carry.role != input.role {
            return Err(RarityError::ForeignAssessment("scorer").into());
        }
        if input.role == Role::Normal && (self.memory.normals() as u64) < self.seen {
            return Err(ComponentError::LateNormal.into());
        }
        self.memory.push(carry.remembered, input.role);
        self.foreground = carry.foreground;
        self.seen += 1;
        Ok(())
    }

    fn nominal_range(&self) -> (f32, f32) {
        (0.0, 1.0)
    }

    fn bytes(&self) -> usize {
        let foreground = self
            .foreground
            .as_ref()
            .map_or(0, |map| map.len() * size_of::<f32>());
        foreground + self.memory.bytes()
    }
}
