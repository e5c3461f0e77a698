//! What PatchCore's training pass takes: random features of 200 images of 37 x 37 patches, of width
//! 1536 in two blocks.
//!
//! `cargo run --release -p rareclip-neighbours --example coreset-memory -- [images] [share] [k of
//! reweighting]`

#![allow(clippy::print_stdout, reason = "it prints its result")]

use std::collections::BTreeMap;
use std::time::Instant;

use ndarray::{Array1, Array2};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{Features, Grid, InputRecipe, MemoryBankFactory};
use rareclip_index_exact as _;
use rareclip_neighbours::CoresetOptions;

const GRID: Grid = Grid {
    rows: 37,
    columns: 37,
};
const WIDTHS: [(usize, usize); 2] = [(6, 1024), (9, 512)];

fn features(random: &mut ChaCha8Rng) -> Features {
    let mut tokens = BTreeMap::new();
    for (block, width) in WIDTHS {
        // The sum of three uniform numbers: nearly Gaussian.
        let values = || (0..3).map(|_| random.random::<f32>() - 0.5).sum();
        let shape = (GRID.patches(), width);
        tokens.insert(block, Array2::from_shape_simple_fn(shape, values));
    }
    Features::new(GRID, tokens, Array1::from_vec(vec![1.0, 0.0]))
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    tracing_subscriber::fmt().with_ansi(false).init();
    let mut arguments = std::env::args().skip(1);
    let images: usize = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let share: f64 = arguments.next().map_or(Ok(0.1), |text| text.parse())?;
    let reweight: usize = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let backbone = BackboneSpec {
        input: InputRecipe::imagenet(518),
        grid: GRID,
        blocks: WIDTHS.to_vec(),
        embedding_width: 2,
        weights: "random".into(),
    };
    let options = CoresetOptions {
        share,
        reweight_neighbours: reweight,
        ..CoresetOptions::default()
    };
    let mut bank = options.build(&backbone)?;
    let mut random = ChaCha8Rng::seed_from_u64(1);

    let started = Instant::now();
    for _ in 0..images {
        bank.collect(&features(&mut random))?;
    }
    println!(
        "collected in {:.1} s; {}",
        started.elapsed().as_secs_f64(),
        memory()
    );
    let started = Instant::now();
    bank.fit()?;
    println!(
        "fitted in {:.1} s; {}",
        started.elapsed().as_secs_f64(),
        memory()
    );
    println!("{:?}", bank.status());

    let image = features(&mut random);
    let started = Instant::now();
    let assessment = bank.assess(&image)?;
    let largest = assessment.evidence.branches[0]
        .scores
        .iter()
        .fold(0.0f32, |a, &b| a.max(b));
    println!(
        "assessed in {:.2} s: largest distance {largest}, image {:?}; {}",
        started.elapsed().as_secs_f64(),
        assessment.evidence.image,
        memory()
    );
    Ok(())
}

/// The peak of this process, where the system tells.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    peak.map_or_else(String::new, |line| {
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    })
}
