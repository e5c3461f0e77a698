//! `rareclip serve`, `client` and `keys` as their users meet them.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::service::{Api, RARITY, Server, client, disturbed, serve, serve_at, well};
use common::{Bench, code, rareclip, rows, run, stderr, stdout};

/// A bench with the detector of the service.
fn bench(count: usize) -> Bench {
    let bench = Bench::new(count, &[22]);
    std::fs::write(bench.path("rarity.toml"), RARITY).unwrap();
    bench
}

fn scan(bench: &Bench, more: &[&str]) -> String {
    let mut command = rareclip(&["scan", "images", "--json"]);
    command.args(more).current_dir(bench.folder.path());
    well(&command.output().unwrap())
}

fn scanned(bench: &Bench) -> String {
    let lines = scan(bench, &["--config", "rarity.toml"]);
    assert!(rows(&lines).iter().any(|row| row["verdict"] == "anomalous"));
    lines
}

fn ask(folder: &Path, server: &Server, stream: &str, more: &[&str]) -> Output {
    let mut command = client(folder, server.url(), stream, more);
    command.output().unwrap()
}

#[test]
fn the_client_prints_what_scan_prints() {
    let bench = bench(40);
    let folder = bench.folder.path();
    let server = Server::start(serve(folder, &[]));
    assert_eq!(
        well(&ask(folder, &server, "line", &[])),
        scanned(&bench),
        "lines of client and scan"
    );
}

#[test]
fn two_clients_on_two_streams_at_once_get_what_scan_prints() {
    let bench = bench(40);
    let folder = bench.folder.path();
    let server = Server::start(serve(folder, &[]));
    let expected = scanned(&bench);
    let outputs = at_once(folder, &server);
    for output in outputs {
        assert_eq!(well(&output), expected);
    }
}

