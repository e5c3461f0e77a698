//! Running the program and making images.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses a part of it"
)]

pub mod service;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rareclip_imaging::{RgbPicture, encode_png};
use serde_json::Value;

/// A detector that needs no weights: pixel statistics under the reference's memory and scorer.
pub const CONFIG: &str = r#"
name = "pixels"
[backbone]
type = "pixels"
[bank]
type = "prototype"
blocks = [1, 2]
[scorer]
type = "rarity"
"#;

/// The program, with the outside components, and no settings of the caller's environment.
pub fn rareclip(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rareclip-outside"));
    command.args(args);
    for (name, _) in std::env::vars() {
        if name.starts_with("RARECLIP_") && name.contains("__") {
            command.env_remove(name);
        }
    }
    command
}

pub fn run(args: &[&str]) -> Output {
    rareclip(args).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The lines of a results file or of `--json`.
pub fn rows(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A made-up product: stripes with some noise, and on a defective one a bright spot.
pub fn product(seed: u64, defective: bool) -> RgbPicture {
    let side = 64usize;
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % 17) as i32 - 8
    };
    let mut data = Vec::with_capacity(side * side * 3);
    for row in 0..side {
        for column in 0..side {
            let stripe = if (column / 8) % 2 == 0 { 90 } else { 150 };
            let spot = defective && (28..40).contains(&row) && (20..34).contains(&column);
            for channel in 0..3 {
                let base = if spot {
                    250 - 60 * channel
                } else {
                    stripe + 10 * channel
                };
                data.push((base + noise()).clamp(0, 255) as u8);
            }
        }
    }
    RgbPicture::new(side, side, data).unwrap()
}

/// A folder of `count` images; those at `defective` have a spot.
pub fn line(folder: &Path, count: usize, defective: &[usize]) {
    line_from(folder, 1, count, defective);
}

/// [`line`] with images of their own, by the first seed.
pub fn line_from(folder: &Path, seed: u64, count: usize, defective: &[usize]) {
    std::fs::create_dir_all(folder).unwrap();
    for at in 0..count {
        let picture = product(seed + at as u64, defective.contains(&at));
        let path = folder.join(format!("img{at}.png"));
        std::fs::write(path, encode_png(&picture).unwrap()).unwrap();
    }
}

/// A scratch folder with a config and a line of images.
pub struct Bench {
    pub folder: tempfile::TempDir,
}

impl Bench {
    pub fn new(count: usize, defective: &[usize]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pixels.toml"), CONFIG).unwrap();
        line(&folder.path().join("images"), count, defective);
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// `rareclip scan` of the images with this bench's config.
    pub fn scan(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    pub fn command(&self, more: &[&str]) -> Command {
        let mut command = rareclip(&["scan", "images", "--config", "pixels.toml"]);
        command.args(more).current_dir(self.folder.path());
        command
    }

    pub fn results(&self, out: &str) -> Vec<Value> {
        rows(&std::fs::read_to_string(self.path(out).join("results.jsonl")).unwrap())
    }
}

/// Whether onnxruntime and the named weights are here, or a loud word that they are not.
pub fn weights(test: &str) -> bool {
    let here = |name| rareclip_testkit::cached(test, name).is_some();
    here("onnxruntime") && here("dinov2-small")
}
