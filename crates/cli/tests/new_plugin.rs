//! `rareclip new-plugin`: what it writes is what stands in `examples/plugins`, where it is built
//! and tested.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SLOTS: [&str; 5] = ["backbone", "prompt", "bank", "scorer", "index"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn new_plugin(name: &str, slot: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rareclip"));
    command
        .args(["new-plugin", name, "--slot", slot])
        .args(more);
    command.output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Every file below a folder, by its path there.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), text);
            }
        }
    }
    found
}

/// A folder that is laid out as this repository is, as far as the command looks.
fn checkout() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["core", "cli", "testkit"] {
        let place = folder.path().join("crates").join(name);
        std::fs::create_dir_all(&place).unwrap();
        let manifest = root().join("crates").join(name).join("Cargo.toml");
        std::fs::copy(manifest, place.join("Cargo.toml")).unwrap();
    }
    folder
}

/// The crate of the example for a slot, as the command writes it.
fn written(checkout: &Path, slot: &str) -> BTreeMap<PathBuf, String> {
    let name = format!("acme-{slot}");
    let (root, plugins) = (checkout.to_owned(), checkout.join("examples/plugins"));
    let [root, path] = [root, plugins.clone()].map(|path| path.display().to_string());
    let output = new_plugin(&name, slot, &["--path", &path, "--rareclip", &root]);
    assert!(output.status.success(), "{}", stderr(&output));
    files(&plugins.join(format!("rareclip-plugin-{name}")))
}

#[test]
fn the_examples_are_what_the_command_writes() {
    let checkout = checkout();
    for slot in SLOTS {
        let folder = format!("examples/plugins/rareclip-plugin-acme-{slot}");
        let (found, expected) = (files(&root().join(&folder)), written(checkout.path(), slot));
        let names: Vec<_> = found.keys().collect();
        assert_eq!(names, expected.keys().collect::<Vec<_>>(), "{folder}");
        for (name, text) in expected {
            let again =
                "make it again: delete the folder, then `cargo run -p rareclip -- new-plugin";
            assert!(
                found[&name] == text,
                "{folder}/{} is not what the command writes; {again} acme-{slot} --slot {slot} --path examples/plugins --rareclip .`",
                name.display()
            );
        }
    }
}

/// Lines of own code: no imports, comments or lone brackets.
fn own_code(text: &str) -> usize {
    let mut importing = false;
    let own = |line: &&str| {
        let line = line.trim();
        importing |= line.starts_with("use ");
        let import = importing;
        importing &= !line.ends_with(';');
        let code = !import && !line.starts_with("//");
        code && line.contains(|letter: char| letter.is_alphanumeric())
    };
    text.lines().filter(own).count()
}

#[test]
fn a_worked_example_is_short() {
    let checkout = checkout();
    let most = [
        ("backbone", 60),
        ("bank", 60),
        ("index", 40),
        ("prompt", 40),
        ("scorer", 40),
    ];
    for (slot, most) in most {
        let count = own_code(&written(checkout.path(), slot)[Path::new("src/lib.rs")]);
        assert!(
            (20..=most).contains(&count),
            "{slot}: {count} lines of {most}"
        );
    }
}

#[test]
fn by_default_the_crate_depends_on_the_registry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let output = new_plugin("acme", "scorer", &["--path", path]);
    assert!(output.status.success(), "{}", stderr(&output));
    let manifest = folder.path().join("rareclip-plugin-acme/Cargo.toml");
    let manifest: toml::Table = std::fs::read_to_string(manifest).unwrap().parse().unwrap();
    let version: Vec<&str> = env!("CARGO_PKG_VERSION").splitn(3, '.').collect();
    let version = version[..2].join(".");
    let (all, dev) = (&manifest["dependencies"], &manifest["dev-dependencies"]);
    for found in [
        &all["rareclip-core"],
        &all["rareclip"],
        &dev["rareclip-testkit"],
    ] {
        assert_eq!(found["version"].as_str(), Some(version.as_str()));
        assert!(found.get("path").is_none());
    }
}

#[test]
fn what_is_there_already_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("rareclip-plugin-acme");
    std::fs::create_dir(&taken).unwrap();
    let path = folder.path().to_str().unwrap();
    let output = new_plugin("acme", "bank", &["--path", path]);
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("is there already"),
        "{}",
        stderr(&output)
    );
    assert!(files(&taken).is_empty());
}

#[test]
fn a_wrong_argument_is_told_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for (name, slot, more, told) in [
        ("acme", "scorr", vec![], "did you mean `scorer`?"),
        (
            "acme",
            "detector",
            vec![],
            "expected one of backbone, prompt, bank, scorer, index",
        ),
        ("Acme", "scorer", vec![], "expected lower-case letters"),
        ("rarity", "scorer", vec![], "from rareclip-rarity"),
        (
            "acme",
            "scorer",
            vec!["--rareclip", path],
            "no checkout of rareclip",
        ),
    ] {
        let output = new_plugin(name, slot, &[&["--path", path][..], &more].concat());
        assert!(!output.status.success(), "{name} {slot}");
        assert!(
            stderr(&output).contains(told),
            "{told}: {}",
            stderr(&output)
        );
    }
    assert!(files(folder.path()).is_empty());
}
