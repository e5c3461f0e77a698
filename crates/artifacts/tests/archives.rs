//! A data set that comes as a tar.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Reply, Request, Server, files, settings, sha256};
use rareclip_artifacts::cache::{locate_in, verify_in};
use rareclip_artifacts::catalogue::Origin;
use rareclip_artifacts::{Artefact, Choice, Error, Proof, Result, Settings, Step};
use tar::{EntryType, Header};

const TAR: &str = "VisA_20220922.tar";
const SPLIT: &[u8] = b"object,split,label,image,mask\n";

/// The catalogue's entry, taken from another server.
fn visa(base: &str) -> Artefact {
    let mut artefact = rareclip_artifacts::catalogue::find("visa").unwrap().clone();
    for source in &mut artefact.sources {
        match &mut source.origin {
            Origin::Web(web) => web.base = base.to_owned(),
            other => panic!("{other:?}"),
        }
    }
    artefact
}

/// A member whose name is written as it is: the writer's own would refuse some.
fn member(
    tar: &mut tar::Builder<Vec<u8>>,
    name: &str,
    kind: EntryType,
    link: &str,
    content: &[u8],
) {
    let mut header = Header::new_gnu();
    let fields = header.as_gnu_mut().unwrap();
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

fn tar_with(name: &str, kind: EntryType, link: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    member(
        &mut tar,
        "split_csv/1cls.csv",
        EntryType::Regular,
        "",
        SPLIT,
    );
    member(&mut tar, name, kind, link, b"");
    tar.into_inner().unwrap()
}

/// A split and an image of 200 kB.
fn whole() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    member(&mut tar, "./", EntryType::Directory, "", b"");
    member(
        &mut tar,
        "./split_csv/1cls.csv",
        EntryType::Regular,
        "",
        SPLIT,
    );
    let image = "candle/Data/Images/Normal/0000.JPG";
    member(&mut tar, image, EntryType::Regular, "", &vec![7; 200_000]);
    tar.into_inner().unwrap()
}

const UNPACKED: [&str; 3] = [
    "visa/20220922/.rareclip.json",
    "visa/20220922/candle/Data/Images/Normal/0000.JPG",
    "visa/20220922/split_csv/1cls.csv",
];

fn serving(tar: Vec<u8>) -> Server {
    Server::start(move |request| match request.path.as_str() {
        "/VisA_20220922.tar" => Reply::file(request, &tar),
        _ => Reply::status(404),
    })
}

fn pull(artefact: &Artefact, settings: &Settings) -> Result<PathBuf> {
    rareclip_artifacts::pull(artefact, &Choice::Any, settings, &mut |_| ())
}

fn from(path: &Path, cache: &Path) -> Result<PathBuf> {
    let artefact = visa("http://127.0.0.1:1");
    let choice = Choice::Path(path.to_owned());
    let settings = settings(cache, "http://127.0.0.1:1");
    rareclip_artifacts::pull(&artefact, &choice, &settings, &mut |_| ())
}

#[test]
fn a_tar_is_unpacked_as_it_is_and_not_kept() {
    let server = serving(whole());
    let cache = tempfile::tempdir().unwrap();
    let artefact = visa(&server.url);
    let mut steps = Vec::new();
    let settings = settings(cache.path(), &server.url);
    let path = rareclip_artifacts::pull(&artefact, &Choice::Any, &settings, &mut |step| {
        steps.push(step);
    })
    .unwrap();
    assert_eq!(path, cache.path().join("visa/20220922"));
    assert_eq!(files(cache.path()), UNPACKED);
    assert_eq!(
        std::fs::read(path.join("split_csv/1cls.csv")).unwrap(),
        SPLIT
    );
    assert!(steps.contains(&Step::Unpacking {
        archive: TAR.into(),
        sha256: sha256(&whole()),
        proof: Proof::None,
    }));
    verify_in(cache.path(), &artefact).unwrap();
    let asked = server.log().len();
    assert_eq!(pull(&artefact, &settings).unwrap(), path);
    assert_eq!(server.log().len(), asked);
}

#[test]
fn a_tar_that_is_pinned_must_be_as_pinned() {
    let server = serving(whole());
    let pinned = |sum: String| {
        let mut artefact = visa(&server.url);
        if let Origin::Web(web) = &mut artefact.sources[0].origin {
            web.files[0].sha256 = Some(sum);
        }
        artefact
    };
    let cache = tempfile::tempdir().unwrap();
    let settings = settings(cache.path(), &server.url);
    let error = pull(&pinned("0".repeat(64)), &settings).unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }), "{error}");
    assert_eq!(files(cache.path()), [""; 0]);
    let right = pinned(sha256(&whole()));
    let mut proofs = Vec::new();
    rareclip_artifacts::pull(&right, &Choice::Any, &settings, &mut |step| {
        if let Step::Installed { proof, .. } = step {
            proofs.push(proof);
        }
    })
    .unwrap();
    assert_eq!(proofs, [Proof::Converted; 2]);
}

