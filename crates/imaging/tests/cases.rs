//! Files of other programs: what cameras, label tools and archives write.
#![cfg(feature = "codecs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::path::{Path, PathBuf};

use rareclip_imaging::{
    Format, ImagingError, Limits, Orientation, Picture, Pixels, Preset, decode, decode_file,
    mask_binary, mask_marked, upright_size,
};

fn read(bytes: &[u8]) -> Result<Picture, ImagingError> {
    decode(bytes, &Limits::default())
}

fn read_file(path: &Path) -> Picture {
    decode_file(path, &Limits::default()).unwrap()
}

/// The shared cases, or `None` with a loud line where they are absent.
fn cases(test: &str) -> Option<PathBuf> {
    let folder = rareclip_testkit::shared(test)?.join("cases");
    if folder.is_dir() {
        return Some(folder);
    }
    rareclip_testkit::skipped(test, "../shared/cases");
    None
}

fn rgb(picture: &Picture) -> Vec<u8> {
    picture.to_rgb(Preset::Product).into_data()
}

/// The value of a tag.
#[derive(Clone)]
enum Tag {
    Short(Vec<u16>),
    Long(u32),
    Float(f32),
    Double(f64),
    SShort(i16),
}

/// A page: the size, tags besides those of the strip, and its data in the byte order of the file.
struct PageOf<'a> {
    size: (u32, u32),
    tags: Vec<(u16, Tag)>,
    data: &'a [u8],
}

/// A TIFF file, big-endian or not, BigTIFF or not.
fn tiff_file(big_endian: bool, big: bool, pages: &[PageOf<'_>]) -> Vec<u8> {
    let int = |value: u64, bytes: usize| -> Vec<u8> {
        match big_endian {
            true => value.to_be_bytes()[8 - bytes..].to_vec(),
            false => value.to_le_bytes()[..bytes].to_vec(),
        }
    };
    let width = if big { 8 } else { 4 };
    let mut file = if big_endian {
        b"MM".to_vec()
    } else {
        b"II".to_vec()
    };
    file.extend(int(if big { 43 } else { 42 }, 2));
    if big {
        file.extend(int(8, 2));
        file.extend(int(0, 2));
    }
    let mut link = file.len();
    file.extend(int(0, width));
    for page in pages {
        let at = file.len() as u64;
        file.extend(page.data);
        let mut tags = page.tags.clone();
        let strip = [
            (256, page.size.0),
            (257, page.size.1),
            (273, at as u32),
            (278, page.size.1),
            (279, page.data.len() as u32),
        ];
        tags.extend(strip.map(|(tag, value)| (tag, Tag::Long(value))));
        tags.sort_by_key(|(tag, _)| *tag);
        let mut entries = Vec::new();
        for (tag, value) in &tags {
            let (kind, count, bytes) = match value {
                Tag::Short(v) => (
                    3,
                    v.len(),
                    v.iter().flat_map(|&v| int(v.into(), 2)).collect(),
                ),
                Tag::Long(v) => (4, 1, int((*v).into(), 4)),
                Tag::Float(v) => (11, 1, int(v.to_bits().into(), 4)),
                Tag::Double(v) => (12, 1, int(v.to_bits(), 8)),
                Tag::SShort(v) => (8, 1, int((*v as u16).into(), 2)),
            };
            let mut field: Vec<u8> = bytes;
            if field.len() > width {
                let place = file.len() as u64;
                file.extend(&field);
                field = int(place, width);
            }
            field.resize(width, 0);
            entries.extend(
                [
                    int(*tag as u64, 2),
                    int(kind, 2),
                    int(count as u64, width),
                    field,
                ]
                .concat(),
            );
        }
        file.resize(file.len().next_multiple_of(8), 0);
        let start = int(file.len() as u64, width);
        file[link..link + width].copy_from_slice(&start);
        file.extend(int(tags.len() as u64, if big { 8 } else { 2 }));
        file.extend(entries);
        link = file.len();
        file.extend(int(0, width));
    }
    file
}

/// The tags of gray or RGB samples.
fn samples(photometric: u16, channels: u16, bits: u16, format: u16) -> Vec<(u16, Tag)> {
    let each = |value: u16| Tag::Short(vec![value; channels.into()]);
    vec![
        (258, each(bits)),
        (259, Tag::Short(vec![1])),
        (262, Tag::Short(vec![photometric])),
        (277, Tag::Short(vec![channels])),
        (339, each(format)),
    ]
}

fn gray_page(value: &[u8], kind: u32) -> PageOf<'_> {
    let mut tags = samples(1, 1, 8, 1);
    tags.push((254, Tag::Long(kind)));
    PageOf {
        size: (value.len() as u32, 1),
        tags,
        data: value,
    }
}

