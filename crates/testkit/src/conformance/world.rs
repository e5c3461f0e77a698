//! A backbone, its images, and what prompt head and bank say of them.

use ndarray::Array4;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{
    BackboneFactory, Evidence, Features, InputRecipe, Learning, MemoryBankFactory, Prior,
    PromptHeadFactory, Role, ScoreInput, Slot,
};

use super::setup::Setup;
use crate::broken::told;

/// Images shown.
pub(super) const IMAGES: usize = 9;

/// The first of them, which are known normals where there are any.
pub(super) const NORMALS: usize = 2;

/// Images of one product, `[count, 3, side, side]`, normalised by `recipe`: alike but for a shift
/// and some noise. The fourth comes again as the sixth, the seventh is zero throughout, the last
/// but one has a bright square.
pub(super) fn pictures(count: usize, recipe: &InputRecipe) -> Array4<f32> {
    let side = recipe.side;
    Array4::from_shape_fn((count, 3, side, side), |(image, channel, y, x)| {
        if image == 6 {
            return 0.0;
        }
        let image = if image == 5 { 3 } else { image };
        let square = image == 7 && y < side.div_ceil(3) && x >= side / 2;
        let (shift, tint) = (image as f32 * 0.07, channel as f32);
        let (down, across) = (y as f32 / side as f32, x as f32 / side as f32);
        let wave = (6.0 * across + tint + shift).sin() * (9.0 * down - tint).cos();
        let noise = (down * 129.898 + across * 782.33 + shift * 37.7 + tint).sin() * 437.585;
        let value = 0.5 + 0.3 * wave + 0.1 * (noise - noise.floor());
        let value = if square { 1.0 } else { value };
        (value - recipe.mean[channel]) / recipe.std[channel]
    })
}

/// An image as a bank or scorer is shown it.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) features: Features,
    pub(super) prior: Option<Prior>,
    pub(super) evidence: Option<Evidence>,
    pub(super) role: Role,
}

impl Shown {
    /// What a scorer is given.
    pub(super) fn input(&self, update: bool) -> ScoreInput<'_> {
        ScoreInput {
            features: &self.features,
            prior: self.prior.as_ref(),
            evidence: self.evidence.as_ref(),
            role: self.role,
            update,
        }
    }

    /// The same image to be scored.
    pub(super) fn query(&self) -> Self {
        Self {
            role: Role::Query,
            ..self.clone()
        }
    }
}

/// What stands around the component under test.
pub(super) struct World {
    pub(super) spec: BackboneSpec,
    pub(super) images: Vec<Features>,
}

impl World {
    /// Builds the backbone and encodes the pictures.
    pub(super) fn new(setup: &Setup) -> Result<Self, String> {
        let blocks = setup.blocks()?;
        let backbone = setup.options::<dyn BackboneFactory>()?.build(&blocks);
        let backbone = backbone.map_err(told("building the backbone beside it"))?;
        let spec = backbone.spec().clone();
        let images = backbone.encode(pictures(IMAGES, &spec.input).view());
        let mut images = images.map_err(told("the backbone beside it"))?;
        for (number, features) in images.iter_mut().enumerate() {
            features.file_bytes = Some(10_000 + 100 * number as u64);
        }
        Ok(Self { spec, images })
    }

    /// The images, the first `normals` of them as known normals, with what the prompt head and bank
    /// of `setup` say of them.
    pub(super) fn shown(&self, setup: &Setup, normals: usize) -> Result<Vec<Shown>, String> {
        let priors = self.priors(setup)?;
        let evidence = self.evidence(setup, normals)?;
        let images = self.images.iter().zip(priors).zip(evidence).enumerate();
        Ok(images
            .map(|(number, ((features, prior), evidence))| Shown {
                features: features.clone(),
                prior,
                evidence,
                role: role(number, normals),
            })
            .collect())
    }

    fn priors(&self, setup: &Setup) -> Result<Vec<Option<Prior>>, String> {
        if !setup.has(Slot::Prompt) {
            return Ok(vec![None; self.images.len()]);
        }
        let head = setup.options::<dyn PromptHeadFactory>()?.build(&self.spec);
        let head = head.map_err(told("building the prompt head beside it"))?;
        let priors = self.images.iter().map(|image| head.prior(image).map(Some));
        let priors: Result<_, _> = priors.collect();
        priors.map_err(told("the prompt head beside it"))
    }

    fn evidence(&self, setup: &Setup, normals: usize) -> Result<Vec<Option<Evidence>>, String> {
        if !setup.has(Slot::Bank) {
            return Ok(vec![None; self.images.len()]);
        }
        let said = told("the bank beside it");
        let bank = setup.options::<dyn MemoryBankFactory>()?.build(&self.spec);
        let mut bank = bank.map_err(told("building the bank beside it"))?;
        let learning = bank.learning();
        if learning == Learning::Batch {
            let all = bank.assess_batch(&self.images.as_slice()).map_err(said)?;
            return Ok(all.into_iter().map(Some).collect());
        }
        if learning == Learning::Fit {
            for image in &self.images[..4] {
                bank.collect(image).map_err(&said)?;
            }
            bank.fit().map_err(&said)?;
        }
        let mut all = Vec::with_capacity(self.images.len());
        for (number, image) in self.images.iter().enumerate() {
            let assessed = bank.assess(image).map_err(&said)?;
            all.push(Some(assessed.evidence));
            if learning == Learning::Online {
                let role = role(number, normals);
                bank.absorb(image, assessed.carry, role).map_err(&said)?;
            }
        }
        Ok(all)
    }
}

fn role(number: usize, normals: usize) -> Role {
    if number < normals {
        Role::Normal
    } else {
        Role::Query
    }
}
