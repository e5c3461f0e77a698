//! Files and names of other programs, through the program itself.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::PathBuf;

use common::{Bench, code, rareclip, stderr, stdout};
use rareclip_imaging::RgbPicture;

/// The shared cases, or `None` with a loud line where they are absent.
fn cases(test: &str) -> Option<PathBuf> {
    let folder = rareclip_testkit::shared(test)?.join("cases");
    if folder.is_dir() {
        return Some(folder);
    }
    rareclip_testkit::skipped(test, "../shared/cases");
    None
}

#[test]
fn a_name_of_many_bytes_and_a_picture_that_cannot_be_written_do_not_end_a_scan() {
    let bench = Bench::new(3, &[]);
    // 62 letters of four bytes: the picture's name would have 259 bytes.
    let long = format!("images/{}.png", "\u{1d4d0}".repeat(62));
    std::fs::rename(bench.path("images/img2.png"), bench.path(&long)).unwrap();
    // A folder stands where a picture belongs.
    std::fs::create_dir_all(bench.path("out/heatmaps/000000_img0.png")).unwrap();
    let output = bench.scan(&["--out", "out", "--maps"]);
    let said = stderr(&output);
    assert_eq!(code(&output), 0, "{said}");
    assert!(
        said.contains("Picture not written") && said.contains("img0.png"),
        "{said}"
    );
    let rows = bench.results("out");
    assert!(rows.iter().all(|row| row["score"].is_f64()), "{rows:?}");
    assert!(bench.path("out/report.html").is_file());
    assert!(bench.path("out/maps/000001_img1.npy").is_file());
    let last = std::fs::read_dir(bench.path("out/maps")).unwrap();
    assert_eq!(last.count(), 2, "img0 has none, the others have");
}

#[test]
fn a_file_of_several_pages_is_scored_with_a_warning() {
    let Some(cases) = cases("a_file_of_several_pages_is_scored_with_a_warning") else {
        return;
    };
    let bench = Bench::new(2, &[]);
    let stack = cases.join("images/t10b_stack3.tif");
    std::fs::copy(stack, bench.path("images/stack.tif")).unwrap();
    let output = bench.scan(&["--json"]);
    let said = stderr(&output);
    assert_eq!(code(&output), 0, "{said}");
    assert!(
        said.contains("further images") && said.contains("stack.tif"),
        "{said}"
    );
}

/// Two categories with images of the same names, scanned together.
fn two_categories() -> Bench {
    let bench = Bench::new(1, &[]);
    for (category, seed) in [("bottle", 10), ("cable", 20)] {
        for (class, shift) in [("train/good", 0), ("test/good", 3), ("test/cut", 6)] {
            let folder = bench.path(&format!("images/{category}/{class}"));
            common::line_from(&folder, seed + shift, 3, &[]);
        }
    }
    std::fs::remove_file(bench.path("images/img0.png")).unwrap();
    let output = bench.scan(&["--out", "out"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    bench
}

#[test]
fn results_are_evaluated_against_the_truth_of_their_own_images_only() {
    let bench = two_categories();
    let evaluate = |truth: &str| {
        let mut command = rareclip(&["evaluate", "out", "--truth", truth, "--json"]);
        let output = command.current_dir(bench.folder.path()).output().unwrap();
        (code(&output), stdout(&output), stderr(&output))
    };
    let (exit, found, said) = evaluate("mvtec:images");
    assert_eq!(exit, 0, "{said}");
    assert!(found.contains("\"images\":18"), "{found}");
    let (exit, _, said) = evaluate("mvtec:images/bottle");
    assert_ne!(exit, 0);
    assert!(said.contains("cable") && said.contains("is of"), "{said}");
    // Base names repeat over the folders.
    let labels: String = (0..3)
        .map(|at| format!("img{at}.png,{}\n", at % 2))
        .collect();
    std::fs::write(bench.path("labels.csv"), format!("image,label\n{labels}")).unwrap();
    let (exit, _, said) = evaluate("labels:labels.csv");
    assert_ne!(exit, 0);
    assert!(
        said.contains("both match the truth of \"img0.png\""),
        "{said}"
    );
    std::fs::write(
        bench.path("labels.csv"),
        format!("image,label\n{labels}img0.png,1\n"),
    )
    .unwrap();
    let (exit, _, said) = evaluate("labels:labels.csv");
    assert_ne!(exit, 0);
    assert!(
        said.contains("is labelled 0 on line 2 and 1 on line 5"),
        "{said}"
    );
}

#[test]
fn a_class_id_in_one_channel_is_a_mask() {
    let Some(cases) = cases("a_class_id_in_one_channel_is_a_mask") else {
        return;
    };
    let bench = Bench::new(2, &[]);
    let from = cases.join("masks/mask_rgb_red1");
    for folder in ["ground_truth/scratch", "test/scratch"] {
        let into = bench.path("set").join(folder);
        std::fs::create_dir_all(&into).unwrap();
        for file in std::fs::read_dir(from.join(folder)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), into.join(file.file_name())).unwrap();
        }
    }
    common::line(&bench.path("set/test/good"), 2, &[]);
    let mut command = rareclip(&["datasets", "verify", "mvtec:set"]);
    let output = command.current_dir(bench.folder.path()).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stdout(&output));
    assert!(
        stdout(&output).contains("0 problems"),
        "{}",
        stdout(&output)
    );
}

