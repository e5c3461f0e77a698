//! The service as a process of its own, and requests to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rareclip_imaging::encode_png;
use serde_json::{Map, Value};
use ureq::Agent;

use super::{product, rareclip};

/// The reference's memory and scorer on a backbone that needs no native library.
pub const RARITY: &str = r#"
name = "rarity"
[backbone]
type = "thumbnail"
image_size = 64
cell = 8
[bank]
type = "prototype"
blocks = [1]
neighbourhoods = [1, 3]
capacity = 3.0
[scorer]
type = "rarity"
"#;

/// Longest wait for anything; far beyond what a slow machine needs.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The file of an image of its own for every seed; one in ten has a defect.
pub fn image(seed: u64) -> Vec<u8> {
    encode_png(&product(seed + 1, seed % 10 == 3)).unwrap()
}

/// `rareclip serve` with [`RARITY`] on a free port, the data in `folder/data`.
pub fn serve(folder: &Path, more: &[&str]) -> Command {
    serve_at(folder, "127.0.0.1:0", more)
}

/// [`serve`] on an address.
pub fn serve_at(folder: &Path, listen: &str, more: &[&str]) -> Command {
    let config = folder.join("rarity.toml");
    if !config.exists() {
        let mut file = std::fs::File::create(&config).unwrap();
        file.write_all(RARITY.as_bytes()).unwrap();
        // Some tests take the disk away.
        file.sync_all().unwrap();
    }
    let mut command = rareclip(&["serve", "--listen", listen]);
    if !more.contains(&"--config") {
        command.arg("--config").arg(config);
    }
    command.arg("--data").arg(folder.join("data")).args(more);
    command.env("RARECLIP_LOG", "warn,rareclip_server=info");
    command
}

type Text = Arc<Mutex<String>>;

/// A running service; killed when dropped.
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    log: Text,
    readers: Vec<JoinHandle<()>>,
    url: String,
}

impl Server {
    /// Starts a service and waits until it listens.
    pub fn start(command: Command) -> Self {
        let mut server = Self::spawn(command);
        let ready = server.ready();
        assert!(ready, "the service does not start: {}", server.log());
        server
    }

    /// Starts a service on an address that it had before, which the system may not have given back
    /// yet.
    pub fn start_again(command: impl Fn() -> Command) -> Self {
        let start = Instant::now();
        loop {
            let mut server = Self::spawn(command());
            if server.ready() {
                return server;
            }
            assert!(start.elapsed() < PATIENCE, "{}", server.log());
        }
    }

