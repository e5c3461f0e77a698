//! The clients in `examples/clients` against the program itself.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rareclip_imaging::{RgbPicture, encode_png};
use rareclip_testkit::skipped;
use serde_json::Value;

const IMAGES: usize = 24;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/clients")
}

/// Whether the programs are there; says so where one is not.
fn there(test: &str, programs: &[&str]) -> bool {
    for program in programs {
        let found = Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !found.is_ok_and(|status| status.success()) {
            skipped(test, program);
            return false;
        }
    }
    true
}

/// A folder of pictures, each with a pattern of its own.
fn pictures() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..IMAGES {
        let side = 48;
        let mut data = Vec::with_capacity(3 * side * side);
        for at in 0..side * side {
            let value = u8::try_from(90 + (at * (number + 3) + at / side * 7) % 60).unwrap();
            data.extend([value, value / 2, 255 - value]);
        }
        let png = encode_png(&RgbPicture::new(side, side, data).unwrap()).unwrap();
        let name = format!("part {number:02} ü.png");
        std::fs::write(folder.path().join(name), png).unwrap();
    }
    folder
}

/// A running `rareclip serve`; killed when dropped.
struct Service {
    process: Child,
    url: String,
    data: tempfile::TempDir,
}

fn program(arguments: &[&str], data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rareclip"));
    command.args(arguments).arg("--data").arg(data);
    command
}

