//! Reading and refusing image files.
#![cfg(feature = "codecs")]
#![allow(clippy::unwrap_used, reason = "test code")]

use std::{io::Cursor, path::Path};

use image::{DynamicImage, ImageFormat, RgbImage};
use proptest::prelude::*;
use rareclip_imaging::{
    Format, ImagingError, InputRecipe, Limits, Orientation, Picture, Pixels, Preset, RgbPicture,
    decode, decode_file, encode_jpeg, encode_png, encode_png_gray, prepare,
};

fn read(bytes: &[u8]) -> Result<Picture, ImagingError> {
    decode(bytes, &Limits::default())
}

fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 7) as u8, (y * 5) as u8, 90])
    })
}

fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A PNG file of raw (already packed) rows.
fn png_file(
    (width, height): (u32, u32),
    colour: png::ColorType,
    depth: png::BitDepth,
    rows: &[u8],
    palette: Option<&[u8]>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if let Some(palette) = palette {
        encoder.set_palette(palette.to_vec());
        encoder.set_trns(vec![255, 0]);
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(rows).unwrap();
    writer.finish().unwrap();
    bytes
}

/// A PNG file that announces a size and ends before its pixels.
fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png_file(
        (1, 1),
        png::ColorType::Rgb,
        png::BitDepth::Eight,
        &[0; 3],
        None,
    );
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| {
            (c >> 1) ^ (0xedb8_8320 * (c & 1))
        })
    })
}

