//! Downloads from a server that speaks the hub's protocol, cuts connections and sends wrong bytes.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{
    COMMIT, CONFIG, Reply, Request, Server, artefact, files, hub, proxy, redirect, settings,
    sha256, unpinned, weights,
};
use rareclip_artifacts::cache::{locate_in, verify_in};
use rareclip_artifacts::{Artefact, Choice, Error, Proof, Proxy, Result, Settings, Step};

fn pull(artefact: &Artefact, settings: &Settings) -> Result<PathBuf> {
    rareclip_artifacts::pull(artefact, &Choice::Any, settings, &mut |_| ())
}

fn steps(artefact: &Artefact, settings: &Settings) -> Vec<Step> {
    let mut steps = Vec::new();
    rareclip_artifacts::pull(artefact, &Choice::Any, settings, &mut |step| {
        steps.push(step);
    })
    .unwrap();
    steps
}

/// A hub whose large file is sent by `cdn`, which gets the number of the request as well.
fn hub_with(cdn: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |request| match request.path.as_str() {
        "/cdn/model?signed=1" => cdn(request, count.fetch_add(1, Ordering::SeqCst)),
        _ => hub(request),
    })
}

/// What is installed for the artefact, by name.
fn installed(cache: &std::path::Path) -> Vec<String> {
    files(cache)
        .into_iter()
        .filter(|name| !name.starts_with(".partial/"))
        .collect()
}

#[test]
fn a_pull_brings_the_files_their_record_and_the_commit() {
    let server = Server::start(hub);
    let cache = tempfile::tempdir().unwrap();
    let settings = settings(cache.path(), &server.url);
    let path = pull(&unpinned(), &settings).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), weights());
    assert_eq!(
        files(cache.path()),
        [
            "thing/hub-main/.rareclip.json",
            "thing/hub-main/config.json",
            "thing/hub-main/model.safetensors"
        ]
    );
    let record = std::fs::read_to_string(path.with_file_name(".rareclip.json")).unwrap();
    assert!(record.contains(COMMIT) && record.contains(&sha256(&weights())));
    verify_in(cache.path(), &unpinned()).unwrap();
}

#[test]
fn a_second_pull_asks_nobody() {
    let server = Server::start(hub);
    let cache = tempfile::tempdir().unwrap();
    let settings = settings(cache.path(), &server.url);
    pull(&unpinned(), &settings).unwrap();
    let asked = server.log().len();
    assert_eq!(steps(&unpinned(), &settings), [Step::Present]);
    assert_eq!(server.log().len(), asked);
}

#[test]
fn progress_counts_to_the_size_of_the_file() {
    let server = Server::start(hub);
    let cache = tempfile::tempdir().unwrap();
    let steps = steps(&unpinned(), &settings(cache.path(), &server.url));
    let counts: Vec<(u64, Option<u64>)> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Receiving {
                file,
                received,
                total,
            } if file == "maker/model/model.safetensors" => Some((*received, *total)),
            _ => None,
        })
        .collect();
    assert_eq!(counts.first(), Some(&(0, Some(300_000))));
    assert_eq!(counts.last(), Some(&(300_000, Some(300_000))));
    assert!(counts.is_sorted());
}

#[test]
fn it_says_what_each_checksum_was_compared_with() {
    let server = Server::start(hub);
    let proofs = |artefact: &Artefact| {
        let cache = tempfile::tempdir().unwrap();
        let mut proofs = Vec::new();
        for step in steps(artefact, &settings(cache.path(), &server.url)) {
            if let Step::Installed { file, proof, .. } = step {
                proofs.push((file, proof));
            }
        }
        proofs
    };
    let expected = |weights| {
        [
            ("model.safetensors".to_owned(), weights),
            ("config.json".to_owned(), Proof::None),
        ]
    };
    assert_eq!(proofs(&unpinned()), expected(Proof::Hub));
    let sum = sha256(&weights());
    let pinned = artefact(&format!(
        r#"[{{ path = "model.safetensors", size = 300000, sha256 = "{sum}" }}, {{ path = "config.json" }}]"#
    ));
    assert_eq!(proofs(&pinned), expected(Proof::Catalogue));
}

#[test]
fn a_connection_cut_half_way_is_taken_up_where_it_broke_off() {
    let server = hub_with(|request, count| {
        let reply = Reply::file(request, &weights());
        if count == 0 {
            reply.cut_after(123_456)
        } else {
            reply
        }
    });
    let cache = tempfile::tempdir().unwrap();
    let path = pull(&unpinned(), &settings(cache.path(), &server.url)).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), weights());
    let ranges: Vec<_> = server.gets("signed=1").iter().map(Request::from).collect();
    assert_eq!(ranges, [None, Some(123_456)]);
}

