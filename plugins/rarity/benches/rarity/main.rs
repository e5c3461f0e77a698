//! One image through bank and scorer at the size of a ViT-L at 518 pixels, with full banks, against
//! the literal method.
//!
//! `literal` is the specification word by word, on the same matrix product with both cores: the
//! whole similarity matrix, its columns gathered from R, and for sampling the whole self-similarity
//! of the extended bank.
//!
//! The state after the warm-up is kept in the target folder, so that only the first run is slow.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement may stop at a fault"
)]

use rareclip_index_exact as _;

mod literal;
mod stage;

use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use literal::Literal;
use rareclip_core::{ErasedBank, ErasedScorer, Features, Role, ScoreInput};
use stage::{Product, peak_mebibytes, warm};

/// Bank and scorer on one image, as a stream does it without a prompt head.
fn online(bank: &mut dyn ErasedBank, scorer: &mut dyn ErasedScorer, features: &Features) -> f32 {
    let assessment = bank.assess(features).unwrap();
    let input = ScoreInput {
        features,
        prior: None,
        evidence: Some(&assessment.evidence),
        role: Role::Query,
        update: true,
    };
    let scored = scorer.assess(&input).unwrap();
    bank.absorb(features, assessment.carry, Role::Query)
        .unwrap();
    scorer.absorb(&input, scored.carry).unwrap();
    scored.scored.unwrap().score
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// Alternates both methods on the same images, so that a busy machine slows both.
fn ratio() {
    let before = peak_mebibytes();
    let (mut bank, mut scorer, mut product) = warm();
    let mut literal = Literal::of(&*bank);
    let (mut ours, mut theirs, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    let mut memory = 0;
    for round in 0..9 {
        let image = product.next_image();
        let start = Instant::now();
        online(&mut *bank, &mut *scorer, &image);
        ours.push(start.elapsed());
        if round == 0 {
            memory = peak_mebibytes().saturating_sub(before);
        }
        let start = Instant::now();
        parts.push(literal.image(&image));
        theirs.push(start.elapsed());
    }
    let agreement = literal.same_prototypes(&*bank);
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "online {ours:.0} ms, literal {theirs:.0} ms (bank alone): ratio {:.2}",
        theirs / ours
    );
    println!("same prototypes after 9 images: {:.3} %", agreement * 100.0);
    println!("peak memory of bank, scorer, warm-up and the state file read: {memory} MiB");
    let stages = |i: usize| median(parts.iter().map(|part: &[Duration; 5]| part[i]).collect());
    println!(
        "literal: features {:.0}, similarity {:.0}, top-k and rarity {:.0}, self-similarity {:.0}, rest {:.0} ms",
        stages(0),
        stages(1),
        stages(2),
        stages(3),
        stages(4)
    );
}

fn bench(c: &mut Criterion) {
    ratio();
    let mut group = c.benchmark_group("8 banks of 4107 x 1024");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(12));
    let (mut bank, mut scorer, mut product) = warm();
    group.bench_function("online", |b| {
        b.iter_batched(
            || product.next_image(),
            |image| {
                online(&mut *bank, &mut *scorer, &image);
                image
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("assess", |b| {
        b.iter_batched(
            || product.next_image(),
            |image| bank.assess(&image).unwrap(),
            BatchSize::PerIteration,
        );
    });
    // Every image of another product: nearly every patch is new to the bank, the worst case of
    // sampling.
    let mut seed = 100;
    group.bench_function("online, every image of another product", |b| {
        b.iter_batched(
            || {
                seed += 1;
                Product::new(seed).next_image()
            },
            |image| {
                online(&mut *bank, &mut *scorer, &image);
                image
            },
            BatchSize::PerIteration,
        );
    });
    let mut literal = Literal::of(&*bank);
    group.bench_function("literal", |b| {
        b.iter_batched(
            || product.next_image(),
            |image| literal.image(&image),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
