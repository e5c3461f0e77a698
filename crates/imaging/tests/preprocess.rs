//! Tensors and masks against the golden data of the published pipeline.
#![cfg(feature = "codecs")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::Path;

use common::{Golden, fixtures};
use ndarray::{Array3, Ix3, s};
use rareclip_imaging::{
    CLIP_MEAN, CLIP_STD, Filter, Limits, Picture, Pixels, Preset, decode_file, mask_binary,
    mask_soft, resize_mask_nearest, to_tensor,
};
use rareclip_testkit::distance;

/// 32-bit rounding of the normalisation.
const EXACT: f32 = 2e-7;

const FILES: [&str; 12] = [
    "01_rgb_48x48.png",
    "02_rgb_200x120.png",
    "03_rgb_780x620.jpg",
    "04_gray_100x80.png",
    "05_rgba_90x110.png",
    "06_palette_120x96.png",
    "07_gray16_88x80.png",
    "08_rgb_exif6_130x90.jpg",
    "09_grayalpha_60x75.png",
    "10_bilevel_77x77.png",
    "11_rgb_70x70.png",
    "12_cmyk_96x64.jpg",
];

fn read(path: &Path) -> Picture {
    decode_file(path, &Limits::default()).unwrap()
}

fn clip_tensor(picture: &Picture, side: usize, preset: Preset) -> Array3<f32> {
    to_tensor(picture, side, CLIP_MEAN, CLIP_STD, Filter::Bicubic, preset).unwrap()
}

/// Converted to RGB before resizing as Pillow's `convert("RGB")`, which ignores the orientation.
fn rgb_first(picture: &Picture) -> Picture {
    picture.to_rgb(Preset::Reference).into()
}

/// Largest difference at 70 and at every 8th pixel of 518, and of mean and deviation at 518.
fn differences(
    golden: &Golden,
    name: &str,
    order: &str,
    picture: &Picture,
    preset: Preset,
) -> [f32; 4] {
    let key = |what: &str| format!("{name}.{order}.{what}");
    let mut found = [0.0; 4];
    let small = clip_tensor(picture, 70, preset);
    found[0] = distance(&small, &golden.f32(&key("size_70")));
    let large = clip_tensor(picture, 518, preset);
    if golden.has(&key("size_518_stride8")) {
        let thinned = large.slice(s![.., ..;8, ..;8]);
        found[1] = distance(thinned, &golden.f32(&key("size_518_stride8")));
    }
    let planes = large.mapv(f64::from);
    let of_planes = |f: &dyn Fn(ndarray::ArrayView2<'_, f64>) -> f64| {
        planes
            .outer_iter()
            .map(|p| f(p) as f32)
            .collect::<Vec<f32>>()
    };
    let means = of_planes(&|p| p.mean().unwrap());
    let deviations = of_planes(&|p| p.std(0.0));
    found[2] = distance(&means, &golden.f32(&key("size_518_mean")));
    found[3] = distance(&deviations, &golden.f32(&key("size_518_std")));
    found
}

