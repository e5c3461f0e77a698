//! Synthetic images of a product, and banks that have seen enough of them.

use std::path::PathBuf;

use ndarray::{Array1, Array2, Axis};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::snapshot::{Snapshot, SnapshotWriter};
use rareclip_core::{
    ErasedBank, ErasedScorer, Features, Grid, InputRecipe, MemoryBankFactory, ScorerFactory,
};
use rareclip_rarity::{PrototypeOptions, RarityOptions};
use rayon::prelude::*;

pub(crate) const WIDTH: usize = 1024;
pub(crate) const BLOCKS: [usize; 4] = [6, 12, 18, 24];
const GRID: Grid = Grid {
    rows: 37,
    columns: 37,
};
/// Images before the measurement: as many as R has rows.
const WARM_UP: usize = 200;

/// Images of one product: every patch is a mixture of a common part, a part of its place and noise
/// of its own, with the similarities that real tokens have (0.6 to 0.95 to the nearest of another
/// image).
pub(crate) struct Product {
    places: Vec<Array2<f32>>,
    rng: ChaCha8Rng,
}

fn noise(rng: &mut ChaCha8Rng, rows: usize) -> Array2<f32> {
    let seed = rng.random();
    let mut values = Array2::zeros((rows, WIDTH));
    values
        .axis_chunks_iter_mut(Axis(0), 64)
        .into_par_iter()
        .enumerate()
        .for_each(|(chunk, mut rows)| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(chunk as u64);
            // The sum of two uniform numbers is near enough to a normal one.
            rows.map_inplace(|value| *value = rng.random::<f32>() + rng.random::<f32>() - 1.0);
        });
    values
}

impl Product {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let places = BLOCKS
            .iter()
            .map(|_| {
                let textures = noise(&mut rng, 25);
                let common = noise(&mut rng, 1);
                let mut places = noise(&mut rng, GRID.patches()) * 0.5;
                for (patch, mut place) in places.rows_mut().into_iter().enumerate() {
                    let (row, column) = (patch / GRID.columns, patch % GRID.columns);
                    place += &textures.row(row / 8 * 5 + column / 8);
                    place += &common.row(0);
                }
                places
            })
            .collect();
        Self { places, rng }
    }

    pub(crate) fn next_image(&mut self) -> Features {
        let rng = &mut self.rng;
        let tokens = BLOCKS
            .into_iter()
            .zip(&self.places)
            .map(|(block, places)| {
                // Some images are sharper than others.
                let level = rng.random_range(0.4..1.0f32);
                (block, noise(rng, GRID.patches()) * level + places)
            })
            .collect();
        let embedding = Array1::from_shape_fn(768, |_| rng.random::<f32>());
        let norm = embedding.dot(&embedding).sqrt();
        Features::new(GRID, tokens, embedding / norm)
    }
}

fn backbone() -> BackboneSpec {
    BackboneSpec {
        input: InputRecipe::clip(518),
        grid: GRID,
        blocks: BLOCKS.map(|block| (block, WIDTH)).to_vec(),
        embedding_width: 768,
        weights: "synthetic".into(),
    }
}

/// Bank and scorer after the warm-up, and the product they have seen.
pub(crate) fn warm() -> (Box<dyn ErasedBank>, Box<dyn ErasedScorer>, Product) {
    let mut bank = PrototypeOptions::default().build(&backbone()).unwrap();
    let mut scorer = RarityOptions::default()
        .build(&backbone(), &BLOCKS)
        .unwrap();
    let mut product = Product::new(1);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("rarity-bench.state");
    if let Ok(snapshot) = Snapshot::read(&path) {
        let mut reader = snapshot.reader().unwrap();
        let new = || PrototypeOptions::default().build(&backbone()).unwrap();
        let bank = reader.scoped("bank", |reader| new().restore(reader));
        let new = || {
            let built = RarityOptions::default().build(&backbone(), &BLOCKS);
            built.unwrap()
        };
        let scorer = reader.scoped("scorer", |reader| new().restore(reader));
        if let (Ok(bank), Ok(scorer)) = (bank, scorer) {
            product.rng = ChaCha8Rng::seed_from_u64(2);
            return (bank, scorer, product);
        }
    }
    for _ in 0..WARM_UP {
        crate::online(&mut *bank, &mut *scorer, &product.next_image());
    }
    let mut writer = SnapshotWriter::new();
    writer.scoped("bank", |writer| bank.save(writer));
    writer.scoped("scorer", |writer| scorer.save(writer));
    writer.write(&path).unwrap();
    drop(writer);
    (bank, scorer, product)
}

/// The largest resident set of this process so far, in MiB; 0 where the system does not say.
pub(crate) fn peak_mebibytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    number.unwrap_or(0) / 1024
}
