//! `rareclip serve` ends when it is told to, whatever hangs in it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "test code")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rareclip_imaging::{RgbPicture, encode_png};
use serde_json::Value;

/// A running `rareclip serve`; killed when dropped.
struct Service {
    process: Child,
    stdout: BufReader<ChildStdout>,
    url: String,
}

impl Service {
    fn start(data: &Path) -> Self {
        let config = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../examples/clients/rarity-thumbnail.toml");
        let mut process = Command::new(env!("CARGO_BIN_EXE_rareclip"))
            .args(["serve", "--listen", "127.0.0.1:0", "--grace", "1"])
            .arg("--data")
            .arg(data)
            .arg("--config")
            .arg(config)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let said = line.split_whitespace().find(|word| word.contains("://"));
        let url = said.unwrap_or_else(|| panic!("no address in `{line}`"));
        let url = url.trim_end_matches([',', ';']).to_owned();
        Self {
            process,
            stdout,
            url,
        }
    }

    fn get(&self, path: &str) -> Value {
        let mut answer = ureq::get(format!("{}{path}", self.url)).call().unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }

    fn send(&self) -> std::thread::JoinHandle<bool> {
        let side = 48;
        let picture = RgbPicture::new(side, side, vec![90; 3 * side * side]).unwrap();
        let png = encode_png(&picture).unwrap();
        let url = format!("{}/v1/streams/line/images", self.url);
        std::thread::spawn(move || ureq::post(url).content_type("image/png").send(png).is_ok())
    }

    /// Sends SIGTERM and gives what the program says until it ends.
    fn terminate(mut self) -> String {
        let pid = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                let mut said = String::new();
                self.stdout.read_to_string(&mut said).unwrap();
                return said;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn state_file(data: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(data.join("streams/1")).unwrap();
    files.next().unwrap().unwrap().path()
}

#[test]
fn a_computation_that_never_ends_does_not_outlive_a_sigterm() {
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(data.path());
    let new = r#"{"name":"line"}"#;
    ureq::post(format!("{}/v1/streams", service.url))
        .content_type("application/json")
        .send(new)
        .unwrap();
    assert!(service.send().join().unwrap());
    let said = service.terminate();
    assert!(said.contains("every stream is written out"), "{said}");

    // Reading this never ends.
    let state = state_file(data.path());
    std::fs::remove_file(&state).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&state)
            .status()
            .unwrap()
            .success()
    );
    let service = Service::start(data.path());
    let answer = service.send();
    while service.get("/v1/info")["waiting"] != 1 {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Decoded by now, and in the hands of its stream.
    std::thread::sleep(Duration::from_millis(500));
    let said = service.terminate();
    assert!(said.contains("not written out in time: line"), "{said}");
    assert!(!answer.join().unwrap());
}