impl Service {
    fn start(data: tempfile::TempDir) -> Self {
        let mut process = program(&["serve", "--listen", "127.0.0.1:0"], data.path())
            .arg("--config")
            .arg(examples().join("rarity-thumbnail.toml"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let said = line.split_whitespace().find(|word| word.contains("://"));
        let url = said.unwrap_or_else(|| panic!("no address in `{line}`"));
        let url = url.trim_end_matches([',', ';']).to_owned();
        Self { process, url, data }
    }

    fn get(&self, path: &str) -> Value {
        let mut answer = ureq::get(format!("{}{path}", self.url)).call().unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command that reaches loopback whatever proxy this machine is set up for, and has no key from
/// outside.
fn direct(name: &str) -> Command {
    let mut command = Command::new(name);
    command
        .env("NO_PROXY", "*")
        .env("no_proxy", "*")
        .env("PYTHONIOENCODING", "utf-8")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("RARECLIP_API_KEY");
    command
}

fn post(url: &str, folder: &Path, run: &str) -> Command {
    let mut command = direct("python3");
    command
        .arg(examples().join("python/rareclip_client.py"))
        .arg(folder)
        .args(["--stream", "line-1", "--server", url, "--run", run]);
    command
}

/// A script that has the module `rareclip_client` and the address as `sys.argv[1]`.
fn script(url: &str, text: &str) -> Output {
    let mut command = direct("python3");
    command
        .env("PYTHONPATH", examples().join("python"))
        .args(["-c", text, url]);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn succeeded(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}: {}\n{}",
        output.status,
        text(&output.stderr),
        text(&output.stdout)
    );
    text(&output.stdout)
}

#[test]
fn the_python_client_posts_a_folder_and_counts_no_image_twice() {
    if !there(
        "the_python_client_posts_a_folder_and_counts_no_image_twice",
        &["python3"],
    ) {
        return;
    }
    let (service, folder) = (Service::start(tempfile::tempdir().unwrap()), pictures());
    let first = succeeded(&post(&service.url, folder.path(), "a").output().unwrap());
    let rows: Vec<Vec<&str>> = first.lines().map(|l| l.split('\t').collect()).collect();
    assert_eq!(rows.len(), IMAGES);
    assert_eq!(rows[7][0], "part 07 ü.png");
    assert!(rows[7][1].parse::<f32>().unwrap().is_finite());
    assert_eq!(rows[7][2], "uncalibrated");
    assert_ne!(rows[IMAGES - 1][2], "uncalibrated");

    let again = succeeded(&post(&service.url, folder.path(), "a").output().unwrap());
    assert_eq!(again, first);
    let stream = service.get("/v1/streams/line-1");
    assert_eq!(stream["images"], IMAGES);
    assert_eq!(stream["results"], IMAGES);
    assert_eq!(stream["last"]["image"], "part 23 ü.png");
}

#[test]
fn the_python_client_goes_on_after_what_it_cannot_post_and_says_so() {
    if !there(
        "the_python_client_goes_on_after_what_it_cannot_post_and_says_so",
        &["python3"],
    ) {
        return;
    }
    let (service, folder) = (Service::start(tempfile::tempdir().unwrap()), pictures());
    std::fs::write(folder.path().join("a broken.png"), b"not an image").unwrap();
    let output = post(&service.url, folder.path(), "a").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let rows = text(&output.stdout);
    assert!(rows.starts_with("a broken.png\terror\timage "), "{rows}");
    assert_eq!(rows.lines().count(), IMAGES + 1);
}

#[test]
fn the_python_client_does_what_its_methods_say() {
    if !there("the_python_client_does_what_its_methods_say", &["python3"]) {
        return;
    }
    let (service, folder) = (Service::start(tempfile::tempdir().unwrap()), pictures());
    succeeded(&post(&service.url, folder.path(), "a").output().unwrap());
    let said = script(
        &service.url,
        r#"
import sys
from itertools import islice
from rareclip_client import Client, Problem
client = Client(sys.argv[1])
results = client.results("line-1", after=20)
assert [r["id"] for r in results] == [21, 22, 23, 24], results
events = list(islice(client.events("line-1", after=20), 4))
assert [(e.kind, e.id) for e in events] == [("result", n) for n in (21, 22, 23, 24)], events
assert events[0].data["score"] == results[0]["score"]

score = results[0]["score"]
assert client.preview("line-1", score)["judged"] == 24
info = client.threshold("line-1", {"type": "fixed", "threshold": score})
assert info["calibration"]["policy"] == {"type": "fixed", "threshold": score}, info
assert client.feedback("line-1", 3, "defect", "scratch")["feedback"] == "defect"
assert client.feedback("line-1", 3, None)["feedback"] is None
assert client.heatmap("line-1", 24).startswith(b"\x89PNG")
assert client.create_stream("line-1")["results"] == 24

image = open(sys.argv[2], "rb").read()
peek = client.score("line-1", image, update=False)
assert not peek["recorded"] and client.stream("line-1")["results"] == 24
known = client.score("line-1", image, key="k", name="by hand")
assert known["recorded"] and known["image"] == "by hand"
assert client.score("line-1", image, key="k")["replayed"]
for call, status in [
    (lambda: client.score("line-1", b"no image"), 422),
    (lambda: client.stream("nowhere"), 404),
    (lambda: client.score("line-1", image + b" ", key="k"), 409),
]:
    try:
        call()
    except Problem as problem:
        assert problem.status == status, problem
    else:
        raise AssertionError(status)
"#
        .replace(
            "sys.argv[2]",
            &format!("{:?}", folder.path().join("part 00 ü.png")),
        )
        .as_str(),
    );
    succeeded(&said);
}

#[test]
fn events_go_on_after_the_last_result_when_the_service_was_away() {
    if !there(
        "events_go_on_after_the_last_result_when_the_service_was_away",
        &["python3"],
    ) {
        return;
    }
    // Breaks off after a result, and answers the second connection by the one after the last that
    // was received.
    let (url, server) = fake(vec![
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n\
         event: result\nid: 6\ndata: {\"n\":6}\n\n: keep-alive\n\nevent: result\nid: 7\nda",
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n\
         event: result\nid: 7\ndata: {\"n\":7}\n\nevent: deleted\ndata: {}\n\n",
    ]);
    let said = succeeded(&script(
        &url,
        "import sys\nfrom rareclip_client import Client\n\
         for event in Client(sys.argv[1]).events('s', after=5): print(event.kind, event.id)",
    ));
    assert_eq!(said, "result 6\nresult 7\ndeleted None\n");
    let asked: Vec<String> = server.join().unwrap();
    let after = |head: &String| header(head, "last-event-id");
    assert_eq!(
        asked.iter().map(after).collect::<Vec<_>>(),
        ["5", "6", "6"].map(|id| Some(id.to_owned()))
    );
}

#[test]
fn a_busy_service_is_tried_again_under_the_same_key_after_the_time_it_names() {
    if !there(
        "a_busy_service_is_tried_again_under_the_same_key_after_the_time_it_names",
        &["python3"],
    ) {
        return;
    }
    let (url, server) = fake(vec![
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\n{\"score\":1}",
    ]);
    let said = succeeded(&script(
        &url,
        "import sys, time\nfrom rareclip_client import Client\nbegun = time.monotonic()\n\
         print(Client(sys.argv[1], api_key='secret').score('s', b'image'))\nassert 1 <= time.monotonic() - begun < 30",
    ));
    assert_eq!(said, "{'score': 1}\n");
    let asked = server.join().unwrap();
    let keys: Vec<_> = asked
        .iter()
        .map(|h| header(h, "idempotency-key").unwrap())
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0] && key.len() == 36));
    assert_eq!(
        header(&asked[2], "authorization").as_deref(),
        Some("Bearer secret")
    );
}

/// Gives one answer to each connection, in order, and then the heads of the requests.
fn fake(answers: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for answer in answers {
            let (socket, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&socket);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).unwrap() > 0);
            }
            let length = header(&head, "content-length").map_or(0, |l| l.parse().unwrap());
            reader.read_exact(&mut vec![0; length]).unwrap();
            (&socket).write_all(answer.as_bytes()).unwrap();
            heads.push(head);
        }
        heads
    });
    (url, server)
}

