//! Machines without internet: mirrors, copied folders, local files.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::{Path, PathBuf};

use common::{CONFIG, Reply, Server, artefact, files, hub, settings, sha256, unpinned, weights};
use rareclip_artifacts::cache::{locate_in, remove_in, verify_in};
use rareclip_artifacts::{Artefact, Choice, Error, Proof, Result, Settings, Step};
use safetensors::tensor::TensorView;

/// A cache with the artefact in it, as a machine with internet has it.
fn filled() -> tempfile::TempDir {
    let server = Server::start(hub);
    let cache = tempfile::tempdir().unwrap();
    let settings = settings(cache.path(), &server.url);
    rareclip_artifacts::pull(&unpinned(), &Choice::Any, &settings, &mut |_| ()).unwrap();
    cache
}

/// A machine that reaches nobody.
fn closed(cache: &Path) -> Settings {
    let mut settings = settings(cache, "http://127.0.0.1:1");
    settings.attempts = 1;
    settings
}

fn from(artefact: &Artefact, path: impl Into<PathBuf>, settings: &Settings) -> Result<PathBuf> {
    rareclip_artifacts::pull(artefact, &Choice::Path(path.into()), settings, &mut |_| ())
}

fn with_mirror(cache: &Path, mirror: &str) -> Result<PathBuf> {
    let mut settings = closed(cache);
    settings.mirror = Some(mirror.to_owned());
    rareclip_artifacts::pull(&unpinned(), &Choice::Any, &settings, &mut |_| ())
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

fn write_checkpoint(path: &Path) {
    let bytes: Vec<u8> = [1.0_f32, 2.0]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let view = TensorView::new(safetensors::Dtype::F32, vec![2], &bytes).unwrap();
    safetensors::serialize_to_file([("layer.weight", view)], None, path).unwrap();
}

#[test]
fn a_copied_folder_is_found_and_verified_where_it_lies() {
    let (original, copy) = (filled(), tempfile::tempdir().unwrap());
    for name in files(original.path()) {
        let to = copy.path().join(&name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(original.path().join(&name), to).unwrap();
    }
    let path = locate_in(copy.path(), &unpinned()).unwrap();
    assert!(path.starts_with(copy.path()));
    verify_in(copy.path(), &unpinned()).unwrap();
}

#[test]
fn a_mirror_folder_gives_the_same_files_and_asks_nobody() {
    let (mirror, cache) = (filled(), tempfile::tempdir().unwrap());
    let path = with_mirror(cache.path(), &mirror.path().to_string_lossy()).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), weights());
    assert_eq!(
        files(cache.path()),
        files(mirror.path())
            .into_iter()
            .filter(|name| !name.starts_with(".partial"))
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_mirror_behind_a_web_server_gives_the_same_files() {
    let (mirror, cache) = (filled(), tempfile::tempdir().unwrap());
    let server = web(mirror.path());
    let path = with_mirror(cache.path(), &format!("{}/", server.url)).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), weights());
    verify_in(cache.path(), &unpinned()).unwrap();
    assert_eq!(files(cache.path()), files(mirror.path()));
}

#[test]
fn a_mirror_with_wrong_bytes_installs_nothing() {
    let mirror = filled();
    let mut content = weights();
    content[7] ^= 1;
    let weights = mirror.path().join("thing/hub-main/model.safetensors");
    std::fs::write(weights, content).unwrap();
    let server = web(mirror.path());
    for place in [
        mirror.path().to_string_lossy().into_owned(),
        server.url.clone(),
    ] {
        let cache = tempfile::tempdir().unwrap();
        let error = with_mirror(cache.path(), &place).unwrap_err();
        assert!(matches!(error, Error::Checksum { .. }), "{error}");
        assert!(error.to_string().contains("model.safetensors"), "{error}");
        assert_eq!(locate_in(cache.path(), &unpinned()), None);
    }
}

#[test]
fn a_mirror_cannot_replace_what_the_catalogue_pins() {
    let (mirror, cache) = (filled(), tempfile::tempdir().unwrap());
    let sum = "0".repeat(64);
    let pinned = artefact(&format!(
        r#"[{{ path = "model.safetensors", size = 300000, sha256 = "{sum}" }}]"#
    ));
    let mut settings = closed(cache.path());
    settings.mirror = Some(mirror.path().to_string_lossy().into_owned());
    let error =
        rareclip_artifacts::pull(&pinned, &Choice::Any, &settings, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("the catalogue pins"), "{error}");
}

