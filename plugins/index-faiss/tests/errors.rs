//! What cannot be done is said before it is tried; damaged states are refused before faiss reads
//! them.
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

use std::path::Path;

use data_encoding::HEXLOWER;
use rareclip_core::snapshot::{Snapshot, SnapshotWriter};
use rareclip_core::{Neighbours, VectorIndex, VectorIndexFactory};
use rareclip_index_faiss::{FaissError, FaissIndex, FaissOptions, Metric};
use rareclip_testkit::index::patches;
use sha2::{Digest, Sha256};

fn refused(options: &FaissOptions) -> FaissError {
    match FaissIndex::new(options, 16, 0) {
        Err(error) => error,
        Ok(_) => panic!("{options:?} is taken"),
    }
}

fn of(factory: &str) -> FaissOptions {
    FaissOptions {
        factory: factory.into(),
        ..FaissOptions::default()
    }
}

#[test]
fn a_factory_that_faiss_does_not_know_is_named() {
    for factory in ["Flatt", "IVF,", "", "PQ5", "HNSW32,Nonsense"] {
        let error = refused(&of(factory));
        assert!(matches!(&error, FaissError::Factory { .. }), "{error}");
        assert!(
            error.to_string().contains(&format!("{factory:?}")),
            "{error}"
        );
    }
}

#[test]
fn an_index_that_cannot_grow_or_that_names_what_is_done_here_is_refused() {
    let unfit = [
        "NSG32,Flat",
        "IMI2x4,Flat",
        "IDMap,Flat",
        "IVF256,SQ8,RFlat",
        "IVF256,PQ48,Refine(SQ8)",
    ];
    for factory in unfit {
        let error = refused(&of(factory)).to_string();
        assert!(error.contains("factory"), "{error}");
    }
}

#[test]
fn options_out_of_range_say_which() {
    let default = FaissOptions::default;
    let cases = [
        (
            "probes",
            FaissOptions {
                probes: 0,
                ..default()
            },
        ),
        (
            "search_depth",
            FaissOptions {
                search_depth: 0,
                ..default()
            },
        ),
        (
            "refine",
            FaissOptions {
                refine: 0,
                ..default()
            },
        ),
        (
            "query_chunk",
            FaissOptions {
                query_chunk: 0,
                ..default()
            },
        ),
        (
            "gpu_memory",
            FaissOptions {
                gpu_memory: 0,
                ..default()
            },
        ),
        (
            "gpu_memory",
            FaissOptions {
                gpu_memory: 1537,
                ..default()
            },
        ),
        (
            "training",
            FaissOptions {
                training: 100,
                ..of("IVF256,Flat")
            },
        ),
    ];
    for (option, options) in cases {
        let error = refused(&options).to_string();
        assert!(error.contains(&format!("`{option}`")), "{error}");
    }
}

#[test]
#[cfg(not(feature = "gpu"))]
fn a_cuda_device_names_the_feature_that_it_needs() {
    let error = refused(&FaissOptions {
        device: rareclip_core::Device::Cuda(0),
        ..FaissOptions::default()
    });
    assert_eq!(
        error,
        FaissError::NoGpu {
            device: rareclip_core::Device::Cuda(0)
        }
    );
    assert!(error.to_string().contains("`gpu`"), "{error}");
}

#[test]
#[cfg(feature = "gpu")]
fn a_cuda_device_that_is_not_there_is_named() {
    let device = rareclip_core::Device::Cuda(200);
    let error = refused(&FaissOptions {
        device,
        ..FaissOptions::default()
    });
    assert!(matches!(error, FaissError::NoDevice { .. }), "{error}");
    assert!(error.to_string().contains("`cuda:200`"), "{error}");
}

#[test]
fn options_of_another_name_are_an_error() {
    let error = serde_json::from_str::<FaissOptions>(r#"{"nprobe": 3}"#).unwrap_err();
    assert!(error.to_string().contains("nprobe"), "{error}");
}

#[test]
fn the_longer_vector_is_nearer_by_product_alone() {
    let rows = ndarray::array![[1.0, 0.0], [9.0, 5.0]];
    let query = ndarray::array![[1.0, 0.1]];
    let nearest = |metric| {
        let options = FaissOptions {
            metric,
            ..FaissOptions::default()
        };
        let mut index = options.build(2, 2).unwrap();
        index.append(rows.view()).unwrap();
        let found = index.search(query.view(), 1).unwrap();
        (
            found.position[[0, 0]],
            found.similarity[[0, 0]],
            index.exact(),
        )
    };
    assert_eq!(nearest(Metric::InnerProduct), (1, 9.5, true));
    // The similarity is the inner product all the same.
    assert_eq!(nearest(Metric::L2), (0, 1.0, false));
}

#[test]
fn by_distance_the_nearest_are_found_with_every_factory_before_and_after_it_is_trained() {
    let mut rows = patches(3000, 16, 30, 3, 0);
    for (at, mut row) in rows.rows_mut().into_iter().enumerate() {
        row.mapv_inplace(|value| value * (1 + at * 7 % 10) as f32);
    }
    let queries = rows.slice(ndarray::s![..100, ..]).mapv(|value| value * 1.1);
    let k = 5;
    for factory in ["Flat", "SQ8", "HNSW32,Flat", "IVF8,Flat"] {
        let options = FaissOptions {
            metric: Metric::L2,
            ..of(factory)
        };
        let mut index = options.build(16, rows.nrows()).unwrap();
        for count in [200, 3000] {
            let held = index.len();
            let more = rows.slice(ndarray::s![held..count, ..]);
            index.append(more).unwrap();
            let found = index.search(queries.view(), k).unwrap().position;
            let mut met = 0;
            for (query, found) in queries.rows().into_iter().zip(found.rows()) {
                let mut nearest: Vec<u32> = (0..count as u32).collect();
                let distance = |at: &u32| (&rows.row(*at as usize) - &query).mapv(|d| d * d).sum();
                nearest.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
                let nearest = nearest.iter().take(k);
                met += nearest
                    .filter(|at| found.iter().any(|one| one == *at))
                    .count();
            }
            assert!(met >= 475, "{factory} {count}: {met}");
        }
    }
}

/// The state of a trained index with `change` done to it: the checksum and the seal are those from
/// before.
fn state(change: impl Fn(&mut Vec<u32>, &mut Vec<u32>)) -> Vec<u8> {
    changed_state(change, |_, _| {})
}

/// The same with the checksum that fits, and another seal.
fn sealed_state(change: impl Fn(&mut Vec<u32>, &mut Vec<u32>), seal: Option<&str>) -> Vec<u8> {
    changed_state(change, |saved, words| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let bytes = &bytes[..saved["bytes"].as_u64().unwrap() as usize];
        saved["sha256"] = HEXLOWER.encode(&Sha256::digest(bytes)).into();
        saved["seal"] = seal.into();
    })
}

