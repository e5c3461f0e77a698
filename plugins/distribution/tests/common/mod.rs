//! Small images, and banks fed as a stream feeds them.
#![allow(dead_code, reason = "every test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

use ndarray::{Array1, Array2};
use rareclip_core::ComponentError;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::snapshot::{Snapshot, SnapshotWriter};
use rareclip_core::{BoxError, ErasedBank, Features, Grid, InputRecipe, MemoryBankFactory};
use rareclip_distribution::{GaussianOptions, StatisticsError, SubspaceOptions};

pub(crate) const GRID: Grid = Grid {
    rows: 2,
    columns: 2,
};
pub(crate) const WIDTH: usize = 6;

/// A backbone of 4 patches whose blocks 1 and 2 are of one width and 3 is of another.
pub(crate) fn backbone() -> BackboneSpec {
    BackboneSpec {
        input: InputRecipe::clip(16),
        grid: GRID,
        blocks: vec![(1, WIDTH), (2, WIDTH), (3, WIDTH + 1)],
        embedding_width: 2,
        weights: "synthetic".into(),
    }
}

/// An image of the given tokens of blocks 1 and 2.
pub(crate) fn image(first: Array2<f32>, second: Array2<f32>) -> Features {
    let tokens = [(1, first), (2, second)].into();
    Features::new(GRID, tokens, Array1::from_vec(vec![1.0, 0.0]))
}

/// An image from numbers, `[2 blocks, patches, width]` end to end.
pub(crate) fn from_values(values: &[f32]) -> Features {
    let block = |at: usize| {
        let values = &values[at * 4 * WIDTH..(at + 1) * 4 * WIDTH];
        Array2::from_shape_vec((4, WIDTH), values.to_vec()).unwrap()
    };
    image(block(0), block(1))
}

pub(crate) fn gaussian() -> GaussianOptions {
    GaussianOptions {
        blocks: vec![1, 2],
        ..GaussianOptions::default()
    }
}

pub(crate) fn subspace(explained_variance: f64) -> SubspaceOptions {
    SubspaceOptions {
        blocks: vec![1, 2],
        explained_variance,
    }
}

pub(crate) fn empty(options: &dyn MemoryBankFactory) -> Box<dyn ErasedBank> {
    options.build(&backbone()).unwrap()
}

/// A bank that has learned `normals`.
pub(crate) fn fitted(options: &dyn MemoryBankFactory, normals: &[Features]) -> Box<dyn ErasedBank> {
    let mut bank = empty(options);
    for normal in normals {
        bank.collect(normal).unwrap();
    }
    bank.fit().unwrap();
    bank
}

pub(crate) fn rarity(bank: &dyn ErasedBank, image: &Features) -> Vec<f32> {
    let assessment = bank.assess(image).unwrap();
    assert_eq!(assessment.evidence.branches.len(), 1);
    assessment.evidence.branches[0].scores.to_vec()
}

pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The state of a bank put into an empty one.
pub(crate) fn restored(
    options: &dyn MemoryBankFactory,
    bank: &dyn ErasedBank,
) -> Result<Box<dyn ErasedBank>, BoxError> {
    let mut writer = SnapshotWriter::new();
    bank.save(&mut writer);
    let snapshot = Snapshot::from_bytes("state".as_ref(), writer.to_bytes()?)?;
    options.build(&backbone())?.restore(&snapshot.reader()?)
}

/// The error of a call, as this crate's.
pub(crate) fn refusal<T>(result: Result<T, BoxError>) -> ComponentError {
    let error = result.err().unwrap();
    ComponentError::of(&error).unwrap().clone()
}

/// The error of a call, as this crate's own.
pub(crate) fn own_refusal<T>(result: Result<T, BoxError>) -> StatisticsError {
    let error = result.err().unwrap();
    error.downcast_ref::<StatisticsError>().unwrap().clone()
}
