//! What decoding allocates, against what the header announces.
#![cfg(feature = "codecs")]
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Cursor;
use std::sync::atomic::{AtomicU64, Ordering};

use image::{DynamicImage, ImageFormat};
use rareclip_imaging::{InputRecipe, Limits, Preset, decode, probe, shrink};

/// Bytes allocated now, and the most there were.
struct Counting;

static NOW: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size() as u64, Ordering::Relaxed) + layout.size() as u64;
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `work` has allocated at once.
fn peak<T>(work: impl FnOnce() -> T) -> u64 {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    drop(work());
    PEAK.load(Ordering::Relaxed) - before
}

const SIDES: (u32, u32) = (2000, 1500);

fn file(picture: DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Packed samples below 8 bits, or a palette.
fn png(colour: png::ColorType, depth: png::BitDepth) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIDES.0, SIDES.1);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if colour == png::ColorType::Indexed {
        encoder.set_palette(vec![7; 3 * 2]);
    }
    let row = (SIDES.0 as usize * colour.samples() * depth as usize).div_ceil(8);
    let mut writer = encoder.write_header().unwrap();
    writer
        .write_image_data(&vec![0; row * SIDES.1 as usize])
        .unwrap();
    writer.finish().unwrap();
    bytes
}

fn tiff<C: tiff::encoder::colortype::ColorType>(values: &[C::Inner]) -> Vec<u8>
where
    [C::Inner]: tiff::encoder::TiffValue,
{
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut bytes).unwrap();
    encoder.write_image::<C>(SIDES.0, SIDES.1, values).unwrap();
    bytes.into_inner()
}

fn files() -> Vec<(String, Vec<u8>)> {
    use png::{BitDepth, ColorType};
    let (width, height) = SIDES;
    let pixels = (width * height) as usize;
    let rgb = || DynamicImage::new_rgb8(width, height);
    let mut files = vec![
        (
            "PNG gray".into(),
            file(DynamicImage::new_luma8(width, height), ImageFormat::Png),
        ),
        ("PNG RGB".into(), file(rgb(), ImageFormat::Png)),
        (
            "PNG RGBA".into(),
            file(DynamicImage::new_rgba8(width, height), ImageFormat::Png),
        ),
        (
            "PNG 16-bit gray".into(),
            file(DynamicImage::new_luma16(width, height), ImageFormat::Png),
        ),
        (
            "PNG 16-bit RGB".into(),
            file(DynamicImage::new_rgb16(width, height), ImageFormat::Png),
        ),
        (
            "PNG 16-bit RGBA".into(),
            file(DynamicImage::new_rgba16(width, height), ImageFormat::Png),
        ),
        (
            "PNG palette".into(),
            png(ColorType::Indexed, BitDepth::Eight),
        ),
        (
            "PNG palette of 4 bits".into(),
            png(ColorType::Indexed, BitDepth::Four),
        ),
        (
            "PNG bilevel".into(),
            png(ColorType::Grayscale, BitDepth::One),
        ),
        (
            "JPEG gray".into(),
            file(DynamicImage::new_luma8(width, height), ImageFormat::Jpeg),
        ),
        ("JPEG RGB".into(), file(rgb(), ImageFormat::Jpeg)),
        ("BMP RGB".into(), file(rgb(), ImageFormat::Bmp)),
        (
            "BMP gray".into(),
            file(DynamicImage::new_luma8(width, height), ImageFormat::Bmp),
        ),
        ("WebP RGB".into(), file(rgb(), ImageFormat::WebP)),
        (
            "WebP RGBA".into(),
            file(DynamicImage::new_rgba8(width, height), ImageFormat::WebP),
        ),
        (
            "TIFF RGB".into(),
            tiff::<tiff::encoder::colortype::RGB8>(&vec![0; 3 * pixels]),
        ),
        (
            "TIFF 16-bit RGB".into(),
            tiff::<tiff::encoder::colortype::RGB16>(&vec![0; 3 * pixels]),
        ),
        (
            "TIFF gray".into(),
            tiff::<tiff::encoder::colortype::Gray8>(&vec![0; pixels]),
        ),
    ];
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jpeg");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|end| end == "jpg" || end == "jpeg")
        {
            files.push((path.display().to_string(), std::fs::read(path).unwrap()));
        }
    }
    files
}

#[test]
fn no_file_takes_more_memory_than_its_header_announces() {
    let limits = Limits::default();
    let mut checked = 0;
    for (name, bytes) in files() {
        for preset in [Preset::Product, Preset::Reference] {
            let recipe = InputRecipe::clip(448).with_preset(preset);
            // Files that cannot be decoded are tested elsewhere.
            let Ok(header) = probe(&bytes, &limits) else {
                continue;
            };
            let tight = Limits {
                max_decoder_bytes: header.decode_bytes(),
                ..limits
            };
            if decode(&bytes, &limits).is_err() {
                continue;
            }
            let decoding = peak(|| decode(&bytes, &tight).unwrap());
            assert!(
                decoding <= header.decode_bytes(),
                "{name}: {decoding} bytes, announced {}",
                header.decode_bytes()
            );
            let all = peak(|| {
                let picture = decode(&bytes, &tight).unwrap();
                let tensor = recipe.tensor(&picture).unwrap();
                let rgb = picture.to_rgb(preset);
                drop(picture);
                (tensor, shrink(rgb, 1024))
            });
            let announced = header.prepare_bytes(&recipe);
            assert!(
                all <= announced,
                "{name}: {all} bytes, announced {announced}"
            );
            // A bound that is far too high would refuse pictures for nothing.
            let small = 16 << 20;
            assert!(
                announced <= 4 * all + small,
                "{name}: {all} bytes, announced {announced}"
            );
            checked += 1;
        }
    }
    assert!(checked >= 36, "{checked}");
}