#[test]
fn reference_preset_reproduces_every_golden_tensor() {
    let Some(fixtures) = fixtures("reference_preset_reproduces_every_golden_tensor") else {
        return;
    };
    let folder = fixtures.join("preprocess");
    let golden = Golden::open(&folder.join("tensors.safetensors"));
    let mut bad = Vec::new();
    for file in FILES {
        let name = &file[..file.len() - 4];
        let found = differences(
            &golden,
            name,
            "direct",
            &read(&folder.join(file)),
            Preset::Reference,
        );
        println!(
            "{file} direct: 70 {:.2e}, 518 {:.2e}, mean {:.2e}, std {:.2e}",
            found[0], found[1], found[2], found[3]
        );
        if found[..2].iter().any(|&d| d > EXACT) || found[2..].iter().any(|&d| d > 1e-6) {
            bad.push((file, found));
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn converting_to_rgb_first_reproduces_every_golden_tensor() {
    let Some(fixtures) = fixtures("converting_to_rgb_first_reproduces_every_golden_tensor") else {
        return;
    };
    let folder = fixtures.join("preprocess");
    let golden = Golden::open(&folder.join("tensors.safetensors"));
    let mut compared = 0;
    let mut bad = Vec::new();
    for file in FILES {
        let name = &file[..file.len() - 4];
        if !golden.has(&format!("{name}.rgb_first.size_70")) {
            continue;
        }
        compared += 1;
        let picture = rgb_first(&read(&folder.join(file)));
        let found = differences(&golden, name, "rgb_first", &picture, Preset::Product);
        println!(
            "{file} rgb_first: 70 {:.2e}, mean {:.2e}, std {:.2e}",
            found[0], found[2], found[3]
        );
        if found[0] > EXACT || found[2..].iter().any(|&d| d > 1e-6) {
            bad.push((file, found));
        }
    }
    assert_eq!(compared, 5);
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn decoded_size_mode_and_sums_are_those_of_pillow() {
    let Some(fixtures) = fixtures("decoded_size_mode_and_sums_are_those_of_pillow") else {
        return;
    };
    let folder = fixtures.join("preprocess");
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    for entry in index.as_array().unwrap() {
        let file = entry["file"].as_str().unwrap();
        let picture = read(&folder.join(file));
        assert_eq!(
            picture.width() as u64,
            entry["width"].as_u64().unwrap(),
            "{file}"
        );
        assert_eq!(
            picture.height() as u64,
            entry["height"].as_u64().unwrap(),
            "{file}"
        );
        let mode = match picture.pixels() {
            Pixels::Bilevel(_) => "1",
            Pixels::Gray8(_) => "L",
            Pixels::GrayAlpha8(_) => "LA",
            Pixels::Rgb8(_) => "RGB",
            Pixels::Rgba8(_) => "RGBA",
            Pixels::Palette8 { .. } => "P",
            Pixels::Gray16(_) => "I;16",
            Pixels::Cmyk8(_) => "CMYK",
            other => panic!("{other:?}"),
        };
        assert_eq!(mode, entry["pil_mode"].as_str().unwrap(), "{file}");
        let rgb = picture.to_rgb(Preset::Reference);
        for channel in 0..3 {
            let sum: u64 = rgb
                .data()
                .iter()
                .skip(channel)
                .step_by(3)
                .map(|&v| u64::from(v))
                .sum();
            let expected = entry["decoded_rgb_sum"][channel].as_u64().unwrap();
            assert_eq!(sum, expected, "{file} {channel}");
        }
    }
}

#[test]
fn jpeg_files_decode_to_the_pixels_of_libjpeg_turbo() {
    let Some(fixtures) = fixtures("jpeg_files_decode_to_the_pixels_of_libjpeg_turbo") else {
        return;
    };
    let folder = fixtures.join("preprocess");
    let golden = Golden::open(&folder.join("decoded_jpeg.safetensors"));
    for file in ["08_rgb_exif6_130x90.jpg", "12_cmyk_96x64.jpg"] {
        let rgb = read(&folder.join(file)).to_rgb(Preset::Reference);
        let expected = golden.u8(&format!("{}.decoded", &file[..file.len() - 4]));
        assert_eq!(expected.shape(), [rgb.height(), rgb.width(), 3]);
        let off = rgb
            .data()
            .iter()
            .zip(&expected)
            .filter(|(a, b)| a != b)
            .count();
        assert_eq!(off, 0, "{file}: values that differ");
    }
}

#[test]
fn product_preset_equals_reference_for_rgb_and_gray_files() {
    let Some(fixtures) = fixtures("product_preset_equals_reference_for_rgb_and_gray_files") else {
        return;
    };
    for file in [
        "01_rgb_48x48.png",
        "02_rgb_200x120.png",
        "03_rgb_780x620.jpg",
        "04_gray_100x80.png",
    ] {
        let picture = read(&fixtures.join("preprocess").join(file));
        let [product, reference] =
            [Preset::Product, Preset::Reference].map(|preset| clip_tensor(&picture, 112, preset));
        assert_eq!(product, reference, "{file}");
    }
}

#[test]
fn product_preset_turns_a_picture_upright() {
    let Some(fixtures) = fixtures("product_preset_turns_a_picture_upright") else {
        return;
    };
    let picture = read(&fixtures.join("preprocess/08_rgb_exif6_130x90.jpg"));
    let (stored, upright) = (
        picture.to_rgb(Preset::Reference),
        picture.to_rgb(Preset::Product),
    );
    assert_eq!((stored.width(), stored.height()), (130, 90));
    assert_eq!((upright.width(), upright.height()), (90, 130));
    // Turned clockwise: the stored bottom left corner becomes the top left one.
    assert_eq!(upright.data()[..3], stored.data()[89 * 130 * 3..][..3]);
}

#[test]
fn product_preset_keeps_the_range_of_16_bit_gray() {
    let Some(fixtures) = fixtures("product_preset_keeps_the_range_of_16_bit_gray") else {
        return;
    };
    let picture = read(&fixtures.join("preprocess/07_gray16_88x80.png"));
    let tensor = clip_tensor(&picture, 88, Preset::Product);
    let spread = tensor.std(0.0);
    assert!(spread > 0.2, "{spread}");
}

#[test]
fn masks_equal_the_golden_masks() {
    let Some(fixtures) = fixtures("masks_equal_the_golden_masks") else {
        return;
    };
    let folder = fixtures.join("preprocess");
    let golden = Golden::open(&folder.join("masks.safetensors"));
    for name in [
        "m1_l_100x100",
        "m2_l01_140x60",
        "m3_rgb_40x50",
        "m4_lgrades_260x300",
    ] {
        let picture = read(&folder.join(format!("masks/{name}.png")));
        let soft = mask_soft(&picture, 70, Preset::Reference).unwrap();
        let worst = distance(&soft, &golden.f32(&format!("{name}.size_70")));
        assert!(worst < 1e-7, "{name}: {worst}");
        let binary = mask_binary(&picture, 70, Preset::Reference).unwrap();
        assert_eq!(
            binary.clone().into_dyn(),
            golden.u8(&format!("{name}.size_70_binary"))
        );
        for side in [32, 96] {
            let resized = resize_mask_nearest(binary.view(), side, side).unwrap();
            assert_eq!(
                resized.into_dyn(),
                golden.u8(&format!("{name}.nearest_{side}")),
                "{name}"
            );
        }
    }
}

#[test]
fn tensor_is_channel_first_and_row_major() {
    let pixels = Pixels::Rgb8(vec![0, 51, 102, 153, 204, 255]);
    let picture = Picture::new(2, 1, pixels, Default::default()).unwrap();
    let tensor =
        rareclip_imaging::rgb_to_tensor(&picture.to_rgb(Preset::Product), [0.0; 3], [1.0; 3]);
    assert_eq!(
        tensor.into_dimensionality::<Ix3>().unwrap(),
        ndarray::arr3(&[[[0.0, 0.6]], [[0.2, 0.8]], [[0.4, 1.0]]])
    );
}