fn at_once(folder: &Path, server: &Server) -> [Output; 2] {
    let children = ["left", "right"].map(|stream| {
        let mut command = client(folder, server.url(), stream, &[]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    });
    children.map(|child| child.wait_with_output().unwrap())
}

#[test]
fn with_a_real_backbone_the_client_prints_what_scan_prints() {
    if !common::weights("with_a_real_backbone_the_client_prints_what_scan_prints") {
        return;
    }
    let bench = Bench::new(26, &[24]);
    let folder = bench.folder.path();
    let vit = [
        "--config",
        "rarity-dinov2",
        "--set",
        "backbone.image_size=112",
    ];
    let expected = scan(&bench, &vit);
    let server = Server::start(serve(folder, &vit));
    assert_eq!(well(&ask(folder, &server, "line", &[])), expected);
    // Images of both streams go through the backbone together.
    for output in at_once(folder, &server) {
        assert_eq!(well(&output), expected);
    }
}

#[test]
fn a_run_that_is_sent_twice_counts_once() {
    let bench = bench(24);
    let folder = bench.folder.path();
    let server = Server::start(serve(folder, &[]));
    let first = well(&ask(folder, &server, "line", &["--run", "shift-1"]));
    let state = server.api().export("line");
    assert_eq!(
        well(&ask(folder, &server, "line", &["--run", "shift-1"])),
        first
    );
    let info = server.api().stream("line");
    assert_eq!(
        (&info["images"], &info["results"]),
        (&24.into(), &24.into())
    );
    assert_eq!(server.api().export("line"), state);
    // Under another name they are new images.
    well(&ask(folder, &server, "line", &["--run", "shift-2"]));
    assert_eq!(server.api().stream("line")["images"], 48);
}

#[test]
fn a_peek_leaves_no_trace() {
    let bench = bench(24);
    let folder = bench.folder.path();
    let server = Server::start(serve(folder, &[]));
    well(&ask(folder, &server, "line", &[]));
    let state = server.api().export("line");
    well(&ask(folder, &server, "line", &["--peek"]));
    assert_eq!(server.api().export("line"), state);
    assert_eq!(server.api().stream("line")["results"], 24);
}

#[test]
fn a_client_goes_on_with_a_service_that_was_killed_and_started_again() {
    let bench = bench(36);
    let folder = bench.folder.path();
    let expected = scanned(&bench);
    let mut server = Some(Server::start(serve(folder, &["--snapshot-every", "3"])));
    let running = server.as_ref().unwrap();
    let (url, address) = (running.url().to_owned(), running.address().to_owned());
    let printed = disturbed(folder, &url, [10, 23], || {
        server.take().unwrap().kill();
        let again = || serve_at(folder, &address, &["--snapshot-every", "3"]);
        server = Some(Server::start_again(again));
    });
    assert_eq!(printed, expected);
    let server = server.unwrap();
    assert_eq!(server.api().stream("line")["results"], 36);
}

#[test]
fn a_termination_signal_writes_every_stream_out_and_says_so() {
    let bench = bench(24);
    let folder = bench.folder.path();
    let server = Server::start(serve(folder, &[]));
    for stream in ["left", "right"] {
        well(&ask(folder, &server, stream, &[]));
    }
    let state = server.api().export("left");
    let (code, out, _) = server.terminate();
    assert_eq!(code, Some(0));
    assert!(out.contains("every stream is written out"), "{out}");
    let server = Server::start(serve(folder, &[]));
    let info = server.api().stream("left");
    assert_eq!(info["condition"], "stored");
    assert_eq!(info["images"], 24);
    assert_eq!(server.api().export("left"), state);
    // What was written out needs no journal.
    let (_, _, log) = server.terminate();
    assert!(!log.contains("Journal shown again"), "{log}");
}

#[test]
fn a_data_folder_belongs_to_one_service() {
    let folder = tempfile::tempdir().unwrap();
    let first = Server::start(serve(folder.path(), &[]));
    let output = serve(folder.path(), &[]).output().unwrap();
    assert_eq!(code(&output), 1);
    let text = stderr(&output);
    assert!(text.contains("another service uses it"), "{text}");
    assert_eq!(first.api().get("/livez").is(200).text(), "ok");
}

fn keys(folder: &Path, args: &[&str]) -> String {
    let data = folder.join("data").display().to_string();
    let mut all = vec!["keys"];
    all.extend(args);
    all.extend(["--data", &data]);
    well(&run(&all)).trim().to_owned()
}

#[test]
fn keys_let_in_whoever_has_one_until_they_are_revoked() {
    let bench = bench(3);
    let folder = bench.folder.path();
    let admin = keys(folder, &["add", "office", "--scope", "admin"]);
    let server = Server::start(serve(folder, &[]));
    let nobody = server.api();
    assert_eq!(nobody.get("/v1/streams").status, 401);
    assert_eq!(nobody.try_image("line", 1, "a").unwrap().status, 401);
    assert_eq!(nobody.get("/livez").status, 200);
    Api::new(server.url(), Some(&admin)).create("line");
    // A key that is added while the service runs.
    let camera = keys(folder, &["add", "camera"]);
    let shown = keys(folder, &["list"]);
    assert!(shown.contains("office") && shown.contains("camera"));
    assert!(!shown.contains(&camera), "{shown}");
    let by_key = |key: &str| -> Output {
        let mut command: Command = client(folder, server.url(), "line", &[]);
        command.env("RARECLIP_API_KEY", key).output().unwrap()
    };
    assert_eq!(rows(&well(&by_key(&camera))).len(), 3);
    let refused = ask(folder, &server, "line", &[]);
    assert_eq!(code(&refused), 1);
    assert!(stdout(&refused).is_empty(), "{}", stdout(&refused));
    // A camera does not administer.
    let delete =
        Api::new(server.url(), Some(&camera)).post_json("/v1/streams/line/reset", &"".into());
    assert_eq!(delete.status, 403, "{}", delete.text());
    keys(folder, &["revoke", "camera"]);
    assert_eq!(
        Api::new(server.url(), Some(&camera))
            .get("/v1/streams")
            .status,
        401
    );
    assert_eq!(code(&by_key(&camera)), 1);
    assert_eq!(
        Api::new(server.url(), Some(&admin)).stream("line")["results"],
        3
    );
}

#[test]
fn an_address_that_others_reach_is_not_served_open_or_plain() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |ways: &[&str]| {
        let output = serve_at(folder.path(), "0.0.0.0:0", &[]).output().unwrap();
        assert_eq!(code(&output), 1);
        assert!(stdout(&output).is_empty(), "{}", stdout(&output));
        let text = stderr(&output);
        for way in ways {
            assert!(text.contains(way), "{way}: {text}");
        }
    };
    refused(&["no API keys", "rareclip keys add", "127.0.0.1", "allow"]);
    keys(folder.path(), &["add", "office"]);
    refused(&["without TLS", "certificate", "127.0.0.1", "allow"]);
    let server = Server::start(serve_at(folder.path(), "0.0.0.0:0", &["--allow-plain"]));
    let port = server.address().rsplit(':').next().unwrap().to_owned();
    let api = Api::new(&format!("http://127.0.0.1:{port}"), None);
    assert_eq!(api.get("/v1/info").status, 401);
}

#[test]
fn a_client_without_a_service_gives_up_when_its_patience_ends() {
    let bench = bench(1);
    // A port that was free a moment ago.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    drop(socket);
    let output = client(bench.folder.path(), &url, "line", &["--patience", "0"]).output();
    let output = output.unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains(&url), "{}", stderr(&output));
}