#[test]
fn a_download_that_was_given_up_is_resumed_by_the_next_pull() {
    let server = hub_with(|request, count| {
        let reply = Reply::file(request, &weights());
        if count < 2 {
            reply.cut_after(50_000)
        } else {
            reply
        }
    });
    let cache = tempfile::tempdir().unwrap();
    let mut settings = settings(cache.path(), &server.url);
    settings.attempts = 2;
    let error = pull(&unpinned(), &settings).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Cut {
                received: 100_000,
                attempts: 2,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("again"), "{error}");
    assert_eq!(installed(cache.path()), [""; 0]);
    let path = pull(&unpinned(), &settings).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), weights());
    assert_eq!(server.gets("signed=1")[2].from(), Some(100_000));
}

#[test]
fn a_bad_line_that_brings_a_megabyte_each_time_is_not_given_up() {
    let content = weights().repeat(20);
    let sent = content.clone();
    let server = Server::start(move |request| match request.path.as_str() {
        "/maker/model/resolve/main/model.safetensors" => redirect(&sent),
        "/cdn/model?signed=1" => Reply::file(request, &sent).cut_after(1_200_000),
        _ => hub(request),
    });
    let cache = tempfile::tempdir().unwrap();
    let mut settings = settings(cache.path(), &server.url);
    settings.attempts = 2;
    let path = pull(&unpinned(), &settings).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), content);
    assert_eq!(server.gets("signed=1").len(), 5);
}

#[test]
fn a_whole_file_that_was_not_yet_installed_is_not_asked_for_again() {
    let server = Server::start(|request| match request.path.as_str() {
        path if path.ends_with("config.json") => Reply::status(404),
        _ => hub(request),
    });
    let cache = tempfile::tempdir().unwrap();
    pull(&unpinned(), &settings(cache.path(), &server.url)).unwrap_err();
    pull(&unpinned(), &settings(cache.path(), &server.url)).unwrap_err();
    assert_eq!(server.gets("signed=1").len(), 1);
}

#[test]
fn a_server_that_knows_no_ranges_sends_the_file_anew() {
    let server = hub_with(|_, count| {
        let mut reply = Reply::status(200);
        reply.body = weights();
        if count == 0 {
            reply.cut_after(1000)
        } else {
            reply
        }
    });
    let cache = tempfile::tempdir().unwrap();
    let path = pull(&unpinned(), &settings(cache.path(), &server.url)).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), weights());
}

#[test]
fn wrong_bytes_install_nothing_and_are_not_kept() {
    let server = hub_with(|request, _| {
        let mut content = weights();
        content[200_000] ^= 1;
        Reply::file(request, &content)
    });
    let cache = tempfile::tempdir().unwrap();
    let error = pull(&unpinned(), &settings(cache.path(), &server.url)).unwrap_err();
    let Error::Checksum { file, expected, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (file.as_str(), expected),
        ("maker/model/model.safetensors", &sha256(&weights()))
    );
    assert!(
        error.to_string().contains("nothing was installed"),
        "{error}"
    );
    assert_eq!(files(cache.path()), [""; 0]);
    assert_eq!(locate_in(cache.path(), &unpinned()), None);
}

#[test]
fn a_file_that_the_hub_replaced_is_refused_before_it_is_downloaded() {
    let server = Server::start(hub);
    let cache = tempfile::tempdir().unwrap();
    let settings = settings(cache.path(), &server.url);
    let sum = "f".repeat(64);
    let pinned = artefact(&format!(
        r#"[{{ path = "model.safetensors", sha256 = "{sum}" }}]"#
    ));
    let error = pull(&pinned, &settings).unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }), "{error}");
    let pinned = artefact(r#"[{ path = "model.safetensors", size = 7 }]"#);
    let error = pull(&pinned, &settings).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Size {
                expected: 7,
                found: 300_000,
                ..
            }
        ),
        "{error}"
    );
    assert!(server.gets("signed=1").is_empty());
}

