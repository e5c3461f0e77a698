//! Small synthetic streams.
#![allow(dead_code, reason = "every test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

use std::collections::BTreeMap;

use ndarray::{Array1, Array2};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::snapshot::{Snapshot, SnapshotWriter};
use rareclip_core::{
    ErasedBank, ErasedScorer, Features, Grid, InputRecipe, Prior, Role, ScoreInput, Scored,
};
use rareclip_index_exact as _;
use safetensors::SafeTensors;

pub(crate) const GRID: Grid = Grid {
    rows: 3,
    columns: 4,
};
pub(crate) const WIDTH: usize = 5;

/// A backbone of 12 patches and one block.
pub(crate) fn backbone() -> BackboneSpec {
    BackboneSpec {
        input: InputRecipe::clip(24),
        grid: GRID,
        blocks: vec![(1, WIDTH), (2, WIDTH)],
        embedding_width: 4,
        weights: "synthetic".into(),
    }
}

/// An image with its prior.
pub(crate) struct Image {
    pub(crate) features: Features,
    pub(crate) prior: Prior,
}

/// `count` images of small random whole numbers, in which patches often coincide.
pub(crate) fn images(seed: u64, count: usize) -> Vec<Image> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|_| {
            let mut block = || {
                Array2::from_shape_fn((GRID.patches(), WIDTH), |_| rng.random_range(-2..=2) as f32)
            };
            let tokens = [(1, block()), (2, block())].into();
            let embedding = Array1::from_shape_fn(4, |_| rng.random::<f32>());
            let norm = embedding.dot(&embedding).sqrt();
            Image {
                features: Features::new(GRID, tokens, embedding / norm),
                prior: Prior {
                    image: rng.random(),
                    patches: Array1::from_shape_fn(GRID.patches(), |_| rng.random()),
                },
            }
        })
        .collect()
}

/// Bank and scorer, fed as a stream feeds them.
pub(crate) struct Rooms {
    pub(crate) bank: Box<dyn ErasedBank>,
    pub(crate) scorer: Box<dyn ErasedScorer>,
}

impl Rooms {
    pub(crate) fn push(
        &mut self,
        image: &Image,
        prior: bool,
        role: Role,
        update: bool,
    ) -> Option<Scored> {
        let assessment = self.bank.assess(&image.features).unwrap();
        let input = ScoreInput {
            features: &image.features,
            prior: prior.then_some(&image.prior),
            evidence: Some(&assessment.evidence),
            role,
            update,
        };
        let scored = self.scorer.assess(&input).unwrap();
        if update {
            self.bank
                .absorb(&image.features, assessment.carry, role)
                .unwrap();
            self.scorer.absorb(&input, scored.carry).unwrap();
        }
        scored.scored
    }

    pub(crate) fn query(&mut self, image: &Image, prior: bool) -> Scored {
        self.push(image, prior, Role::Query, true).unwrap()
    }

    /// The whole state as bytes.
    pub(crate) fn state(&self) -> Vec<u8> {
        let mut writer = SnapshotWriter::new();
        writer.scoped("bank", |writer| self.bank.save(writer));
        writer.scoped("scorer", |writer| self.scorer.save(writer));
        writer.to_bytes().unwrap()
    }

    /// The state entry by entry; the order of the values in the file is not fixed.
    pub(crate) fn entries(&self) -> BTreeMap<String, Vec<u8>> {
        const HEADER: usize = 56;
        let state = self.state();
        let tensors = SafeTensors::deserialize(&state[HEADER..]).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&state[HEADER..]).unwrap();
        let values = metadata.metadata().clone().unwrap();
        let values = values
            .into_iter()
            .map(|(name, value)| (name, value.into_bytes()));
        values
            .chain(
                tensors
                    .iter()
                    .map(|(name, t)| (name.to_owned(), t.data().to_vec())),
            )
            .collect()
    }

    pub(crate) fn restored(self, state: &[u8]) -> Self {
        let snapshot = Snapshot::from_bytes("state".as_ref(), state.to_vec()).unwrap();
        let mut reader = snapshot.reader().unwrap();
        let bank = reader.scoped("bank", |reader| self.bank.restore(reader));
        let scorer = reader.scoped("scorer", |reader| self.scorer.restore(reader));
        Self {
            bank: bank.unwrap(),
            scorer: scorer.unwrap(),
        }
    }
}

/// Map and scores as bits.
pub(crate) fn bits(scored: &Scored) -> Vec<u32> {
    let all = scored
        .map
        .values
        .iter()
        .chain([&scored.raw_score, &scored.score]);
    all.map(|value| value.to_bits()).collect()
}
