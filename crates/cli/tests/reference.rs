//! The reference pages in `docs` against the program itself.
// A program without backbones has nothing to say of the built-in configs.
#![cfg(feature = "ort")]
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn reference(out: &Path, check: bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rareclip"));
    command.args(["reference", "--out"]).arg(out);
    if check {
        command.arg("--check");
    }
    command.output().unwrap()
}

fn complaints(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_pages_say_what_the_program_says_of_itself() {
    let output = reference(&docs(), true);
    assert!(
        output.status.success(),
        "{}\nrun: cargo run -p rareclip -- reference --out docs",
        complaints(&output)
    );
}

#[test]
fn a_page_that_was_changed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    assert!(reference(folder.path(), false).status.success());
    assert!(reference(folder.path(), true).status.success());
    let page = folder.path().join("components/bank/prototype.md");
    let text = std::fs::read_to_string(&page).unwrap();
    std::fs::write(&page, text.replace("0.01", "0.02")).unwrap();
    let output = reference(folder.path(), true);
    assert_eq!(output.status.code(), Some(1));
    let expected = "components/bank/prototype.md: not what this program says of itself";
    assert!(complaints(&output).contains(expected));
}

#[test]
fn a_page_of_a_component_that_its_crate_no_longer_has_is_named_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    assert!(reference(folder.path(), false).status.success());
    let bank = folder.path().join("components/bank");
    std::fs::copy(bank.join("prototype.md"), bank.join("gone.md")).unwrap();
    let output = reference(folder.path(), true);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaints(&output).contains("components/bank/gone.md: there is no such component"));
    assert!(reference(folder.path(), false).status.success());
    assert!(!bank.join("gone.md").exists());
    assert!(reference(folder.path(), true).status.success());
}

#[test]
fn pages_of_a_crate_that_is_not_linked_stay_and_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    assert!(reference(folder.path(), false).status.success());
    let bank = folder.path().join("components/bank");
    let text = std::fs::read_to_string(bank.join("prototype.md")).unwrap();
    let other = text.replace("`rareclip-rarity`", "`rareclip-plugin-acme`");
    std::fs::write(bank.join("acme.md"), other).unwrap();
    assert!(reference(folder.path(), false).status.success());
    assert!(reference(folder.path(), true).status.success());
    assert!(bank.join("acme.md").exists());
    let list = std::fs::read_to_string(folder.path().join("components/index.md")).unwrap();
    assert!(list.contains("[`acme`](bank/acme.md)"), "{list}");
}

/// The names `RARECLIP_…` in the sources of a folder, tests left out.
fn variables(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !["tests", "target", "examples"].contains(&name) {
                variables(&path, found);
            }
        } else if name.ends_with(".rs") && !name.contains("test") {
            let text = std::fs::read_to_string(&path).unwrap();
            for piece in text.split("RARECLIP_").skip(1) {
                let name = |letter: &char| letter.is_ascii_uppercase() || *letter == '_';
                let rest: String = piece.chars().take_while(name).collect();
                // `RARECLIP_BANK__CAPACITY` is a key of a config.
                if !rest.is_empty() && !rest.contains("__") {
                    found.insert(format!("RARECLIP_{rest}"));
                }
            }
        }
    }
}

#[test]
fn every_variable_that_is_read_stands_on_the_page_of_configuration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = BTreeSet::new();
    for folder in ["crates", "plugins"] {
        variables(&root.join(folder), &mut found);
    }
    assert!(found.contains("RARECLIP_CACHE"), "{found:?}");
    let page = std::fs::read_to_string(docs().join("configuration.md")).unwrap();
    for name in found {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

/// The pieces of `text` between `open` and the next `close`.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    let pieces = text.split(open).skip(1);
    pieces
        .filter_map(|piece| Some(piece.split_once(close)?.0))
        .collect()
}

#[test]
fn the_rust_of_the_plugin_guide_stands_in_the_examples_it_names() {
    let page = std::fs::read_to_string(docs().join("plugins.md")).unwrap();
    let files: BTreeSet<&str> = between(&page, "](../examples/", ")")
        .into_iter()
        .filter(|file| file.ends_with(".rs"))
        .collect();
    let examples = docs().join("../examples");
    let texts: Vec<String> = files
        .iter()
        .map(|file| std::fs::read_to_string(examples.join(file)).unwrap())
        .collect();
    let blocks = between(&page, "```rust\n", "```");
    assert!(blocks.len() >= 6, "{}", blocks.len());
    for block in blocks {
        assert!(
            texts.iter().any(|text| text.contains(block)),
            "none of {files:?} has\n{block}"
        );
    }
}

#[test]
fn the_configs_of_the_plugin_guide_stand_in_the_examples_it_names() {
    let page = std::fs::read_to_string(docs().join("plugins.md")).unwrap();
    let quoted = between(&page, "](../examples/", "```\n")
        .into_iter()
        .filter_map(|piece| piece.split_once("):\n\n```toml\n"));
    let mut count = 0;
    for (file, block) in quoted {
        let text = std::fs::read_to_string(docs().join("../examples").join(file)).unwrap();
        assert!(text.contains(block), "{file} does not have\n{block}");
        count += 1;
    }
    assert_eq!(count, 2);
}