/// An EXIF block with an orientation in a JPEG file.
fn tagged(jpeg: &[u8], value: u8) -> Vec<u8> {
    let mut segment = b"\xff\xe1\0\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01".to_vec();
    segment.extend_from_slice(&[0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0, 0, 0, 0, 0]);
    [&jpeg[..2], &segment, &jpeg[2..]].concat()
}

#[test]
fn masks_with_the_orientation_of_their_images_mark_the_same_place() {
    // The same masks stored turned and with the tag, or stored upright: the pixel metrics are
    // equal.
    let metrics = |turned: bool, tag: u16| {
        let bench = Bench::new(1, &[]);
        let spot = |x: usize, y: usize| x < 20 && y < 12;
        for (class, spots) in [("good", false), ("cut", true)] {
            let folder = bench.path("images/test").join(class);
            std::fs::create_dir_all(&folder).unwrap();
            for seed in 0..4 {
                let mut data = common::product(seed, false).into_data();
                for at in (0..64 * 64).filter(|at| spots && spot(at % 64, at / 64)) {
                    data[3 * at..3 * at + 3].fill(255);
                }
                let picture = RgbPicture::new(64, 64, data).unwrap();
                let jpeg = rareclip_imaging::encode_jpeg(&picture, 95).unwrap();
                std::fs::write(folder.join(format!("{seed}.jpg")), tagged(&jpeg, 3)).unwrap();
            }
        }
        let folder = bench.path("images/ground_truth/cut");
        std::fs::create_dir_all(&folder).unwrap();
        for seed in 0..4 {
            let data = (0..64 * 64).flat_map(|at| {
                let (x, y) = (at % 64, at / 64);
                let marked = match turned {
                    true => spot(x, y),
                    false => spot(63 - x, 63 - y),
                };
                [255 * u8::from(marked); 3]
            });
            let mask = RgbPicture::new(64, 64, data.collect()).unwrap();
            // JPEG would leave traces above 0 around the edges.
            let file = tiff(&mask, tag);
            std::fs::write(folder.join(format!("{seed}_mask.tif")), file).unwrap();
        }
        std::fs::remove_file(bench.path("images/img0.png")).unwrap();
        let output = bench.scan(&["--out", "out", "--maps"]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let mut command = rareclip(&["evaluate", "out", "--truth", "mvtec:images", "--json"]);
        let output = command.current_dir(bench.folder.path()).output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let found: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        found["pixel"].clone()
    };
    let (tagged, upright) = (metrics(true, 3), metrics(false, 1));
    assert_eq!(tagged, upright);
    // Without the tag the same masks mark the opposite corner, which holds no defect.
    let elsewhere = metrics(true, 1);
    let auroc = |metrics: &serde_json::Value| metrics["auroc"].as_f64().unwrap();
    assert!(
        auroc(&tagged) > auroc(&elsewhere) + 0.1,
        "{tagged} {elsewhere}"
    );
}

/// A little-endian TIFF file of RGB with an orientation.
fn tiff(picture: &RgbPicture, orientation: u16) -> Vec<u8> {
    let size = [picture.width() as u32, picture.height() as u32];
    let data = picture.data();
    let mut file = b"II\x2a\0".to_vec();
    file.extend((8 + data.len() as u32).to_le_bytes());
    file.extend(data);
    let entries = [
        (256u16, 4u16, 1u32, size[0]),
        (257, 4, 1, size[1]),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (274, 3, 1, orientation.into()),
        (277, 3, 1, 3),
        (278, 4, 1, size[1]),
        (279, 4, 1, data.len() as u32),
    ];
    file.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        file.extend(tag.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend(count.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend([0; 4]);
    file
}