#[test]
fn a_body_longer_than_the_file_is_refused() {
    let server = hub_with(|request, _| {
        let content = [weights(), weights()].concat();
        Reply::file(request, &content)
    });
    let cache = tempfile::tempdir().unwrap();
    let error = pull(&unpinned(), &settings(cache.path(), &server.url)).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Size {
                expected: 300_000,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(files(cache.path()), [""; 0]);
}

#[test]
fn a_part_is_not_joined_to_another_version_of_the_file() {
    let cache = tempfile::tempdir().unwrap();
    let newer = std::sync::Arc::new(AtomicUsize::new(0));
    let switch = std::sync::Arc::clone(&newer);
    let server = Server::start(move |request| {
        let is_newer = switch.load(Ordering::SeqCst) == 1;
        let mut content = weights();
        content[5] ^= u8::from(is_newer);
        match request.path.as_str() {
            "/maker/model/resolve/main/model.safetensors" => redirect(&content),
            "/cdn/model?signed=1" if is_newer => Reply::file(request, &content),
            "/cdn/model?signed=1" => Reply::file(request, &content).cut_after(10),
            _ => hub(request),
        }
    });
    let mut settings = settings(cache.path(), &server.url);
    settings.attempts = 1;
    pull(&unpinned(), &settings).unwrap_err();
    newer.store(1, Ordering::SeqCst);
    let path = pull(&unpinned(), &settings).unwrap();
    assert_eq!(std::fs::read(path).unwrap()[5], weights()[5] ^ 1);
}

#[test]
fn a_missing_file_is_named_with_its_address() {
    let server = Server::start(|_| Reply::status(404));
    let cache = tempfile::tempdir().unwrap();
    let error = pull(&unpinned(), &settings(cache.path(), &server.url)).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("/maker/model/resolve/main/model.safetensors"),
        "{text}"
    );
    assert_eq!(server.log().len(), 1);
}