const KINDS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

#[test]
fn big_tiff_is_read_in_both_byte_orders() {
    for (big_endian, big) in KINDS {
        let data = [1, 2, 3, 250, 251, 252];
        let page = PageOf {
            size: (2, 1),
            tags: samples(2, 3, 8, 1),
            data: &data,
        };
        let picture = read(&tiff_file(big_endian, big, &[page])).unwrap();
        assert_eq!(picture.pixels(), &Pixels::Rgb8(data.to_vec()));
    }
}

#[test]
fn palette_entries_of_eight_bits_are_not_taken_for_sixteen() {
    for (big_endian, big) in KINDS {
        for (scale, index) in [(1, 7), (257, 7), (256, 7)] {
            // 256 reds, greens and blues.
            let colours = (0..768u16).map(|i| (i % 253) * scale).collect();
            let mut tags = samples(3, 1, 8, 1);
            tags.push((320, Tag::Short(colours)));
            let page = PageOf {
                size: (2, 1),
                tags,
                data: &[index, 0],
            };
            let picture = read(&tiff_file(big_endian, big, &[page])).unwrap();
            let Pixels::Palette8 { indices, palette } = picture.pixels() else {
                panic!("{picture:?}");
            };
            assert_eq!(indices, &[7, 0]);
            assert_eq!(palette[7], [7, 10, 13, 255], "{scale}");
        }
    }
}

#[test]
fn a_reduced_resolution_page_is_never_taken_for_the_image() {
    // 1 reduced, 4 a transparency mask, 0 an image, 2 a page of several.
    for (big_endian, big) in KINDS {
        let pages = [
            gray_page(&[9], 1),
            gray_page(&[8], 4),
            gray_page(&[1, 2, 3], 0),
            gray_page(&[7], 1),
            gray_page(&[4, 5, 6], 2),
        ];
        let picture = read(&tiff_file(big_endian, big, &pages)).unwrap();
        assert_eq!(picture.pixels(), &Pixels::Gray8(vec![1, 2, 3]));
        assert_eq!(picture.further_images(), 1);
        let error = read(&tiff_file(big_endian, big, &pages[..2])).unwrap_err();
        assert!(
            matches!(
                error,
                ImagingError::Unsupported {
                    format: Format::Tiff,
                    ..
                }
            ),
            "{error}"
        );
    }
    // The tag of older files: 2 is reduced.
    let mut old = gray_page(&[9], 0);
    old.tags.push((255, Tag::Short(vec![2])));
    let file = tiff_file(false, false, &[old, gray_page(&[5, 6], 0)]);
    let picture = read(&file).unwrap();
    assert_eq!(picture.pixels(), &Pixels::Gray8(vec![5, 6]));
    assert_eq!(picture.further_images(), 0);
}

#[test]
fn a_chain_of_pages_that_closes_upon_itself_ends() {
    let mut file = tiff_file(false, false, &[gray_page(&[1, 2], 0)]);
    let first: [u8; 4] = file[4..8].try_into().unwrap();
    let end = file.len();
    file[end - 4..].copy_from_slice(&first);
    // The decoder may refuse the circle; what counts is that it ends.
    if let Ok(picture) = read(&file) {
        assert_eq!(picture.further_images(), 0);
    }
}