#[test]
fn a_member_that_would_leave_the_folder_is_refused_by_name() {
    for (name, kind, link, what) in [
        ("../evil", EntryType::Regular, "", "a path with `..`"),
        (
            "candle/../../evil",
            EntryType::Regular,
            "",
            "a path with `..`",
        ),
        ("/tmp/evil", EntryType::Regular, "", "an absolute path"),
        ("candle/evil", EntryType::Symlink, "../../evil", "a link"),
        ("candle/evil", EntryType::Link, "/etc/passwd", "a link"),
        (
            "candle/evil",
            EntryType::Char,
            "",
            "neither a file nor a folder",
        ),
        (".rareclip.json", EntryType::Regular, "", "keeps for itself"),
    ] {
        let server = serving(tar_with(name, kind, link));
        let above = tempfile::tempdir().unwrap();
        let cache = above.path().join("cache");
        let error = pull(&visa(&server.url), &settings(&cache, &server.url)).unwrap_err();
        assert!(
            matches!(&error, Error::UnsafeMember { member, .. } if member == name),
            "{error}"
        );
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(files(above.path()), [""; 0], "{name}");
    }
}

#[test]
fn a_tar_that_ends_too_early_is_damaged_wherever_it_was_cut() {
    let whole = whole();
    let cache = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.tar");
    let content = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // At every block up to the padding of the last member, and once within a block.
    for length in (0..=content).step_by(512).chain([content - 1000]) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = from(&path, cache.path()).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{length}: {error}");
    }
    assert_eq!(files(cache.path()), [""; 0]);
}

#[test]
fn after_a_damaged_tar_the_next_pull_starts_anew() {
    let count = AtomicUsize::new(0);
    let whole_tar = whole();
    let server = Server::start(move |request| {
        let first = count.fetch_add(1, Ordering::SeqCst) < 2;
        let end = if first { 100 * 512 } else { whole_tar.len() };
        Reply::file(request, &whole_tar[..end])
    });
    let cache = tempfile::tempdir().unwrap();
    let settings = settings(cache.path(), &server.url);
    let error = pull(&visa(&server.url), &settings).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert_eq!(files(cache.path()), [""; 0]);
    pull(&visa(&server.url), &settings).unwrap();
    assert_eq!(files(cache.path()), UNPACKED);
    let ranges: Vec<_> = server.gets(TAR).iter().map(Request::from).collect();
    assert_eq!(ranges, [None, None]);
}

#[test]
fn a_second_pull_goes_on_where_the_first_was_cut() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        let reply = Reply::file(request, &whole());
        match request.method == "GET" && count.fetch_add(1, Ordering::SeqCst) == 0 {
            true => reply.cut_after(123_456),
            false => reply,
        }
    });
    let cache = tempfile::tempdir().unwrap();
    let mut settings = settings(cache.path(), &server.url);
    settings.attempts = 1;
    let error = pull(&visa(&server.url), &settings).unwrap_err();
    assert!(
        matches!(error, Error::Cut { received, .. } if received == 123_456),
        "{error}"
    );
    pull(&visa(&server.url), &settings).unwrap();
    let ranges: Vec<_> = server.gets(TAR).iter().map(Request::from).collect();
    assert_eq!(ranges, [None, Some(123_456)]);
    assert_eq!(files(cache.path()), UNPACKED);
}

#[test]
fn a_machine_that_reaches_nobody_is_told_the_way_by_hand() {
    let cache = tempfile::tempdir().unwrap();
    let mut settings = settings(cache.path(), "http://127.0.0.1:1");
    settings.attempts = 1;
    let error = pull(&visa("http://127.0.0.1:1"), &settings).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("--from VisA_20220922.tar"), "{text}");
}

#[test]
fn a_tar_or_a_folder_with_it_can_be_named_and_stays_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let tar = folder.path().join(TAR);
    std::fs::write(&tar, whole()).unwrap();
    for path in [tar.as_path(), folder.path()] {
        let cache = tempfile::tempdir().unwrap();
        from(path, cache.path()).unwrap();
        assert_eq!(files(cache.path()), UNPACKED);
        assert!(tar.is_file());
    }
}

#[test]
fn a_mirror_gives_the_unpacked_files() {
    let folder = tempfile::tempdir().unwrap();
    let tar = folder.path().join(TAR);
    std::fs::write(&tar, whole()).unwrap();
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    from(&tar, first.path()).unwrap();
    let artefact = visa("http://127.0.0.1:1");
    let mut settings = settings(second.path(), "http://127.0.0.1:1");
    settings.mirror = Some(first.path().to_string_lossy().into_owned());
    let path = pull(&artefact, &settings).unwrap();
    assert_eq!(files(second.path()), UNPACKED);
    assert_eq!(locate_in(second.path(), &artefact), Some(path));
}

#[test]
fn a_tar_is_not_taken_for_what_does_not_come_in_one() {
    let folder = tempfile::tempdir().unwrap();
    let tar = folder.path().join(TAR);
    std::fs::write(&tar, whole()).unwrap();
    let elpv = rareclip_artifacts::catalogue::find("elpv-dataset").unwrap();
    let cache = tempfile::tempdir().unwrap();
    let settings = settings(cache.path(), "http://127.0.0.1:1");
    let error = rareclip_artifacts::pull(elpv, &Choice::Path(tar), &settings, &mut |_| ());
    let error = error.unwrap_err();
    assert!(matches!(error, Error::NotThere { .. }), "{error}");
}
