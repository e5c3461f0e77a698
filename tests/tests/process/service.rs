//! `rareclip serve` with a detector in another process that is killed.

use std::process::Command;

use serde_json::json;

use super::common::service::{Server, disturbed, serve_at, well};
use super::common::{Bench, rareclip, rows};
use super::host;
use super::stream::{LARGEST, children_of, config, kill};

/// Where `process.toml` is, whose bank runs in another process, and what `rareclip scan` prints by
/// it.
fn bench(count: usize) -> (Bench, String) {
    let bench = Bench::new(count, &[20]);
    let config = config(&host(&json!({ "delay_ms": 40 })), "outside", LARGEST);
    std::fs::write(bench.path("process.toml"), config).unwrap();
    let mut scan = rareclip(&["scan", "images", "--config", "process.toml", "--json"]);
    let scanned = well(&scan.current_dir(bench.folder.path()).output().unwrap());
    assert_eq!(rows(&scanned).len(), count);
    (bench, scanned)
}

fn serve(bench: &Bench, listen: &str) -> Command {
    let more = ["--config", "process.toml", "--snapshot-every", "3"];
    let mut command = serve_at(bench.folder.path(), listen, &more);
    command.current_dir(bench.folder.path());
    command
}

#[test]
fn a_service_whose_hosts_are_killed_answers_as_if_they_had_not_been() {
    let (bench, expected) = bench(24);
    let server = Server::start(serve(&bench, "127.0.0.1:0"));
    let printed = disturbed(bench.folder.path(), server.url(), [5, 13], || {
        let hosts = children_of(server.pid());
        assert!(!hosts.is_empty(), "the service has started nothing");
        hosts.into_iter().for_each(kill);
    });
    assert_eq!(printed, expected);
    let log = server.kill();
    assert_eq!(log.matches("its memory is as it was").count(), 2, "{log}");
}

#[test]
fn a_service_that_is_killed_with_its_hosts_goes_on_from_what_it_wrote_down() {
    let (bench, expected) = bench(24);
    let mut server = Some(Server::start(serve(&bench, "127.0.0.1:0")));
    let running = server.as_ref().unwrap();
    let (url, address) = (running.url().to_owned(), running.address().to_owned());
    let printed = disturbed(bench.folder.path(), &url, [7, 16], || {
        server.take().unwrap().kill();
        server = Some(Server::start_again(|| serve(&bench, &address)));
    });
    assert_eq!(printed, expected);
    assert_eq!(server.unwrap().api().stream("line")["results"], 24);
}