#[test]
fn signed_and_float_samples_are_refused_by_their_sample_format() {
    for (bits, format, words) in [
        (8, 2, "8-bit signed integers (SampleFormat 2)"),
        (16, 2, "16-bit signed integers (SampleFormat 2)"),
        (32, 2, "32-bit signed integers (SampleFormat 2)"),
        (16, 3, "16-bit floating-point numbers (SampleFormat 3)"),
        (32, 3, "32-bit floating-point numbers (SampleFormat 3)"),
        (64, 3, "64-bit floating-point numbers (SampleFormat 3)"),
        (32, 1, "32-bit unsigned integers (SampleFormat 1)"),
        (16, 4, "16-bit undefined samples (SampleFormat 4)"),
        (
            64,
            6,
            "64-bit complex floating-point numbers (SampleFormat 6)",
        ),
    ] {
        for (photometric, channels, name) in [(1, 1, "gray of"), (2, 3, "RGB of")] {
            let data = vec![0; usize::from(channels * bits / 8)];
            let page = PageOf {
                size: (1, 1),
                tags: samples(photometric, channels, bits, format),
                data: &data,
            };
            let error = read(&tiff_file(false, false, &[page])).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(words) && text.contains(name), "{text}");
            let stated = (1..=3).contains(&format);
            assert_eq!(text.contains("SMinSampleValue"), stated, "{text}");
        }
    }
}

#[test]
fn signed_and_float_samples_are_read_with_the_range_that_the_file_states() {
    let with_range = |bits, format, low: Tag, high: Tag, data: &[u8]| {
        let mut tags = samples(1, 1, bits, format);
        tags.extend([(340, low), (341, high)]);
        let size = (data.len() as u32 * 8 / u32::from(bits), 1);
        read(&tiff_file(false, false, &[PageOf { size, tags, data }]))
    };
    let floats = [-0.5f32, 0.0, 0.25, 1.0, 7.0]
        .map(f32::to_le_bytes)
        .concat();
    let expected = Pixels::Gray16(vec![0, 0, 16_384, 65_535, 65_535]);
    let picture = with_range(32, 3, Tag::Float(0.0), Tag::Float(1.0), &floats).unwrap();
    assert_eq!(picture.pixels(), &expected);
    let picture = with_range(32, 3, Tag::Double(0.0), Tag::Double(1.0), &floats).unwrap();
    assert_eq!(picture.pixels(), &expected);
    let signed = [-1000i16, 0, 1000].map(i16::to_le_bytes).concat();
    let picture = with_range(16, 2, Tag::SShort(-1000), Tag::SShort(1000), &signed).unwrap();
    assert_eq!(picture.pixels(), &Pixels::Gray16(vec![0, 32_768, 65_535]));
    let error = with_range(16, 2, Tag::SShort(5), Tag::SShort(5), &signed).unwrap_err();
    assert!(error.to_string().contains("SMaxSampleValue 5"), "{error}");
    let error = with_range(
        32,
        3,
        Tag::Float(0.0),
        Tag::Float(1.0),
        &f32::NAN.to_le_bytes(),
    );
    assert!(error.unwrap_err().to_string().contains("not a number"));
}

#[test]
fn luminance_and_chrominance_become_the_rgb_of_libtiff() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiff");
    for name in [
        "ycc_jpeg_420",
        "ycc_jpeg_422_strips",
        "ycc_jpeg_444_tiles_big",
        "ycc_jpeg_tables",
        "ycc_raw",
    ] {
        let picture = read_file(&folder.join(format!("{name}.tif")));
        let expected = read_file(&folder.join(format!("{name}.png")));
        assert_eq!((picture.width(), picture.height()), (53, 37));
        let (found, expected) = (rgb(&picture), rgb(&expected));
        let worst = found
            .iter()
            .zip(&expected)
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        // Pillow turns samples that are not in JPEG data into RGB itself, with coarser tables.
        let allowed = u8::from(name == "ycc_raw");
        assert!(worst <= Some(allowed), "{name}: {worst:?}");
    }
}

