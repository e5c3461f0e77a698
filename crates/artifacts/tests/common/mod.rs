//! A web server that speaks the hub's protocol and can be made to misbehave, and an artefact that
//! is taken from it.

// Each test binary uses its own part of this.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test binary uses a part of it"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rareclip_artifacts::{Artefact, Proxy, Settings};
use sha2::{Digest, Sha256};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// First byte of the range asked for.
    pub(crate) fn from(&self) -> Option<usize> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        range.split('-').next()?.parse().ok()
    }
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Bytes of the body after which the connection is cut.
    pub(crate) cut: Option<usize>,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// A file, or what is asked for of it.
    pub(crate) fn file(request: &Request, content: &[u8]) -> Self {
        match request.from() {
            Some(first) if first >= content.len() => {
                Self::status(416).with("content-range", format!("bytes */{}", content.len()))
            }
            Some(first) => {
                let (last, size) = (content.len() - 1, content.len());
                let mut reply = Self::status(206);
                reply.body = content[first..].to_vec();
                reply.with("content-range", format!("bytes {first}-{last}/{size}"))
            }
            None => {
                let mut reply = Self::status(200);
                reply.body = content.to_vec();
                reply
            }
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub(crate) fn cut_after(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }
}

/// A server on a port of its own, and what it was asked.
pub(crate) struct Server {
    pub(crate) url: String,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (Arc::clone(&log), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &kept, &*answer));
            }
        });
        Self { url, log }
    }

    pub(crate) fn log(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }

    /// How often bytes of a path were asked for.
    pub(crate) fn gets(&self, path: &str) -> Vec<Request> {
        let log = self.log();
        log.into_iter()
            .filter(|request| request.method == "GET" && request.path.ends_with(path))
            .collect()
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Some(Request {
        method,
        path,
        headers,
    })
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request) -> Reply) {
    let Some(request) = read_request(&stream) else {
        return;
    };
    log.lock().unwrap().push(request.clone());
    let reply = answer(&request);
    let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", reply.status);
    head += &format!("content-length: {}\r\n", reply.body.len());
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    let body = match (request.method.as_str(), reply.cut) {
        ("HEAD", _) => &[],
        (_, Some(cut)) => &reply.body[..cut.min(reply.body.len())],
        _ => reply.body.as_slice(),
    };
    // A client that went away is part of some tests.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
    let _ = stream.flush();
}

/// Passes bytes on to where a `CONNECT` wants, as a web proxy does; counts the connections.
pub(crate) fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let targets = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&targets);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || tunnel(stream, &kept));
        }
    });
    (url, targets)
}

fn tunnel(mut stream: TcpStream, targets: &Mutex<Vec<String>>) -> Option<()> {
    let request = read_request(&stream)?;
    assert_eq!(request.method, "CONNECT");
    targets.lock().unwrap().push(request.path.clone());
    let mut far = TcpStream::connect(&request.path).ok()?;
    stream.write_all(b"HTTP/1.1 200 ok\r\n\r\n").ok()?;
    let (mut up, mut down) = (stream.try_clone().ok()?, far.try_clone().ok()?);
    let upward = std::thread::spawn(move || pass(&mut up, &mut down));
    pass(&mut far, &mut stream);
    upward.join().ok()
}

fn pass(from: &mut TcpStream, to: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 300 kB of weights, as far as a server is concerned.
pub(crate) fn weights() -> Vec<u8> {
    (0..300_000_u32)
        .map(|index| (index * 7 % 251) as u8)
        .collect()
}

pub(crate) const CONFIG: &[u8] = br#"{"num_attention_heads": 4}"#;
pub(crate) const COMMIT: &str = "0123456789012345678901234567890123456789";

/// The hub's protocol: a large file by a redirect to another path, its checksum beside it; a small
/// one directly.
pub(crate) fn hub(request: &Request) -> Reply {
    let content = weights();
    match request.path.as_str() {
        "/maker/model/resolve/main/model.safetensors" => redirect(&content),
        "/maker/model/resolve/main/config.json" => Reply::file(request, CONFIG)
            .with("etag", "\"1234567890123456789012345678901234567890\"")
            .with("x-repo-commit", COMMIT),
        "/cdn/model?signed=1" => Reply::file(request, &content),
        _ => Reply::status(404),
    }
}

/// What the hub answers to a request for a file in its large file storage.
pub(crate) fn redirect(content: &[u8]) -> Reply {
    Reply::status(302)
        .with("location", "/cdn/model?signed=1")
        .with("x-linked-etag", format!("\"{}\"", sha256(content)))
        .with("x-linked-size", content.len())
        .with("x-repo-commit", COMMIT)
}

/// An artefact with that one source; `files` as in the catalogue.
pub(crate) fn artefact(files: &str) -> Artefact {
    toml::from_str(&format!(
        r#"
        name = "thing"
        kind = "model"
        summary = "a thing"
        licence = "MIT"
        upstream = "maker/model"
        [[source]]
        name = "hub"
        version = "hub-main"
        [source.origin.hub]
        repo = "maker/model"
        revision = "main"
        files = {files}
        "#
    ))
    .unwrap()
}

/// The two files of [`hub`], with nothing known of them.
pub(crate) fn unpinned() -> Artefact {
    artefact(r#"[{ path = "model.safetensors" }, { path = "config.json" }]"#)
}

/// Settings that ask `hub` and lose no time.
pub(crate) fn settings(cache: &Path, hub: &str) -> Settings {
    let mut settings = Settings::new(cache.to_owned());
    settings.endpoint = hub.to_owned();
    settings.proxy = Proxy::Direct;
    settings.pause = Duration::from_millis(1);
    settings.patience = Duration::from_secs(5);
    settings
}

/// Everything below `folder` that is no folder, relative to it.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, root: &Path, out: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, root, out);
            } else {
                let relative = path.strip_prefix(root).unwrap();
                out.push(relative.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    let mut out = Vec::new();
    walk(folder, folder, &mut out);
    out.sort();
    out
}
