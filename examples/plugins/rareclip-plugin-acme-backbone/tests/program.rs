//! The program with the backbone `acme-backbone` linked in.
#![allow(missing_docs)]

use std::path::Path;
use std::process::Command;

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/acme-backbone.toml");

/// Standard output of the program, which must end well.
fn rareclip(args: &[&str]) -> String {
    let program = env!("CARGO_BIN_EXE_rareclip-acme-backbone");
    let output = Command::new(program).args(args).output();
    let output = output.expect("the program starts");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A gray picture of 64 x 64 pixels with some noise and, where asked for, a bright spot, as a BMP
/// file.
fn write_picture(path: &Path, seed: u32, spot: bool) {
    let mut bytes = b"BM".to_vec();
    let [side, pixels] = [64u32, 64 * 64 * 3];
    for word in [54 + pixels, 0, 54, 40, side, side, 1 | 24 << 16] {
        bytes.extend(word.to_le_bytes());
    }
    for word in [0, pixels, 2835, 2835, 0, 0] {
        bytes.extend(u32::to_le_bytes(word));
    }
    let mut noise = seed;
    for at in 0..side * side {
        let (row, column) = (at / side, at % side);
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let spotted = spot && (20..34).contains(&row) && (20..34).contains(&column);
        let level = if spotted { 230 } else { noise >> 28 };
        bytes.extend([level as u8; 3]);
    }
    std::fs::write(path, bytes).expect("the picture is written");
}

#[test]
fn it_lists_the_component() {
    let list = rareclip(&["components", "list"]);
    assert!(list.contains("acme-backbone"), "{list}");
    let options = rareclip(&["components", "show", "backbone/acme-backbone"]);
    let package = "rareclip-plugin-acme-backbone";
    assert!(options.contains(package), "{options}");
}

#[test]
fn the_example_config_is_valid() {
    rareclip(&["config", "check", CONFIG]);
}

#[test]
fn the_example_config_scores_an_image_with_a_spot_highest() {
    let folder = tempfile::tempdir().expect("a folder");
    for image in 0..8 {
        let path = folder.path().join(format!("{image}.bmp"));
        write_picture(&path, image, image == 6);
    }
    let images = folder.path().to_string_lossy();
    let lines = rareclip(&["scan", &images, "--config", CONFIG, "--json"]);
    let score = |line: &str| -> f64 {
        let (_, rest) = line.split_once("\"score\":").expect("a score");
        let end = rest.find([',', '}']).expect("an end");
        rest[..end].parse().expect("a number")
    };
    let scores: Vec<f64> = lines.lines().map(score).collect();
    assert_eq!(scores.len(), 8, "{lines}");
    // The first image has nothing to be compared with.
    let highest = (1..8).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    assert_eq!(highest, Some(6), "{scores:?}");
}