#[test]
fn a_strip_of_jpeg_data_of_another_size_is_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiff");
    let mut file = std::fs::read(folder.join("ycc_jpeg_420.tif")).unwrap();
    let frame = file.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    file[frame + 5..frame + 7].copy_from_slice(&10u16.to_be_bytes());
    let error = read(&file).unwrap_err();
    assert!(
        matches!(
            error,
            ImagingError::Corrupt {
                format: Format::Tiff,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn the_shared_tiff_cases_are_read_or_refused_by_name() {
    let Some(cases) = cases("the_shared_tiff_cases_are_read_or_refused_by_name") else {
        return;
    };
    let images = cases.join("images");
    let palette = rgb(&read_file(&images.join("t11b_palette_8bitmap.tif")));
    assert_eq!(palette, rgb(&read_file(&images.join("ref_pal.png"))));
    let stack = read_file(&images.join("t10b_stack3.tif"));
    assert_eq!(stack.further_images(), 2);
    let whole = read_file(&images.join("t10_thumbnail_first.tif"));
    assert_eq!(
        (whole.width(), whole.height(), whole.further_images()),
        (125, 90, 0)
    );
    let big = read_file(&images.join("t09_bigtiff.tif"));
    assert_eq!(rgb(&big), rgb(&stack));
    assert_eq!(rgb(&whole), rgb(&stack));
    let ycc = rgb(&read_file(&images.join("t07_rgb_jpeg_ycc.tif")));
    let off: u64 = ycc
        .iter()
        .zip(rgb(&stack))
        .map(|(a, b)| u64::from(a.abs_diff(b)))
        .sum();
    assert!(
        off < 8 * ycc.len() as u64,
        "mean distance {}",
        off / ycc.len() as u64
    );
    for (name, words) in [
        ("t05_int16.tif", "gray of 16-bit signed integers"),
        (
            "t05c_float32_01.tif",
            "gray of 32-bit floating-point numbers",
        ),
    ] {
        let error = decode_file(&images.join(name), &Limits::default()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

fn picture_of(pixels: Pixels, orientation: u32) -> Picture {
    Picture::new(2, 1, pixels, Orientation::from_exif(orientation)).unwrap()
}

#[test]
fn any_channel_above_zero_marks_a_pixel() {
    for pixels in [
        Pixels::Rgb8(vec![1, 0, 0, 0, 0, 0]),
        Pixels::Rgb8(vec![0, 0, 1, 0, 0, 0]),
        Pixels::Rgba8(vec![0, 1, 0, 0, 0, 0, 0, 255]),
        Pixels::Rgb16(vec![0, 0, 1, 0, 0, 0]),
        Pixels::Rgba16(vec![1, 0, 0, 0, 0, 0, 0, 65_535]),
        Pixels::GrayAlpha16(vec![1, 0, 0, 65_535]),
        Pixels::GrayAlpha8(vec![1, 0, 0, 255]),
        Pixels::Gray16(vec![1, 0]),
        Pixels::Gray8(vec![1, 0]),
        Pixels::Palette8 {
            indices: vec![1, 0],
            palette: vec![[0, 0, 0, 255], [0, 0, 1, 255]],
        },
    ] {
        let picture = picture_of(pixels, 1);
        let marked = mask_marked(&picture, Preset::Product);
        assert_eq!(marked, ndarray::arr2(&[[true, false]]), "{picture:?}");
        let binary = mask_binary(&picture, 2, Preset::Reference).unwrap();
        assert_eq!(binary, ndarray::arr2(&[[1, 0], [1, 0]]), "{picture:?}");
    }
}

#[test]
fn masks_are_turned_where_images_are() {
    for exif in 1..=8 {
        let values = vec![0u8, 0, 7, 0, 0, 0];
        let picture = Picture::new(3, 2, Pixels::Gray8(values), Orientation::from_exif(exif));
        let picture = picture.unwrap();
        for preset in [Preset::Product, Preset::Reference] {
            let shown = picture.to_rgb(preset);
            let marked = mask_marked(&picture, preset);
            assert_eq!(marked.dim(), (shown.height(), shown.width()));
            let image: Vec<bool> = shown.data().chunks(3).map(|p| p[0] > 0).collect();
            assert_eq!(marked.into_iter().collect::<Vec<_>>(), image, "{exif}");
        }
    }
}

/// An EXIF block that holds an orientation.
fn exif(value: u8) -> Vec<u8> {
    let mut block = b"MM\0\x2a\0\0\0\x08\0\x01".to_vec();
    block.extend_from_slice(&[0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0, 0, 0, 0, 0]);
    block
}

fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| {
            (c >> 1) ^ (0xedb8_8320 * (c & 1))
        })
    })
}

fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&name[..], data].concat();
    let length = (data.len() as u32).to_be_bytes();
    [&length[..], &body, &crc32(&body).to_be_bytes()].concat()
}

