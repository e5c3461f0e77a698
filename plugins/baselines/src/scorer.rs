//! The scorer `statistic`.

use ndarray::{Array1, ArrayView2};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rareclip_core::ComponentError;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::scorer::ScorerFactory;
use rareclip_core::{
    AnomalyMap, BoxError, ErasedScorer, Features, Grid, ScoreInput, Scored, Stateless,
    StatelessScorer, typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::BaselineError;
use crate::thumbnail::{BLOCK, WIDTH};

/// What is taken for the score.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Statistic {
    /// The mean of all three channels, 0 to 1; the map is that of each cell.
    #[default]
    Brightness,
    /// The standard deviation over the image, the root of the mean variance of the channels, 0 to
    /// 0.5; the map is that of each cell.
    Contrast,
    /// The size of the image's file in kilobytes (1000 bytes): how well the image compresses. The
    /// map is flat.
    FileSize,
    /// A random number from 0 to 1, which the colours of the image and the seed alone determine;
    /// the map is noise.
    Random,
}

/// Which end of a statistic counts as anomalous.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sign {
    /// The larger, the more anomalous.
    #[default]
    Higher,
    /// The smaller, the more anomalous: scores and maps are negated.
    Lower,
}

/// A plain statistic of the image as its score: what a method has to beat.
///
/// It reads the backbone `thumbnail`, needs no bank and remembers nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StatisticOptions {
    /// What is taken for the score. Default brightness.
    pub statistic: Statistic,
    /// Which end counts as anomalous. Default higher.
    pub sign: Sign,
    /// Seed of `random`; the same seed draws the same number for the same image. Default 0.
    #[schemars(range(min = 0, max = 18_446_744_073_709_551_615_u64))]
    pub seed: u64,
}

#[typetag::serde(name = "statistic")]
impl ScorerFactory for StatisticOptions {
    fn blocks(&self) -> Vec<usize> {
        vec![BLOCK]
    }

    fn capacity_bytes(&self, _: &BackboneSpec, _: &[usize]) -> Result<Option<u64>, BoxError> {
        Ok(Some(0))
    }

    fn build(
        &self,
        backbone: &BackboneSpec,
        _: &[usize],
    ) -> Result<Box<dyn ErasedScorer>, BoxError> {
        if backbone.width_of(BLOCK) != Some(WIDTH) {
            return Err(BaselineError::NotAThumbnail.into());
        }
        Ok(Box::new(Stateless(StatisticScorer {
            options: self.clone(),
            grid: backbone.grid,
            side: backbone.input.side,
        })))
    }
}

struct StatisticScorer {
    options: StatisticOptions,
    grid: Grid,
    side: usize,
}

/// A statistic of an image and of its cells `[patches]`.
struct Measured {
    image: f32,
    patches: Array1<f32>,
}

impl StatisticScorer {
    fn measure(&self, features: &Features) -> Result<Measured, BoxError> {
        let tokens = features.block(BLOCK)?;
        let expected = [self.grid.patches(), WIDTH];
        if tokens.shape() != expected || features.grid != self.grid {
            return Err(
                ComponentError::shape("the thumbnail", tokens.shape(), expected.as_ref()).into(),
            );
        }
        if !tokens.iter().all(|value| value.is_finite()) {
            return Err(ComponentError::non_finite("the thumbnail").into());
        }
        let tokens = tokens.view();
        Ok(match self.options.statistic {
            Statistic::Brightness => brightness(tokens),
            Statistic::Contrast => contrast(tokens),
            Statistic::FileSize => {
                let bytes = features.file_bytes.ok_or(BaselineError::UnknownFileSize)?;
                let image = (bytes as f64 / 1000.0) as f32;
                let patches = Array1::from_elem(tokens.nrows(), image);
                Measured { image, patches }
            }
            Statistic::Random => random(tokens, self.options.seed),
        })
    }
}

fn brightness(tokens: ArrayView2<'_, f32>) -> Measured {
    let patches: Array1<f32> = tokens
        .rows()
        .into_iter()
        .map(|token| (token[0] + token[1] + token[2]) / 3.0)
        .collect();
    let image = patches.mean().unwrap_or_default();
    Measured { image, patches }
}

fn contrast(tokens: ArrayView2<'_, f32>) -> Measured {
    let count = tokens.nrows().max(1) as f64;
    let mut variance = 0.0;
    for channel in 0..3 {
        // The variance within the cells, which are of one size, and that between them.
        let column = tokens.column(channel);
        let mean = column.iter().map(|&mean| f64::from(mean)).sum::<f64>() / count;
        let between = column.iter().map(|&own| (f64::from(own) - mean).powi(2));
        let within = tokens.column(3 + channel).into_iter();
        let within = within.map(|&deviation| f64::from(deviation).powi(2));
        variance += (between.sum::<f64>() + within.sum::<f64>()) / count / 3.0;
    }
    let cell = |token: ndarray::ArrayView1<'_, f32>| {
        let squares: f32 = token
            .iter()
            .skip(3)
            .map(|deviation| deviation * deviation)
            .sum();
        (squares / 3.0).sqrt()
    };
    Measured {
        image: variance.sqrt() as f32,
        patches: tokens.rows().into_iter().map(cell).collect(),
    }
}

fn random(tokens: ArrayView2<'_, f32>, seed: u64) -> Measured {
    // FNV-1a over the bits of the colours, of which none is negative zero.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut stir = |bytes: &[u8]| {
        for &byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    stir(&seed.to_le_bytes());
    tokens
        .iter()
        .for_each(|value| stir(&value.to_bits().to_le_bytes()));
    let mut rng = ChaCha8Rng::seed_from_u64(hash);
    Measured {
        image: rng.random(),
        patches: (0..tokens.nrows()).map(|_| rng.random::<f32>()).collect(),
    }
}

impl StatelessScorer for StatisticScorer {
    fn score(&self, input: &ScoreInput<'_>) -> Result<Scored, BoxError> {
        let mut measured = self.measure(input.features)?;
        if self.options.sign == Sign::Lower {
            measured.image = -measured.image;
            measured.patches.mapv_inplace(|value| -value);
        }
        let patches = measured.patches.view();
        let map = AnomalyMap::from_patches(patches, self.grid, self.side, None)?;
        Ok(Scored::new(map, measured.image))
    }

    fn nominal_range(&self) -> (f32, f32) {
        let high = match self.options.statistic {
            Statistic::Brightness | Statistic::Random => 1.0,
            Statistic::Contrast => 0.5,
            Statistic::FileSize => 1000.0,
        };
        match self.options.sign {
            Sign::Higher => (0.0, high),
            Sign::Lower => (-high, 0.0),
        }
    }
}
