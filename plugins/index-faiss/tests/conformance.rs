//! The contract of a vector index, on every kind of factory; and the recall of the approximate
//! ones.
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

use ndarray::{Array2, Axis};
use rareclip_core::{VectorIndex, VectorIndexFactory, typetag};
use rareclip_index_faiss::{FaissIndex, FaissOptions, Metric};
use rareclip_testkit::index::{check, patches, recall};
use serde::{Deserialize, Serialize};

fn options(factory: &str) -> FaissOptions {
    FaissOptions {
        factory: factory.into(),
        // Small enough for the kit's vectors to be trained on.
        training: if factory.contains("IVF") || factory.contains("SQ") {
            320
        } else {
            0
        },
        ..FaissOptions::default()
    }
}

#[test]
fn the_declaration_keeps_its_contract() {
    rareclip_testkit::conformance::index("faiss").check_declaration();
}

#[test]
fn flat_keeps_the_contract_and_is_exact() {
    check(&FaissOptions::default());
    assert!(FaissOptions::default().build(4, 0).unwrap().exact());
}

#[test]
fn flat_keeps_the_contract_in_chunks_of_queries() {
    check(&FaissOptions {
        query_chunk: 7,
        ..FaissOptions::default()
    });
}

#[test]
fn inverted_lists_keep_the_contract() {
    check(&FaissOptions {
        probes: 2,
        ..options("IVF8,Flat")
    });
}

#[test]
fn a_graph_keeps_the_contract() {
    check(&options("HNSW16,Flat"));
}

#[test]
fn a_graph_of_scalar_codes_keeps_the_contract() {
    check(&options("HNSW8,SQ8"));
}

#[test]
fn scalar_codes_keep_the_contract() {
    check(&options("SQ8"));
}

#[test]
fn lists_of_scalar_codes_keep_the_contract() {
    check(&options("IVF8,SQ8"));
}

#[test]
fn product_codes_keep_the_contract() {
    check(&Product(options("PQ4x4")));
}

#[test]
fn euclidean_distance_keeps_the_contract() {
    check(&FaissOptions {
        metric: Metric::L2,
        ..FaissOptions::default()
    });
}

/// Product codes where the width can be divided into four parts; the kit also uses widths that
/// cannot.
#[derive(Debug, Serialize, Deserialize)]
struct Product(FaissOptions);

#[typetag::serde(name = "product")]
impl VectorIndexFactory for Product {
    fn build(
        &self,
        width: usize,
        capacity: usize,
    ) -> Result<Box<dyn rareclip_core::VectorIndex>, rareclip_core::BoxError> {
        let factory = match width % 4 {
            0 => self.0.factory.clone(),
            _ => "PQ1x4".into(),
        };
        let training = 320;
        FaissOptions {
            factory,
            training,
            ..self.0.clone()
        }
        .build(width, capacity)
    }
}

/// Ten thousand vectors of width 64 in 60 groups, 300 queries of the same making: the share of the
/// 3 nearest that is found.
fn recall_of(options: &FaissOptions) -> f64 {
    let vectors = patches(10_000, 64, 60, 7, 0);
    let queries = patches(300, 64, 60, 7, 1);
    let found = recall(options, vectors.view(), queries.view(), 3).unwrap();
    eprintln!("{} recall@3 {found:.4}", options.factory);
    found
}

#[test]
fn flat_misses_nothing() {
    assert_eq!(recall_of(&FaissOptions::default()), 1.0);
}

#[test]
fn approximate_indexes_miss_little() {
    for (factory, least) in [
        ("IVF64,Flat", 0.95),
        ("HNSW32,Flat", 0.97),
        ("SQ8", 0.98),
        ("IVF64,SQ8", 0.95),
        ("PQ16x5", 0.60),
    ] {
        let options = FaissOptions {
            training: 2500,
            refine: 8,
            ..FaissOptions {
                factory: factory.into(),
                ..FaissOptions::default()
            }
        };
        let found = recall_of(&options);
        assert!(found >= least, "{factory} finds {found}");
    }
}

#[test]
fn more_probes_find_more() {
    let with = |probes| {
        recall_of(&FaissOptions {
            probes,
            training: 2500,
            ..options("IVF64,Flat")
        })
    };
    let (one, all) = (with(1), with(64));
    assert!(one < 1.0 && all > one, "{one} {all}");
    assert!(all >= 0.999, "{all}");
}

#[test]
fn what_lies_on_the_bound_of_a_range_is_found_however_it_was_rounded() {
    let mut state = 1u64;
    let mut number = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    // Nearly orthogonal, so that rounding is large beside the similarities.
    let vectors = Array2::from_shape_simple_fn((500, 1024), &mut number);
    let queries = Array2::from_shape_simple_fn((40, 1024), &mut number);
    let mut index = FaissIndex::new(&FaissOptions::default(), 1024, 0).unwrap();
    index.append(vectors.view()).unwrap();
    let all = index.search(queries.view(), 500).unwrap().similarity;
    for (query, similarities) in queries.rows().into_iter().zip(all.rows()) {
        for least in similarities.iter().step_by(50).copied() {
            let found = index.within(query.insert_axis(Axis(0)), least).unwrap();
            let there = similarities.iter().filter(|&&other| other >= least);
            assert_eq!(found[0].len(), there.count(), "at least {least}");
        }
    }
}

#[test]
fn a_part_that_fails_leaves_the_index_as_it_was() {
    // More centroids than vectors to train on, which faiss finds out when it trains.
    let options = FaissOptions {
        factory: "PQ4x10".into(),
        training: 1024,
        ..FaissOptions::default()
    };
    let mut index = FaissIndex::new(&options, 64, 0).unwrap();
    let unfit = Array2::from_elem((1030, 64), f32::NAN);
    let before = patches(5, 64, 60, 7, 0);
    index.append(before.view()).unwrap();
    let failed = index.append(unfit.view()).unwrap_err().to_string();
    assert!(failed.contains("train"), "{failed}");
    assert_eq!(index.vectors().unwrap(), before);
}

#[test]
fn an_index_that_is_tuned_later_finds_what_one_made_so_finds() {
    let vectors = patches(4000, 64, 60, 7, 0);
    let queries = patches(300, 64, 60, 7, 1);
    for (factory, probes, search_depth) in [("IVF64,Flat", 9, 64), ("HNSW8,Flat", 16, 200)] {
        let hasty = FaissOptions {
            probes: 1,
            search_depth: 4,
            ..options(factory)
        };
        let thorough = FaissOptions {
            probes,
            search_depth,
            ..hasty.clone()
        };
        let filled = |options: &FaissOptions| {
            let mut index = FaissIndex::new(options, 64, 0).unwrap();
            index.append(vectors.view()).unwrap();
            index
        };
        let mut index = filled(&hasty);
        let before = index.search(queries.view(), 3).unwrap();
        index.tune(probes, search_depth).unwrap();
        let after = index.search(queries.view(), 3).unwrap();
        assert_ne!(before, after, "{factory}");
        let made_so = filled(&thorough).search(queries.view(), 3).unwrap();
        assert_eq!(after, made_so, "{factory}");
        let wrong = index.tune(0, 64).unwrap_err().to_string();
        assert!(wrong.contains("probes"), "{wrong}");
    }
}

#[test]
#[cfg(feature = "gpu")]
fn flat_and_lists_keep_the_contract_on_a_cuda_device() {
    for factory in ["Flat", "IVF8,Flat"] {
        check(&FaissOptions {
            device: rareclip_core::Device::Cuda(0),
            ..options(factory)
        });
    }
}
