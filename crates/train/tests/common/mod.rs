//! A small annotated data set and a backbone that needs no weights.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array1, Array2, ArrayView3, ArrayView4, s};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{Backbone, BoxError, Features, Grid};
use rareclip_datasets::{Dataset, Kind, Spec};
use rareclip_imaging::{InputRecipe, RgbPicture, encode_png, encode_png_gray};

pub const SIDE: usize = 16;
const PATCH: usize = 4;
const ROWS: usize = SIDE / PATCH;
pub const EMBEDDING: usize = 5;

/// Tokens of a patch are its colours, their products and its place: enough to tell a bright spot.
pub struct Colours {
    spec: BackboneSpec,
    /// Images encoded so far.
    pub encoded: AtomicUsize,
}

impl Colours {
    pub fn new() -> Self {
        Self {
            spec: BackboneSpec {
                input: InputRecipe::imagenet(SIDE),
                grid: Grid {
                    rows: ROWS,
                    columns: ROWS,
                },
                blocks: vec![(1, 6), (2, 4)],
                embedding_width: EMBEDDING,
                weights: "colours".into(),
            },
            encoded: AtomicUsize::new(0),
        }
    }

    fn of(&self, image: ArrayView3<'_, f32>) -> Features {
        let patch = |at: usize| {
            let (y, x) = (at / ROWS * PATCH, at % ROWS * PATCH);
            let part = image.slice(s![.., y..y + PATCH, x..x + PATCH]);
            [0, 1, 2].map(|channel| part.slice(s![channel, .., ..]).mean().unwrap())
        };
        let of = |width: usize| {
            Array2::from_shape_fn((ROWS * ROWS, width), |(at, column)| {
                let [r, g, b] = patch(at);
                [r, g, b, 1.0, r * r, at as f32 / 16.0][column]
            })
        };
        let mut embedding = Array1::from_vec(patch(0).to_vec());
        embedding
            .append(ndarray::Axis(0), ndarray::arr1(&[1.0, 0.5]).view())
            .unwrap();
        let length = embedding.dot(&embedding).sqrt();
        let tokens = BTreeMap::from([(1, of(6)), (2, of(4))]);
        Features::new(self.spec.grid, tokens, embedding / length)
    }
}

impl Backbone for Colours {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>, BoxError> {
        self.encoded.fetch_add(images.shape()[0], Ordering::Relaxed);
        Ok(images.outer_iter().map(|image| self.of(image)).collect())
    }
}

fn write(path: &Path, bytes: Vec<u8>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A gray image; `spot` is a bright square of 6 pixels with its corner there.
fn image(shade: u8, spot: Option<(usize, usize)>) -> Vec<u8> {
    let mut data = vec![shade; 3 * SIDE * SIDE];
    for (y, x) in pixels(spot) {
        data[3 * (SIDE * y + x)..][..3].copy_from_slice(&[250, 230, 40]);
    }
    encode_png(&RgbPicture::new(SIDE, SIDE, data).unwrap()).unwrap()
}

fn pixels(spot: Option<(usize, usize)>) -> Vec<(usize, usize)> {
    let square = |(y, x)| (0..36).map(move |at| (y + at / 6, x + at % 6));
    spot.into_iter().flat_map(square).collect()
}

/// Categories `tile` and `cable`, each with 5 good images, 4 of the class `spot` and 3 of the class
/// `missing_cable`.
pub fn dataset(folder: &Path) -> Dataset {
    for (offset, category) in ["tile", "cable"].into_iter().enumerate() {
        let root = folder.join(category);
        let shade = |number: usize| (40 + 20 * offset + 9 * number) as u8;
        write(&root.join("train/good/000.png"), image(shade(0), None));
        for number in 0..5 {
            let path = root.join(format!("test/good/{number:03}.png"));
            write(&path, image(shade(number), None));
        }
        for (class, count) in [("spot", 4), ("missing_cable", 3)] {
            for number in 0..count {
                let corner = (2 * number + offset, 9 - 2 * number);
                let path = root.join(format!("test/{class}/{number:03}.png"));
                write(&path, image(shade(number) + 1, Some(corner)));
                let mut mask = Array2::zeros((SIDE, SIDE));
                pixels(Some(corner))
                    .into_iter()
                    .for_each(|at| mask[at] = 255);
                let path = root.join(format!("ground_truth/{class}/{number:03}_mask.png"));
                write(&path, encode_png_gray(mask.view()).unwrap());
            }
        }
    }
    Dataset::open(&Spec::new(Some(Kind::Mvtec), folder)).unwrap()
}