#[test]
fn a_gated_repository_asks_for_a_token_and_a_wrong_token_is_told_apart() {
    for status in [401, 403] {
        let server = Server::start(move |_| Reply::status(status));
        let cache = tempfile::tempdir().unwrap();
        let mut settings = settings(cache.path(), &server.url);
        let text = pull(&unpinned(), &settings).unwrap_err().to_string();
        assert!(
            text.contains("set HF_TOKEN") && text.contains("accept its terms"),
            "{text}"
        );
        settings.token = Some("secret".into());
        let text = pull(&unpinned(), &settings).unwrap_err().to_string();
        assert!(
            text.contains("the account of HF_TOKEN may not read it"),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_the_server_it_redirects_to() {
    let cdn = Server::start(|request| Reply::file(request, &weights()));
    let elsewhere = format!("{}/bytes", cdn.url);
    let server = Server::start(move |request| match request.path.as_str() {
        path if path.ends_with(".safetensors") => {
            let mut reply = redirect(&weights());
            reply.headers[0].1.clone_from(&elsewhere);
            reply
        }
        _ => hub(request),
    });
    let cache = tempfile::tempdir().unwrap();
    let mut settings = settings(cache.path(), &server.url);
    settings.token = Some("secret".into());
    pull(&unpinned(), &settings).unwrap();
    let sent = |server: &Server| {
        let log = server.log();
        log.iter()
            .map(|request| request.header("authorization").map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert!(
        sent(&server)
            .iter()
            .all(|value| value.as_deref() == Some("Bearer secret"))
    );
    assert_eq!(sent(&cdn), [None]);
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let trouble = AtomicUsize::new(0);
    let server = Server::start(
        move |request| match trouble.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::status(503),
            1 => Reply::status(429),
            _ => hub(request),
        },
    );
    let cache = tempfile::tempdir().unwrap();
    let steps = steps(&unpinned(), &settings(cache.path(), &server.url));
    let waits = steps
        .iter()
        .filter(|step| matches!(step, Step::Waiting { .. }))
        .count();
    assert_eq!(waits, 2);
}

#[test]
fn a_server_that_stays_in_trouble_is_given_up() {
    let server = Server::start(|_| Reply::status(503));
    let cache = tempfile::tempdir().unwrap();
    let error = pull(&unpinned(), &settings(cache.path(), &server.url)).unwrap_err();
    assert!(
        matches!(error, Error::Status { status: 503, .. }),
        "{error}"
    );
    assert_eq!(server.log().len(), 5);
}

#[test]
fn a_server_that_falls_silent_is_not_waited_for_without_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let cache = tempfile::tempdir().unwrap();
    let mut settings = settings(cache.path(), &url);
    settings.patience = std::time::Duration::from_millis(50);
    let error = pull(&unpinned(), &settings).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[test]
fn offline_asks_nobody_and_says_why() {
    let server = Server::start(hub);
    let cache = tempfile::tempdir().unwrap();
    let mut settings = settings(cache.path(), &server.url);
    settings.offline = true;
    let text = pull(&unpinned(), &settings).unwrap_err().to_string();
    for part in ["HF_HUB_OFFLINE", "maker/model", "RARECLIP_MIRROR", "copy"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(server.log().is_empty());
}

#[test]
fn an_unreachable_hub_names_every_way_out() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let cache = tempfile::tempdir().unwrap();
    let hub = format!("http://{free}");
    let error = pull(&unpinned(), &settings(cache.path(), &hub)).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let text = error.to_string();
    let cache = cache.path().to_string_lossy().into_owned();
    for part in [
        &hub,
        "HF_ENDPOINT",
        "HTTPS_PROXY",
        "RARECLIP_MIRROR",
        "thing",
        &cache,
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn everything_goes_through_the_proxy() {
    let server = Server::start(hub);
    let (url, targets) = proxy();
    let cache = tempfile::tempdir().unwrap();
    let mut settings = settings(cache.path(), &server.url);
    settings.proxy = Proxy::Address(url);
    let path = pull(&unpinned(), &settings).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), weights());
    let expected = server.url.trim_start_matches("http://");
    let targets = targets.lock().unwrap();
    assert!(!targets.is_empty() && targets.iter().all(|target| target == expected));
}

#[test]
fn a_source_that_cannot_be_had_gives_way_to_the_next() {
    let server = Server::start(hub);
    let cache = tempfile::tempdir().unwrap();
    let mut both = unpinned();
    let mut gone = both.sources[0].clone();
    gone.name = "gone".into();
    gone.version = "gone-main".into();
    if let rareclip_artifacts::catalogue::Origin::Hub(origin) = &mut gone.origin {
        origin.repo = "maker/gone".into();
    }
    both.sources.insert(0, gone);
    let settings = settings(cache.path(), &server.url);
    let steps = steps(&both, &settings);
    let passed = steps.iter().any(
        |step| matches!(step, Step::Passed { source, reason } if source == "gone" && reason.contains("404")),
    );
    assert!(passed, "{steps:?}");
    assert!(
        locate_in(cache.path(), &both)
            .unwrap()
            .ends_with("hub-main/model.safetensors")
    );
}

#[test]
fn a_hub_that_is_away_is_not_asked_for_every_source() {
    let cache = tempfile::tempdir().unwrap();
    let mut both = unpinned();
    let mut other = both.sources[0].clone();
    other.name = "other".into();
    both.sources.push(other);
    let mut settings = settings(cache.path(), "http://127.0.0.1:1");
    settings.attempts = 1;
    let error = pull(&both, &settings).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[test]
fn where_no_source_is_left_each_says_why_and_the_way_by_hand_is_told() {
    let server = Server::start(|_| Reply::status(404));
    let cache = tempfile::tempdir().unwrap();
    let mut artefact = unpinned();
    artefact.by_hand = Some("ask the maker".into());
    let text = pull(&artefact, &settings(cache.path(), &server.url))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("hub: ") && text.contains("by hand: ask the maker"),
        "{text}"
    );
}

#[test]
fn a_config_beside_the_weights_is_read_as_one() {
    let server = Server::start(hub);
    let cache = tempfile::tempdir().unwrap();
    let path = pull(&unpinned(), &settings(cache.path(), &server.url)).unwrap();
    let beside =
        rareclip_checkpoints::Beside::read(&path, rareclip_checkpoints::Tower::Vision).unwrap();
    assert_eq!(beside.heads, Some(4));
    assert_eq!(
        std::fs::read(path.with_file_name("config.json")).unwrap(),
        CONFIG
    );
}

#[test]
fn two_downloads_of_one_file_do_not_mix() {
    let server = hub_with(|request, _| {
        std::thread::sleep(std::time::Duration::from_millis(300));
        Reply::file(request, &weights())
    });
    let cache = tempfile::tempdir().unwrap();
    let settings = settings(cache.path(), &server.url);
    let other = std::thread::scope(|scope| {
        let first = scope.spawn(|| pull(&unpinned(), &settings));
        std::thread::sleep(std::time::Duration::from_millis(100));
        let second = pull(&unpinned(), &settings);
        first.join().unwrap().unwrap();
        second
    });
    assert!(matches!(other, Err(Error::Busy { .. })), "{other:?}");
}
