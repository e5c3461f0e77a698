//! The exact index against those of faiss, from thousands to a million prototypes, as a Markdown
//! table.
//!
//! Queries and prototypes are `rareclip_testkit::index::patches`: unit vectors in groups of uneven
//! size near few directions, one group per 100 prototypes. Every time is the least of several; each
//! run of an index is followed by one of the exact index in the same minute, and the ratio is
//! between those two.
#![allow(clippy::print_stdout, reason = "the table goes to standard output")]

use std::time::Instant;

use clap::Parser;
use ndarray::{Array2, ArrayView2};
use rareclip_core::{BoxError, Neighbours, VectorIndex, VectorIndexFactory};
use rareclip_index_exact::ExactOptions;
use rareclip_index_faiss::{FaissIndex, FaissOptions};
use rareclip_testkit::index::patches;
use rayon::prelude::*;

/// Patches of an image at 518 pixels.
const QUERIES: usize = 1369;
/// Neighbours that RareCLIP's bank asks for.
const K: usize = 6;
/// Vectors made at a time.
const PART: usize = 2048;

/// The exact index against those of faiss, as a Markdown table.
#[derive(Parser)]
struct Args {
    /// Numbers of prototypes.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "4107,16384,65536,262144,1000000"
    )]
    sizes: Vec<usize>,
    /// Widths of a prototype.
    #[arg(long, value_delimiter = ',', default_value = "384,1024")]
    widths: Vec<usize>,
    /// faiss factory strings, each given by itself; without any Flat, IVF with lists that grow with
    /// the number of prototypes, and a graph.
    #[arg(long = "factory")]
    factories: Vec<String>,
    /// Most prototypes that a graph is built of unless factories are given: it takes minutes to
    /// build.
    #[arg(long, default_value_t = 262_144)]
    largest_graph: usize,
}

fn main() -> Result<(), BoxError> {
    let args = Args::parse();
    println!(
        "| width | prototypes | index | build s | search ms | of exact | survey ms | MiB | recall@3 |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for &width in &args.widths {
        for &size in &args.sizes {
            let factories = match &args.factories[..] {
                [] => usual(size, args.largest_graph),
                given => given.to_vec(),
            };
            compare(width, size, &factories)?;
        }
    }
    Ok(())
}

/// What is compared at `size` prototypes.
fn usual(size: usize, largest_graph: usize) -> Vec<String> {
    let lists = match size {
        0..10_000 => 64,
        10_000..50_000 => 128,
        50_000..200_000 => 256,
        200_000..500_000 => 512,
        _ => 1024,
    };
    let mut factories = vec![
        "Flat".to_owned(),
        format!("IVF{lists},Flat"),
        format!("IVF{lists},SQ8"),
    ];
    if size <= largest_graph {
        factories.push("HNSW32,Flat".to_owned());
    }
    factories
}

/// Appends `size` vectors, made part by part by all cores.
fn fill(index: &mut dyn VectorIndex, width: usize, size: usize) -> Result<(), BoxError> {
    let starts: Vec<usize> = (0..size).step_by(PART).collect();
    for starts in starts.chunks(16) {
        let parts: Vec<Array2<f32>> = starts
            .par_iter()
            .map(|&start| {
                let count = PART.min(size - start);
                patches(count, width, size / 100, 1, 1 + (start / PART) as u64)
            })
            .collect();
        parts
            .iter()
            .try_for_each(|part| index.append(part.view()))?;
    }
    Ok(())
}

/// Milliseconds that `work` takes, and what it gives.
fn timed<T>(work: impl FnOnce() -> Result<T, BoxError>) -> Result<(f64, T), BoxError> {
    let start = Instant::now();
    let result = work()?;
    Ok((1e3 * start.elapsed().as_secs_f64(), result))
}