    /// Starts a service, which does not listen yet.
    pub fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut err = child.stderr.take().unwrap();
        let (send, lines) = channel();
        let log = Text::default();
        let kept = Arc::clone(&log);
        let readers = vec![
            std::thread::spawn(move || {
                for line in out.lines().map_while(Result::ok) {
                    let _ = send.send(line);
                }
            }),
            std::thread::spawn(move || {
                let mut part = [0; 4096];
                while let Ok(count @ 1..) = err.read(&mut part) {
                    let text = String::from_utf8_lossy(&part[..count]).into_owned();
                    kept.lock().unwrap().push_str(&text);
                }
            }),
        ];
        Self {
            child,
            lines,
            log,
            readers,
            url: String::new(),
        }
    }

    /// Waits until it listens; `false` when it ends without.
    pub fn ready(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                break;
            };
            if let Some(rest) = line.strip_prefix("listening on ") {
                let end = rest.find([',', ';']).unwrap();
                self.url = rest[..end].to_owned();
                return true;
            }
        }
        let _ = self.child.wait();
        self.read_all();
        false
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        self.url.split("//").nth(1).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn api(&self) -> Api {
        Api::new(&self.url, None)
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    fn read_all(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
    }

    /// SIGKILL: no handler runs. Gives what it had logged.
    pub fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.read_all();
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
        log
    }

    /// SIGTERM, then waits. Gives the exit code, the rest of stdout, and the log.
    pub fn terminate(mut self) -> (Option<i32>, String, String) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.unwrap().success());
        let status = self.child.wait().unwrap();
        self.read_all();
        let rest: Vec<String> = self.lines.try_iter().collect();
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
        (status.code(), rest.join("\n"), log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the service answered.
pub struct Answered {
    pub status: u16,
    pub bytes: Vec<u8>,
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

/// Requests to a service.
pub struct Api {
    agent: Agent,
    url: String,
    key: Option<String>,
}

impl Api {
    pub fn new(url: &str, key: Option<&str>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build();
        Self {
            agent: config.into(),
            url: url.to_owned(),
            key: key.map(str::to_owned),
        }
    }

    fn authorization(&self) -> String {
        let key = self.key.as_deref();
        key.map_or_else(|| "none".into(), |key| format!("Bearer {key}"))
    }

    pub fn get(&self, path: &str) -> Answered {
        let request = self.agent.get(format!("{}{path}", self.url));
        let request = request.header("authorization", self.authorization());
        answered(request.call().unwrap()).unwrap()
    }

    /// A request with a body; an error where the service is not there, or goes before it has
    /// answered.
    pub fn try_send(
        &self,
        put: bool,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answered, ureq::Error> {
        let url = format!("{}{path}", self.url);
        let mut request = if put {
            self.agent.put(url)
        } else {
            self.agent.post(url)
        };
        request = request.header("authorization", self.authorization());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answered(request.send(body)?)
    }

    pub fn post_json(&self, path: &str, body: &Value) -> Answered {
        let headers = [("content-type", "application/json")];
        self.try_send(false, path, &headers, body.to_string().as_bytes())
            .unwrap()
    }

    pub fn put_json(&self, path: &str, body: &Value) -> Answered {
        let headers = [("content-type", "application/json")];
        self.try_send(true, path, &headers, body.to_string().as_bytes())
            .unwrap()
    }

    #[track_caller]
    pub fn create(&self, stream: &str) {
        let body = serde_json::json!({ "name": stream });
        let answer = self.post_json("/v1/streams", &body);
        assert!(
            [200, 201].contains(&answer.status),
            "{}: {}",
            answer.status,
            answer.text()
        );
    }

    /// One image with an idempotency key.
    pub fn try_image(&self, stream: &str, seed: u64, key: &str) -> Result<Answered, ureq::Error> {
        let path = format!("/v1/streams/{stream}/images?image={seed}.png");
        let headers = [("content-type", "image/png"), ("idempotency-key", key)];
        self.try_send(false, &path, &headers, &image(seed))
    }

    /// [`try_image`](Self::try_image) where it must be answered with a score.
    #[track_caller]
    pub fn image(&self, stream: &str, seed: u64) -> Value {
        let key = format!("{stream}/{seed}");
        self.try_image(stream, seed, &key).unwrap().is(200).json()
    }

    /// Several images in one request.
    pub fn try_images(
        &self,
        stream: &str,
        seeds: std::ops::Range<u64>,
        key: &str,
    ) -> Result<Answered, ureq::Error> {
        let mut body = Vec::new();
        for seed in seeds {
            let head = format!(
                "--part\r\ncontent-disposition: form-data; name=\"image\"; filename=\"{seed}.png\"\r\ncontent-type: image/png\r\n\r\n"
            );
            body.extend(head.into_bytes());
            body.extend(image(seed));
            body.extend(b"\r\n");
        }
        body.extend(b"--part--\r\n");
        let headers = [
            ("content-type", "multipart/form-data; boundary=part"),
            ("idempotency-key", key),
        ];
        let path = format!("/v1/streams/{stream}/images");
        self.try_send(false, &path, &headers, &body)
    }

    /// The whole history of a stream, the oldest first.
    pub fn history(&self, stream: &str) -> Vec<Map<String, Value>> {
        let mut all: Vec<Map<String, Value>> = Vec::new();
        loop {
            let after = all.last().map_or(0, |last| last["id"].as_u64().unwrap());
            let path = format!("/v1/streams/{stream}/results?after={after}&limit=1000");
            let page = self.get(&path).is(200).json();
            let page = page["results"].as_array().unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page.iter().map(|row| row.as_object().unwrap().clone()));
        }
    }

    /// The state of a stream as a file.
    pub fn export(&self, stream: &str) -> Vec<u8> {
        self.get(&format!("/v1/streams/{stream}/export"))
            .is(200)
            .bytes
    }

    pub fn stream(&self, stream: &str) -> Value {
        self.get(&format!("/v1/streams/{stream}")).is(200).json()
    }
}

fn answered(response: ureq::http::Response<ureq::Body>) -> Result<Answered, ureq::Error> {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let bytes = body.with_config().limit(1 << 30).read_to_vec()?;
    Ok(Answered { status, bytes })
}

/// A history without the times, which no two runs have in common.
pub fn timeless(mut history: Vec<Map<String, Value>>) -> Vec<Map<String, Value>> {
    for row in &mut history {
        row.remove("at").unwrap();
    }
    history
}

/// Whether two states are the same to the byte, and where not.
#[track_caller]
pub fn same_state(found: &[u8], expected: &[u8]) {
    let differs = found.iter().zip(expected).position(|(a, b)| a != b);
    assert!(
        found == expected,
        "states of {} and {} bytes differ from byte {differs:?}",
        found.len(),
        expected.len()
    );
}

/// `rareclip client` on the images in `folder/images`.
pub fn client(folder: &Path, url: &str, stream: &str, more: &[&str]) -> Command {
    let mut command = rareclip(&["client", "images", "--server", url, "--stream", stream]);
    command.arg("--json").args(more).current_dir(folder);
    command.env_remove("RARECLIP_API_KEY");
    command
}

/// What [`client`] prints that must end well, if `disturb` is called when it has printed as many
/// rows as each of `stops`.
pub fn disturbed(folder: &Path, url: &str, stops: [usize; 2], mut disturb: impl FnMut()) -> String {
    let mut child = client(folder, url, "line", &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut printed = String::new();
    for stop in stops {
        while printed.lines().count() < stop {
            assert!(out.read_line(&mut printed).unwrap() > 0, "{printed}");
        }
        disturb();
    }
    out.read_to_string(&mut printed).unwrap();
    let mut told = String::new();
    let mut err = child.stderr.take().unwrap();
    err.read_to_string(&mut told).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{told}");
    printed
}

/// Standard output of a command that must end well.
#[track_caller]
pub fn well(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", super::stderr(output));
    super::stdout(output)
}
