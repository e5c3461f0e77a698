//! Times of what runs for every image: decoding, resizing, and the map's way back to pixels.
#![allow(missing_docs, clippy::unwrap_used, reason = "benchmark code")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::Array2;
use rareclip_imaging::{
    InputRecipe, Limits, MapScale, Picture, Preset, RgbPicture, decode, encode_jpeg, encode_png,
    gaussian_blur, overlay, upsample_bilinear,
};

fn picture(width: usize, height: usize) -> RgbPicture {
    let data = (0..width * height)
        .flat_map(|i| {
            let (x, y) = (i % width, i / width);
            [(x * y / 97) as u8, (x / 3) as u8, (y / 5) as u8 ^ (x as u8)]
        })
        .collect();
    RgbPicture::new(width, height, data).unwrap()
}

fn benchmarks(c: &mut Criterion) {
    let recipe = InputRecipe::clip(518);
    for (width, height) in [(1024, 1024), (1500, 1000), (2000, 2000)] {
        let rgb = picture(width, height);
        let limits = Limits::default();
        let (jpeg, png) = (encode_jpeg(&rgb, 90).unwrap(), encode_png(&rgb).unwrap());
        let source = Picture::from(rgb);
        let name = |what: &str| format!("{what} {width}x{height}");
        c.bench_function(&name("tensor 518"), |b| {
            b.iter(|| recipe.tensor(black_box(&source)))
        });
        c.bench_function(&name("decode jpeg"), |b| {
            b.iter(|| decode(black_box(&jpeg), &limits))
        });
        c.bench_function(&name("decode png"), |b| {
            b.iter(|| decode(black_box(&png), &limits))
        });
        let map = Array2::from_elem((518, 518), 0.3);
        let scale = MapScale {
            low: 0.0,
            high: 1.0,
        };
        let rgb = source.to_rgb(Preset::Product);
        c.bench_function(&name("overlay"), |b| {
            b.iter(|| overlay(&rgb, black_box(map.view()), scale, 0.5))
        });
    }
    let patches = Array2::from_shape_fn((37, 37), |(y, x)| (x * y % 11) as f32);
    c.bench_function("upsample 37 to 518", |b| {
        b.iter(|| upsample_bilinear(black_box(patches.view()), 518, 518))
    });
    let map = upsample_bilinear(patches.view(), 518, 518).unwrap();
    c.bench_function("blur 518", |b| {
        b.iter(|| gaussian_blur(black_box(map.view()), 25, 4.0))
    });
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);