/// The share of the three best that are found.
fn recall(found: &Neighbours, exact: &Neighbours) -> f64 {
    let rows = found.position.rows().into_iter().zip(exact.position.rows());
    let met: usize = rows
        .map(|(found, exact)| {
            let best = exact.iter().take(3);
            best.filter(|at| found.iter().take(3).any(|other| other == *at))
                .count()
        })
        .sum();
    met as f64 / (3 * found.position.nrows()) as f64
}

struct Row {
    build: f64,
    search: f64,
    ratio: f64,
    survey: f64,
    bytes: usize,
    recall: f64,
}

fn print(width: usize, size: usize, name: &str, row: &Row) {
    println!(
        "| {width} | {size} | {name} | {:.1} | {:.1} | {:.2} | {:.1} | {} | {:.3} |",
        row.build,
        row.search,
        row.ratio,
        row.survey,
        row.bytes >> 20,
        row.recall
    );
}

/// Searches with `index` and `exact` in turn.
fn measure(
    index: &dyn VectorIndex,
    exact: &dyn VectorIndex,
    queries: ArrayView2<'_, f32>,
    build: f64,
) -> Result<Row, BoxError> {
    let repeats = if index.len() > 100_000 { 2 } else { 4 };
    let (mut search, mut beside) = (f64::INFINITY, f64::INFINITY);
    let mut share = 0.0;
    for _ in 0..repeats {
        let (ms, found) = timed(|| index.search(queries, K))?;
        let (exact_ms, wanted) = timed(|| exact.search(queries, K))?;
        (search, beside) = (search.min(ms), beside.min(exact_ms));
        share = recall(&found, &wanted);
    }
    let mut survey = f64::INFINITY;
    for _ in 1..repeats {
        survey = survey.min(timed(|| index.survey(queries, K))?.0);
    }
    Ok(Row {
        build,
        search,
        ratio: search / beside,
        survey,
        bytes: index.bytes(),
        recall: share,
    })
}

/// How thoroughly an index is searched.
struct Effort {
    name: &'static str,
    probes: usize,
    search_depth: usize,
}

impl Effort {
    const fn new(name: &'static str, probes: usize, search_depth: usize) -> Self {
        Self {
            name,
            probes,
            search_depth,
        }
    }

    /// Those that an index of `factory` is measured with.
    fn of(factory: &str) -> &'static [Self] {
        const LISTS: &[Effort] = &[
            Effort::new(", probes 16", 16, 64),
            Effort::new(", probes 64", 64, 64),
        ];
        const GRAPH: &[Effort] = &[
            Effort::new(", depth 64", 16, 64),
            Effort::new(", depth 256", 16, 256),
        ];
        const ONE: &[Effort] = &[Effort::new("", 16, 64)];
        if factory.contains("IVF") && factory.ends_with("Flat") {
            LISTS
        } else if factory.contains("IVF") {
            // Scalar codes without AVX take minutes.
            &LISTS[..1]
        } else if factory.contains("HNSW") {
            GRAPH
        } else {
            ONE
        }
    }
}

fn compare(width: usize, size: usize, factories: &[String]) -> Result<(), BoxError> {
    let queries = patches(QUERIES, width, size / 100, 1, 0);
    let mut exact = ExactOptions {}.build(width, size)?;
    fill(&mut *exact, width, size)?;
    let row = measure(&*exact, &*exact, queries.view(), 0.0)?;
    print(width, size, "exact", &row);
    for factory in factories {
        let options = FaissOptions {
            factory: factory.clone(),
            ..FaissOptions::default()
        };
        let mut index = FaissIndex::new(&options, width, size)?;
        let vectors = exact.vectors()?;
        let (build, ()) = timed(|| index.append(vectors.view()))?;
        for effort in Effort::of(factory) {
            index.tune(effort.probes, effort.search_depth)?;
            let row = measure(&index, &*exact, queries.view(), build / 1e3)?;
            let name = format!("faiss {factory}{}", effort.name);
            print(width, size, &name, &row);
        }
    }
    Ok(())
}