fn changed_state(
    change: impl Fn(&mut Vec<u32>, &mut Vec<u32>),
    check: impl Fn(&mut serde_json::Value, &[u32]),
) -> Vec<u8> {
    let options = lists();
    let mut index = options.build(16, 0).unwrap();
    index.append(patches(900, 16, 8, 3, 0).view()).unwrap();
    let mut writer = SnapshotWriter::new();
    index.save(&mut writer, "index");
    let snapshot = Snapshot::from_bytes(Path::new("index"), writer.to_bytes().unwrap()).unwrap();
    let reader = snapshot.reader().unwrap();
    let mut writer = SnapshotWriter::new();
    let (shape, values) = reader.floats("index").unwrap();
    writer.floats("index", &shape, values);
    let mut saved: serde_json::Value = reader.value("index.engine").unwrap();
    let (_, mut words) = reader.ints("index.engine.words").unwrap();
    let (_, mut ids) = reader.ints("index.engine.ids").unwrap();
    change(&mut words, &mut ids);
    check(&mut saved, &words);
    writer.value("index.engine", &saved);
    writer.ints("index.engine.words", &[words.len()], words);
    writer.ints("index.engine.ids", &[ids.len()], ids);
    writer.to_bytes().unwrap()
}

fn lists() -> FaissOptions {
    FaissOptions {
        training: 640,
        ..of("IVF16,Flat")
    }
}

fn load(options: &FaissOptions, bytes: Vec<u8>) -> Result<(), String> {
    let snapshot = Snapshot::from_bytes(Path::new("index"), bytes).unwrap();
    let mut index: Box<dyn VectorIndex> = options.build(16, 0).unwrap();
    let loaded = index.load(&snapshot.reader().unwrap(), "index");
    loaded.map_err(|error| error.to_string())
}

#[test]
fn a_state_as_it_was_saved_is_taken() {
    assert_eq!(load(&lists(), state(|_, _| {})), Ok(()));
}

#[test]
fn an_engine_that_was_changed_is_refused() {
    for at in [0, 1, 10, 200, 5000] {
        let error = load(&lists(), state(|words, _| words[at] ^= 1 << 7)).unwrap_err();
        assert!(error.contains("checksum"), "{error}");
    }
}

#[test]
fn an_engine_that_was_cut_short_is_refused() {
    let error = load(&lists(), state(|words, _| words.truncate(100))).unwrap_err();
    assert!(error.contains("400 of"), "{error}");
}

/// The neighbours that an index finds after loading `bytes`.
fn found(bytes: Vec<u8>) -> Neighbours {
    let snapshot = Snapshot::from_bytes(Path::new("index"), bytes).unwrap();
    let mut index: Box<dyn VectorIndex> = lists().build(16, 0).unwrap();
    index.load(&snapshot.reader().unwrap(), "index").unwrap();
    index.search(patches(50, 16, 8, 3, 1).view(), 3).unwrap()
}

#[test]
fn an_engine_without_a_seal_of_this_user_is_not_read_but_built_again_from_the_vectors() {
    let own = found(state(|_, _| {}));
    let seals = [None, Some(""), Some("00ff")];
    for seal in seals {
        // Were they read, these bytes would be an error, or worse: the checksum was made for them.
        let bytes = sealed_state(|words, _| words.fill(0x4141_4141), seal);
        assert_eq!(found(bytes), own, "{seal:?}");
    }
}

#[test]
fn names_of_vectors_that_were_changed_break_the_seal() {
    let own = found(state(|_, _| {}));
    let changes: [fn(&mut Vec<u32>); 4] = [
        |ids| ids.truncate(5),
        |ids| ids.swap(1, 2),
        |ids| ids.push(u32::MAX),
        |ids| ids.clear(),
    ];
    for change in changes {
        assert_eq!(found(state(|_, ids| change(ids))), own);
    }
}

#[test]
fn a_state_of_another_factory_is_refused() {
    let error = load(&of("IVF8,Flat"), state(|_, _| {})).unwrap_err();
    assert!(error.contains("IVF16,Flat"), "{error}");
}