/// Puts an EXIF segment with an orientation behind the first marker of a JPEG file.
fn with_orientation(jpeg: &[u8], value: u8) -> Vec<u8> {
    let mut segment = vec![0xff, 0xe1, 0, 34];
    segment.extend_from_slice(b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01");
    segment.extend_from_slice(&[0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0, 0, 0, 0, 0]);
    [&jpeg[..2], &segment, &jpeg[2..]].concat()
}

#[test]
fn lossless_formats_give_back_the_pixels() {
    let source = gradient(31, 17);
    for format in [
        ImageFormat::Png,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::WebP,
    ] {
        let picture = read(&encoded(source.clone(), format)).unwrap();
        assert_eq!((picture.width(), picture.height()), (31, 17), "{format:?}");
        assert_eq!(
            picture.pixels(),
            &Pixels::Rgb8(source.clone().into_raw()),
            "{format:?}"
        );
    }
}

#[test]
fn packed_png_modes_are_unpacked() {
    use png::{BitDepth, ColorType};
    let file = png_file(
        (3, 2),
        ColorType::Grayscale,
        BitDepth::One,
        &[0b1010_0000, 0b0100_0000],
        None,
    );
    assert_eq!(
        read(&file).unwrap().pixels(),
        &Pixels::Bilevel(vec![255, 0, 255, 0, 255, 0])
    );
    let file = png_file(
        (2, 1),
        ColorType::Grayscale,
        BitDepth::Two,
        &[0b0111_0000],
        None,
    );
    assert_eq!(read(&file).unwrap().pixels(), &Pixels::Gray8(vec![85, 255]));
    let palette = [10, 20, 30, 40, 50, 60];
    let file = png_file(
        (2, 1),
        ColorType::Indexed,
        BitDepth::Four,
        &[0x01],
        Some(&palette),
    );
    let expected = Pixels::Palette8 {
        indices: vec![0, 1],
        palette: vec![[10, 20, 30, 255], [40, 50, 60, 0]],
    };
    assert_eq!(read(&file).unwrap().pixels(), &expected);
}

#[test]
fn sixteen_bit_modes_keep_their_bits() {
    use png::{BitDepth, ColorType};
    let file = png_file(
        (2, 1),
        ColorType::Grayscale,
        BitDepth::Sixteen,
        &[1, 2, 3, 4],
        None,
    );
    assert_eq!(
        read(&file).unwrap().pixels(),
        &Pixels::Gray16(vec![0x0102, 0x0304])
    );
    let rows = [1, 2, 3, 4, 5, 6, 7, 8];
    let file = png_file((1, 1), ColorType::Rgba, BitDepth::Sixteen, &rows, None);
    assert_eq!(
        read(&file).unwrap().pixels(),
        &Pixels::Rgba16(vec![0x0102, 0x0304, 0x0506, 0x0708])
    );
    let mut bytes = Cursor::new(Vec::new());
    tiff::encoder::TiffEncoder::new(&mut bytes)
        .unwrap()
        .write_image::<tiff::encoder::colortype::Gray16>(2, 1, &[500, 60_000])
        .unwrap();
    assert_eq!(
        read(&bytes.into_inner()).unwrap().pixels(),
        &Pixels::Gray16(vec![500, 60_000])
    );
}

/// A BMP file of 8-bit indices, bottom row first.
fn palette_bmp(width: u32, indices_bottom_up: &[u8], palette: &[[u8; 3]], coding: u8) -> Vec<u8> {
    let height = indices_bottom_up.len() as u32 / width.next_multiple_of(4);
    let mut bytes = b"BM\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend((54 + 4 * palette.len() as u32).to_le_bytes());
    for word in [
        40,
        width,
        height,
        0x0008_0001,
        coding.into(),
        0,
        0,
        0,
        palette.len() as u32,
        0,
    ] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(palette.iter().flat_map(|&[r, g, b]| [b, g, r, 0]));
    bytes.extend(indices_bottom_up);
    bytes
}

#[test]
fn bmp_palettes_are_kept_and_black_and_white_is_bilevel() {
    let rows = [0, 1, 1, 99, 1, 0, 0, 99];
    let colours = [[1, 2, 3], [200, 100, 0]];
    let picture = read(&palette_bmp(3, &rows, &colours, 0)).unwrap();
    let expected = Pixels::Palette8 {
        indices: vec![1, 0, 0, 0, 1, 1],
        palette: vec![[1, 2, 3, 255], [200, 100, 0, 255]],
    };
    assert_eq!((picture.width(), picture.height()), (3, 2));
    assert_eq!(picture.pixels(), &expected);
    let picture = read(&palette_bmp(3, &rows, &[[0; 3], [255; 3]], 0)).unwrap();
    assert_eq!(
        picture.pixels(),
        &Pixels::Bilevel(vec![255, 0, 0, 0, 255, 255])
    );
}

#[test]
fn run_length_coded_bmp_is_refused_by_name() {
    let error = read(&palette_bmp(4, &[4, 9, 0, 1], &[[1, 2, 3]], 1)).unwrap_err();
    assert!(error.to_string().contains("run-length coding"), "{error}");
}

#[test]
fn tiff_palettes_are_kept() {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder
        .new_image::<tiff::encoder::colortype::Gray8>(3, 1)
        .unwrap();
    // Palette colours, and 256 reds, greens and blues of 16 bits.
    let colours: Vec<u16> = (0..768u16).map(|i| (i % 256 + i / 256) << 8).collect();
    image
        .encoder()
        .write_tag(tiff::tags::Tag::PhotometricInterpretation, 3u16)
        .unwrap();
    image
        .encoder()
        .write_tag(tiff::tags::Tag::ColorMap, &colours[..])
        .unwrap();
    image.write_data(&[5, 0, 7]).unwrap();
    let picture = read(&bytes.into_inner()).unwrap();
    let Pixels::Palette8 { indices, palette } = picture.pixels() else {
        panic!("{picture:?}")
    };
    assert_eq!(indices, &[5, 0, 7]);
    assert_eq!(palette[7], [7, 8, 9, 255]);
}

#[test]
fn jpeg_orientation_is_read() {
    let jpeg = encoded(gradient(20, 10), ImageFormat::Jpeg);
    for (value, expected) in [(1, Orientation::Upright), (6, Orientation::Rotate90)] {
        let picture = read(&with_orientation(&jpeg, value)).unwrap();
        assert_eq!(picture.orientation(), expected);
        assert_eq!((picture.width(), picture.height()), (20, 10));
    }
}

#[test]
fn written_pictures_are_read_back() {
    let source = gradient(40, 24);
    let picture = RgbPicture::new(40, 24, source.clone().into_raw()).unwrap();
    let png = read(&encode_png(&picture).unwrap()).unwrap();
    assert_eq!(png.to_rgb(Preset::Product), picture);
    let jpeg = read(&encode_jpeg(&picture, 95).unwrap())
        .unwrap()
        .to_rgb(Preset::Product);
    let worst = jpeg
        .data()
        .iter()
        .zip(picture.data())
        .map(|(a, b)| a.abs_diff(*b))
        .max();
    assert!(worst < Some(24), "{worst:?}");
    let mask = ndarray::array![[0u8, 255, 0], [255, 0, 1]];
    let gray = read(&encode_png_gray(mask.t()).unwrap()).unwrap();
    assert_eq!(gray.pixels(), &Pixels::Gray8(vec![0, 255, 255, 0, 0, 1]));
}

#[test]
fn prepare_goes_from_bytes_to_a_tensor() {
    let bytes = encoded(gradient(31, 17), ImageFormat::Png);
    let tensor = prepare(&bytes, &InputRecipe::imagenet(28), &Limits::default()).unwrap();
    assert_eq!(tensor.dim(), (3, 28, 28));
    let blue = (90.0 / 255.0 - 0.406) / 0.225;
    assert!((tensor[[2, 13, 5]] - blue).abs() < 1e-6);
}

#[test]
fn no_bytes_and_unknown_bytes_are_told_apart() {
    assert!(matches!(read(&[]), Err(ImagingError::Empty)));
    let error = read(b"GIF89a, or so it claims").unwrap_err();
    assert!(matches!(&error, ImagingError::UnknownFormat { start } if start == b"GIF89a, "));
}

#[test]
fn a_huge_claim_is_refused_from_the_header_alone() {
    let error = read(&png_claiming(40_000, 40_000)).unwrap_err();
    assert!(
        matches!(
            error,
            ImagingError::TooLarge {
                found: 40_000,
                allowed: 16_384,
                ..
            }
        ),
        "{error}"
    );
    let error = read(&png_claiming(16_000, 16_000)).unwrap_err();
    assert!(
        matches!(
            error,
            ImagingError::TooLarge {
                found: 256_000_000,
                allowed: 100_000_000,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn limits_hold_for_every_format() {
    let limits = Limits {
        max_width: 30,
        ..Limits::default()
    };
    let few_bytes = Limits {
        max_decoder_bytes: 31 * 17,
        ..Limits::default()
    };
    let small_files = Limits {
        max_file_bytes: 100,
        ..Limits::default()
    };
    for format in FORMATS {
        let bytes = encoded(gradient(31, 17), format);
        for limits in [limits, few_bytes, small_files] {
            let error = decode(&bytes, &limits);
            assert!(
                matches!(error, Err(ImagingError::TooLarge { .. })),
                "{format:?} {limits:?}"
            );
        }
    }
}

const FORMATS: [ImageFormat; 5] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::Bmp,
    ImageFormat::Tiff,
    ImageFormat::WebP,
];

#[test]
fn a_cut_off_file_names_its_format() {
    for (format, named) in FORMATS.into_iter().zip([
        Format::Png,
        Format::Jpeg,
        Format::Bmp,
        Format::Tiff,
        Format::WebP,
    ]) {
        let bytes = encoded(gradient(64, 64), format);
        for keep in [bytes.len() / 3, bytes.len() / 2, bytes.len() * 3 / 4] {
            match read(&bytes[..keep]) {
                Err(ImagingError::Corrupt { format, .. }) => assert_eq!(format, named),
                other => panic!("{named} cut to {keep} of {}: {other:?}", bytes.len()),
            }
        }
    }
}

#[test]
fn errors_of_files_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.png");
    let error = decode_file(&missing, &Limits::default()).unwrap_err();
    assert!(matches!(error, ImagingError::Read { .. }));
    let empty = folder.path().join("empty.png");
    std::fs::write(&empty, []).unwrap();
    let error = decode_file(Path::new(&empty), &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("empty.png") && error.to_string().contains("0 bytes"));
}

/// Whatever the bytes, decoding ends with a usable picture or an error.
fn survives(bytes: &[u8]) {
    let limits = Limits {
        max_pixels: 1_000_000,
        ..Limits::default()
    };
    if let Ok(picture) = decode(bytes, &limits) {
        let tensor = InputRecipe::clip(14).tensor(&picture).unwrap();
        assert!(tensor.iter().all(|v| v.is_finite()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn damaged_files_never_panic(
        format in 0usize..5,
        gray in any::<bool>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        near_start in any::<bool>(),
        keep in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let source = DynamicImage::from(gradient(19, 23));
        let source = if gray { source.to_luma8().into() } else { source };
        let mut bytes = encoded(source, FORMATS[format]);
        for (at, value) in damage {
            let reach = if near_start { bytes.len().min(80) } else { bytes.len() };
            bytes[at.index(reach)] = value;
        }
        if let Some(keep) = keep {
            bytes.truncate(keep.index(bytes.len() + 1));
        }
        survives(&bytes);
    }

    #[test]
    fn random_bytes_behind_a_signature_never_panic(
        signature in prop::sample::select(vec![
            &b"\x89PNG\r\n\x1a\n"[..], b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"RIFF\x10\0\0\0WEBP", b"",
        ]),
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        survives(&[signature, &rest].concat());
    }
}