fn header(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.to_owned())
        .next()
}

#[test]
fn where_there_are_keys_the_clients_need_one_from_the_environment() {
    if !there(
        "where_there_are_keys_the_clients_need_one_from_the_environment",
        &["python3", "bash", "curl"],
    ) {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let key = |name: &str, scope: &str| {
        let made = program(&["keys", "add", name, "--scope", scope], data.path()).output();
        succeeded(&made.unwrap()).trim().to_owned()
    };
    let (admin, score) = (key("boss", "admin"), key("camera", "score"));
    let (service, folder) = (Service::start(data), pictures());
    let refused = post(&service.url, folder.path(), "a").output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("an API key is needed"), "{said}");

    let with = |key: &str| {
        let mut command = post(&service.url, folder.path(), "a");
        command.env("RARECLIP_API_KEY", key);
        command.output().unwrap()
    };
    let said = text(&with(&score).stderr);
    assert!(said.contains("this needs a key of scope admin"), "{said}");
    succeeded(&tour(&service, folder.path(), Some(&admin)));
    succeeded(&with(&admin));
    // The stream is there now, so a key that may only score is enough.
    succeeded(&with(&score));
    assert!(service.data.path().join("keys.json").is_file());
}

fn tour(service: &Service, folder: &Path, key: Option<&str>) -> Output {
    let mut command = direct("bash");
    command
        .arg(examples().join("curl.sh"))
        .arg(folder)
        .env("SERVER", &service.url);
    if let Some(key) = key {
        command.env("RARECLIP_API_KEY", key);
    }
    command.output().unwrap()
}

#[test]
fn the_curl_tour_goes_through_every_step() {
    if !there("the_curl_tour_goes_through_every_step", &["bash", "curl"]) {
        return;
    }
    let (service, folder) = (Service::start(tempfile::tempdir().unwrap()), pictures());
    let said = succeeded(&tour(&service, folder.path(), None));
    assert!(said.ends_with("The tour is done.\n"), "{said}");
    let answer_to = |step: &str| {
        let (_, rest) = said
            .split_once(&format!("\n== {step}"))
            .unwrap_or_else(|| panic!("no step {step}\n{said}"));
        let (_, answer) = rest.split_once('\n').unwrap();
        answer.split("\n== ").next().unwrap().to_owned()
    };
    let contains = |step: &str, part: &str| {
        let answer = answer_to(step);
        assert!(answer.contains(part), "{step}: no {part} in\n{answer}");
    };
    contains("Post one image", r#""image":"first""#);
    contains("Post one image", r#""replayed":false"#);
    contains("The same key", r#""replayed":true"#);
    contains("Post two", r#""results":[{"id":2,"#);
    contains("Post one as base64", r#""id":4,"#);
    contains("Look only", r#""recorded":false"#);
    contains("The map as", r#""verdict":"#);
    contains("The map of result 24", "map.npy: 16512 bytes");
    contains("The history", r#"{"results":[{"id":23,"#);
    contains("What the threshold", r#""judged":24"#);
    contains("Set it", r#""type":"fixed""#);
    contains("Say what", r#""note":"a shadow""#);
    contains("Calibrate", r#""type":"false-alarm-rate""#);
    contains("Keep a snapshot", r#""note":"after the tour""#);
    contains("Keep a snapshot", r#""frozen":false"#);
    contains("Export", r#""images":24"#);
    contains("Events", "event: result\ndata: {\"stream\":\"tour\",");
    contains("Events", "id: 24\n");
    contains("Metrics", "rareclip_images_total");
    contains("The Open Inference Protocol", r#""name":"score""#);
    assert_eq!(service.get("/v1/streams")["streams"], Value::Array(vec![]));
}