/// A gray PNG of 3 x 2 pixels with an EXIF block before or behind its pixels.
fn png_with_exif(value: u8, behind: bool) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 3, 2);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[1, 2, 3, 4, 5, 6]).unwrap();
    writer.finish().unwrap();
    // The header ends at byte 33, the end chunk takes 12.
    let at = if behind { file.len() - 12 } else { 33 };
    [&file[..at], &chunk(b"eXIf", &exif(value)), &file[at..]].concat()
}

#[test]
fn the_orientation_of_a_png_counts_before_and_behind_the_pixels() {
    for behind in [false, true] {
        let picture = read(&png_with_exif(6, behind)).unwrap();
        assert_eq!(picture.orientation(), Orientation::Rotate90, "{behind}");
        assert_eq!(picture.upright_size(), (2, 3));
    }
}

#[test]
fn upright_sizes_come_from_the_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let size = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        upright_size(&path, &Limits::default())
    };
    assert_eq!(size(&png_with_exif(6, false)).unwrap(), (2, 3));
    assert_eq!(size(&png_with_exif(3, false)).unwrap(), (3, 2));
    for (big_endian, big) in KINDS {
        let mut page = gray_page(&[1, 2, 3], 0);
        page.tags.push((274, Tag::Short(vec![8])));
        let file = tiff_file(big_endian, big, &[gray_page(&[1], 1), page]);
        assert_eq!(size(&file).unwrap(), (1, 3));
        assert_eq!(read(&file).unwrap().upright_size(), (1, 3));
    }
    assert!(matches!(size(b""), Err(ImagingError::InFile { .. })));
    assert!(
        size(b"GIF89a, or so it claims")
            .unwrap_err()
            .to_string()
            .contains("unknown image format")
    );
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(
        upright_size(&path, &Limits::default()),
        Err(ImagingError::Read { .. })
    ));
}

#[test]
fn frames_of_an_animated_png_are_counted() {
    for (separate, further) in [(false, 2), (true, 3)] {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 1, 1);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_animated(3, 0).unwrap();
        encoder.set_sep_def_img(separate).unwrap();
        let mut writer = encoder.write_header().unwrap();
        for value in 0..(3 + u8::from(separate)) {
            writer.write_image_data(&[value + 10]).unwrap();
        }
        writer.finish().unwrap();
        let picture = read(&file).unwrap();
        assert_eq!(picture.pixels(), &Pixels::Gray8(vec![10]));
        assert_eq!(picture.further_images(), further);
    }
}

#[test]
fn frames_of_an_animated_webp_are_counted() {
    let still = {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let picture = image::RgbImage::from_pixel(2, 2, image::Rgb([9, 9, 9]));
        image::DynamicImage::from(picture)
            .write_to(&mut bytes, image::ImageFormat::WebP)
            .unwrap();
        bytes.into_inner()
    };
    assert_eq!(read(&still).unwrap().further_images(), 0);
    let part = |name: &[u8; 4], data: &[u8]| {
        let mut part = [&name[..], &(data.len() as u32).to_le_bytes(), data].concat();
        part.resize(part.len().next_multiple_of(2), 0);
        part
    };
    // Canvas of 2 x 2 with animation; each frame covers it for 100 ms.
    let mut body = b"WEBP".to_vec();
    body.extend(part(b"VP8X", &[2, 0, 0, 0, 1, 0, 0, 1, 0, 0]));
    body.extend(part(b"ANIM", &[0; 6]));
    let header = [0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 100, 0, 0, 0];
    let frame = [&header[..], &still[12..]].concat();
    for _ in 0..4 {
        body.extend(part(b"ANMF", &frame));
    }
    let file = [&b"RIFF"[..], &(body.len() as u32).to_le_bytes(), &body].concat();
    assert_eq!(read(&file).unwrap().further_images(), 3);
}