#[test]
fn a_mirror_without_the_artefact_says_what_it_looked_for() {
    let (empty, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = web(empty.path());
    for place in [
        empty.path().to_string_lossy().into_owned(),
        server.url.clone(),
    ] {
        let text = with_mirror(cache.path(), &place).unwrap_err().to_string();
        assert!(
            text.contains(&place) && text.contains("thing/hub-main/.rareclip.json"),
            "{text}"
        );
    }
}

#[test]
fn a_record_cannot_point_outside_its_folder() {
    let (mirror, cache) = (filled(), tempfile::tempdir().unwrap());
    let record = mirror.path().join("thing/hub-main/.rareclip.json");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replace("config.json", "../../../config.json")).unwrap();
    let error = with_mirror(cache.path(), &mirror.path().to_string_lossy()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[test]
fn a_cache_folder_or_any_part_of_it_can_be_named() {
    let other = filled();
    for part in ["", "thing", "thing/hub-main"] {
        let cache = tempfile::tempdir().unwrap();
        let path = from(&unpinned(), other.path().join(part), &closed(cache.path())).unwrap();
        assert!(
            path.ends_with("thing/hub-main/model.safetensors"),
            "{}",
            path.display()
        );
        verify_in(cache.path(), &unpinned()).unwrap();
    }
}

#[test]
fn a_clone_of_the_repository_can_be_named() {
    let (clone, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(clone.path().join("model.safetensors"), weights()).unwrap();
    std::fs::write(clone.path().join("config.json"), CONFIG).unwrap();
    let path = from(&unpinned(), clone.path(), &closed(cache.path())).unwrap();
    assert!(path.ends_with("thing/hub-main/model.safetensors"));
    let sum = sha256(b"other");
    let pinned = artefact(&format!(
        r#"[{{ path = "model.safetensors", size = 5, sha256 = "{sum}" }}]"#
    ));
    let cache = tempfile::tempdir().unwrap();
    let error = from(&pinned, clone.path(), &closed(cache.path())).unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }), "{error}");
    assert_eq!(locate_in(cache.path(), &pinned), None);
}

#[test]
fn a_folder_without_it_says_what_would_do() {
    let (empty, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let text = from(&unpinned(), empty.path(), &closed(cache.path()))
        .unwrap_err()
        .to_string();
    for part in [
        "thing/hub-main/.rareclip.json",
        "model.safetensors + config.json",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_checkpoint_of_one_s_own_takes_the_name_with_the_config_beside_it() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join("mine.safetensors");
    write_checkpoint(&file);
    std::fs::write(folder.path().join("config.json"), CONFIG).unwrap();
    let mut steps = Vec::new();
    let choice = Choice::Path(file.clone());
    let settings = closed(cache.path());
    let path = rareclip_artifacts::pull(&unpinned(), &choice, &settings, &mut |step| {
        steps.push(step)
    })
    .unwrap();
    assert!(path.ends_with("thing/local/mine.safetensors"));
    assert!(path.with_file_name("config.json").is_file());
    let sum = sha256(&std::fs::read(&file).unwrap());
    let told = Step::Installed {
        file: "mine.safetensors".into(),
        sha256: sum,
        proof: Proof::None,
    };
    assert!(steps.contains(&told), "{steps:?}");
    verify_in(cache.path(), &unpinned()).unwrap();
}

#[test]
fn a_file_that_is_no_checkpoint_is_refused() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join("mine.safetensors");
    std::fs::write(&file, b"<html>sign in</html>").unwrap();
    let error = from(&unpinned(), &file, &closed(cache.path())).unwrap_err();
    let damaged = matches!(
        error,
        Error::Checkpoint(rareclip_checkpoints::Error::Damaged { .. })
    );
    assert!(damaged, "{error}");
    assert_eq!(locate_in(cache.path(), &unpinned()), None);
}

#[test]
fn the_authors_linear_layers_become_safetensors() {
    let test = "the_authors_linear_layers_become_safetensors";
    let Some(shared) = rareclip_testkit::shared(test) else {
        return;
    };
    let folder = shared.join("fixtures/rareclip_e2e");
    let cache = tempfile::tempdir().unwrap();
    let tpb = rareclip_artifacts::catalogue::find("tpb-visa").unwrap();
    let path = from(tpb, folder.join("tpb.pth"), &closed(cache.path())).unwrap();
    assert!(path.ends_with("tpb-visa/local/tpb-visa.safetensors"));
    assert_eq!(locate_in(cache.path(), tpb), Some(path.clone()));
    let converted = rareclip_checkpoints::Checkpoint::open(&path).unwrap();
    let twin = rareclip_checkpoints::Checkpoint::open(folder.join("tpb.safetensors")).unwrap();
    for name in twin.names() {
        let nested = format!("trainable_linearlayer.{name}");
        assert_eq!(converted.f32(&nested).unwrap(), twin.f32(name).unwrap());
    }
    assert!(!path.with_file_name("tpb.pth").exists());
}

#[test]
fn another_source_replaces_what_was_there_and_a_plain_pull_keeps_it() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), filled());
    let file = folder.path().join("mine.safetensors");
    write_checkpoint(&file);
    let settings = closed(cache.path());
    let mine = from(&unpinned(), &file, &settings).unwrap();
    assert!(!cache.path().join("thing/hub-main").exists());
    let kept = rareclip_artifacts::pull(&unpinned(), &Choice::Any, &settings, &mut |_| ()).unwrap();
    assert_eq!(kept, mine);
    let server = Server::start(hub);
    let hub = Choice::Source("hub".into());
    let settings = common::settings(cache.path(), &server.url);
    let path = rareclip_artifacts::pull(&unpinned(), &hub, &settings, &mut |_| ()).unwrap();
    assert!(path.ends_with("thing/hub-main/model.safetensors") && !mine.exists());
}

