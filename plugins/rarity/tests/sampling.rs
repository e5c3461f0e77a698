//! Incremental sequential sampling keeps what the literal rule keeps.
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

mod common;

use std::collections::BTreeMap;

use ndarray::{Array1, Array2};
use proptest::prelude::*;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::snapshot::{Snapshot, SnapshotWriter};
use rareclip_core::{ErasedBank, Features, Grid, InputRecipe, MemoryBankFactory, Role};
use rareclip_rarity::PrototypeOptions;

/// Tokens of unit length whose inner products are exact in f32, so that ties are ties: signed
/// permutations of (1, 0, 0, 0) and of (1, 1, 1, 1) / 2.
fn token(number: u8) -> [f32; 4] {
    if number < 8 {
        let mut token = [0.0; 4];
        token[usize::from(number / 2)] = if number.is_multiple_of(2) { 1.0 } else { -1.0 };
        token
    } else {
        let signs = number - 8;
        [0, 1, 2, 3].map(|bit| if signs >> bit & 1 == 0 { 0.5 } else { -0.5 })
    }
}

const PATCHES: usize = 6;

/// An image of the tokens with these numbers.
fn image(numbers: &[u8]) -> Features {
    let values: Vec<f32> = numbers.iter().flat_map(|&number| token(number)).collect();
    let grid = Grid {
        rows: 2,
        columns: 3,
    };
    let tokens = BTreeMap::from([(1, Array2::from_shape_vec((PATCHES, 4), values).unwrap())]);
    Features::new(grid, tokens, Array1::ones(1))
}

fn bank(capacity: f64) -> Box<dyn ErasedBank> {
    let backbone = BackboneSpec {
        input: InputRecipe::clip(6),
        grid: Grid {
            rows: 2,
            columns: 3,
        },
        blocks: vec![(1, 4)],
        embedding_width: 1,
        weights: String::new(),
    };
    let options = PrototypeOptions {
        blocks: vec![1],
        neighbourhoods: vec![1],
        capacity,
        keep_images: 64,
        ..PrototypeOptions::default()
    };
    options.build(&backbone).unwrap()
}

/// The literal rule.
struct Literal {
    rows: Vec<[f32; 4]>,
    normals: usize,
    shots: usize,
    capacity: usize,
}

impl Literal {
    fn absorb(&mut self, numbers: &[u8], role: Role) {
        self.rows
            .extend(numbers.iter().map(|&number| token(number)));
        if role == Role::Normal {
            self.normals = self.rows.len();
            self.shots += 1;
        }
        if self.rows.len() <= self.capacity {
            return;
        }
        let dot = |a: &[f32; 4], b: &[f32; 4]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let mut distance: Vec<f32> = (0..self.rows.len())
            .map(|m| {
                let earlier = self.rows[..m].iter().map(|row| dot(row, &self.rows[m]));
                earlier.fold(0.0, f32::max)
            })
            .collect();
        if self.normals <= (PATCHES * self.shots / 4).min(self.capacity) {
            distance[..self.normals].fill(0.0);
        }
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by(|&a, &b| distance[a].total_cmp(&distance[b]));
        order.truncate(self.capacity);
        order.sort_unstable();
        self.normals = order.iter().filter(|&&m| m < self.normals).count();
        self.rows = order.into_iter().map(|m| self.rows[m]).collect();
    }
}

/// The prototypes held, and how many of them lead as known normals.
fn held(bank: &dyn ErasedBank) -> (Vec<f32>, usize) {
    let mut writer = SnapshotWriter::new();
    bank.save(&mut writer);
    let snapshot = Snapshot::from_bytes("bank".as_ref(), writer.to_bytes().unwrap()).unwrap();
    let reader = snapshot.reader().unwrap();
    let normals = reader.value("branch0.normal_count").unwrap();
    (reader.floats("branch0.prototypes").unwrap().1, normals)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn sequential_sampling_equals_the_literal_rule(
        stream in prop::collection::vec(prop::collection::vec(0u8..24, PATCHES), 1..14),
        // 4 to 24 prototypes for 6 patches an image; half a patch more, so that rounding cannot
        // decide.
        capacity in 4usize..25,
        shots in 0usize..4,
    ) {
        let mut bank = bank((capacity as f64 + 0.5) / PATCHES as f64);
        let mut literal = Literal { rows: Vec::new(), normals: 0, shots: 0, capacity };
        for (i, numbers) in stream.iter().enumerate() {
            let role = if i < shots { Role::Normal } else { Role::Query };
            let features = image(numbers);
            let assessment = bank.assess(&features).unwrap();
            bank.absorb(&features, assessment.carry, role).unwrap();
            literal.absorb(numbers, role);
            let (vectors, normals) = held(&*bank);
            let expected: Vec<f32> = literal.rows.iter().flatten().copied().collect();
            prop_assert_eq!(vectors, expected, "image {}", i);
            prop_assert_eq!(normals, literal.normals, "image {}", i);
        }
    }
}