#[test]
fn what_fails_leaves_what_was_there() {
    let cache = filled();
    let mut artefact = unpinned();
    let mut other = artefact.sources[0].clone();
    other.name = "other".into();
    other.version = "other-main".into();
    artefact.sources.push(other);
    let choice = Choice::Source("other".into());
    let settings = closed(cache.path());
    rareclip_artifacts::pull(&artefact, &choice, &settings, &mut |_| ()).unwrap_err();
    verify_in(cache.path(), &artefact).unwrap();
}

#[test]
fn a_folder_of_a_version_this_program_does_not_know_is_left_alone() {
    let cache = filled();
    let foreign = cache.path().join("thing/hub-next");
    std::fs::create_dir(&foreign).unwrap();
    let server = Server::start(hub);
    let settings = common::settings(cache.path(), &server.url);
    std::fs::remove_dir_all(cache.path().join("thing/hub-main")).unwrap();
    rareclip_artifacts::pull(&unpinned(), &Choice::Any, &settings, &mut |_| ()).unwrap();
    assert!(foreign.is_dir());
}

#[test]
fn removing_takes_the_files_and_what_was_left_of_downloads() {
    let server = Server::start(|request| match request.path.as_str() {
        "/cdn/model?signed=1" => hub(request).cut_after(10),
        _ => hub(request),
    });
    let cache = tempfile::tempdir().unwrap();
    let mut settings = common::settings(cache.path(), &server.url);
    settings.attempts = 1;
    rareclip_artifacts::pull(&unpinned(), &Choice::Any, &settings, &mut |_| ()).unwrap_err();
    assert_eq!(files(cache.path()).len(), 1);
    assert!(!remove_in(cache.path(), &unpinned()).unwrap());
    assert_eq!(files(cache.path()), [""; 0]);
}

#[test]
fn a_choice_is_a_source_or_a_path_and_else_an_error_with_the_sources() {
    let artefact = unpinned();
    assert_eq!(
        Choice::parse(&artefact, "hub").unwrap(),
        Choice::Source("hub".into())
    );
    let here = env!("CARGO_MANIFEST_DIR");
    assert_eq!(
        Choice::parse(&artefact, here).unwrap(),
        Choice::Path(here.into())
    );
    let text = Choice::parse(&artefact, "nowhere").unwrap_err().to_string();
    assert!(
        text.contains("`nowhere`") && text.contains("sources: hub"),
        "{text}"
    );
}

#[test]
fn a_damaged_file_is_told_from_one_that_is_not_there() {
    let cache = filled();
    let weights = cache.path().join("thing/hub-main/model.safetensors");
    let mut content = common::weights();
    content[9] ^= 1;
    std::fs::write(&weights, content).unwrap();
    let error = verify_in(cache.path(), &unpinned()).unwrap_err();
    assert!(
        matches!(&error, Error::Changed { path, .. } if *path == weights),
        "{error}"
    );
    std::fs::remove_dir_all(cache.path().join("thing")).unwrap();
    let error = verify_in(cache.path(), &unpinned()).unwrap_err();
    assert!(matches!(error, Error::NotFetched { .. }), "{error}");
}
