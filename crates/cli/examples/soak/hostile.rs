//! Clients that mean harm: each kind is a few threads that repeat one attack, bounded in rate and
//! in number.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::payloads::Payloads;
use crate::tally::Tally;

/// What every attack needs.
pub(crate) struct Ground<'a> {
    pub(crate) address: SocketAddr,
    /// A key of scope score; one that is not known goes in other places.
    pub(crate) key: &'a str,
    /// A stream that is there.
    pub(crate) stream: &'a str,
    pub(crate) payloads: &'a Payloads,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) tally: &'a Tally,
    /// Numbers the names that are made up.
    pub(crate) next: &'a AtomicU64,
}

/// An attack: its name, how many threads repeat it, how long each pauses between two, and what it
/// does once.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    threads: usize,
    pause: Duration,
    once: fn(&Ground<'_>, &'static str),
}

const fn attack(
    name: &'static str,
    threads: usize,
    pause_ms: u64,
    once: fn(&Ground<'_>, &'static str),
) -> Attack {
    Attack {
        name,
        threads,
        pause: Duration::from_millis(pause_ms),
        once,
    }
}

/// Connections that one thread holds open at a time.
const HELD: usize = 50;
/// How long connections are held, unless the service closes them.
const HOLD: Duration = Duration::from_secs(45);
/// A client waits so long for an answer.
const WAIT: Duration = Duration::from_secs(30);

pub(crate) static ATTACKS: [Attack; 13] = [
    attack("idle", 4, 1000, |ground, name| held(ground, name, b"")),
    attack("half preface", 2, 1000, |ground, name| {
        held(ground, name, b"PRI * HTTP/2.0\r\n\r\n")
    }),
    attack("idle HTTP/2", 2, 1000, |ground, name| {
        held(
            ground,
            name,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        )
    }),
    attack("slow header", 2, 1000, |ground, name| {
        held(ground, name, b"GET /v1/info HTTP/1.1\r\nHos")
    }),
    attack("slow body", 8, 500, slow_body),
    attack("slow export", 16, 500, |ground, name| {
        slow_reader(ground, name, "export")
    }),
    attack("slow results", 8, 500, |ground, name| {
        slow_reader(ground, name, "results?limit=1000")
    }),
    attack("events", 4, 500, events),
    attack("huge JSON", 3, 500, huge_json),
    attack("bombs", 6, 200, bomb),
    attack("stream flood", 2, 20, create_stream),
    attack("huge detectors", 1, 2000, huge_detector),
    attack("bad keys", 2, 20, bad_key),
];

impl Attack {
    /// Starts the threads of this attack, which end with `stop`.
    pub(crate) fn start<'scope>(
        &'scope self,
        scope: &'scope std::thread::Scope<'scope, '_>,
        ground: &'scope Ground<'scope>,
    ) {
        for _ in 0..self.threads {
            scope.spawn(move || {
                while !ground.stop.load(Relaxed) {
                    (self.once)(ground, self.name);
                    std::thread::sleep(self.pause);
                }
            });
        }
    }
}

fn connect(ground: &Ground<'_>, name: &'static str) -> Option<TcpStream> {
    let Ok(stream) = TcpStream::connect_timeout(&ground.address, Duration::from_secs(5)) else {
        ground.tally.count(name, "not connected");
        return None;
    };
    let _ = stream.set_read_timeout(Some(WAIT));
    let _ = stream.set_write_timeout(Some(WAIT));
    Some(stream)
}

/// The head of a request with the key; `length` is that of a body.
fn head(ground: &Ground<'_>, method: &str, target: &str, kind: &str, length: usize) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n",
        ground.key
    )
}

/// Sends a request and counts the status of the answer.
fn ask(ground: &Ground<'_>, name: &'static str, head: &str, body: &[u8]) {
    let Some(mut stream) = connect(ground, name) else {
        return;
    };
    // A service that has read enough answers before the body has ended.
    let sent = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body));
    ground.tally.count(
        name,
        match status(&mut stream) {
            Some(status) => status,
            None if sent.is_err() => "closed while sending".into(),
            None => "no answer".into(),
        },
    );
    let _ = std::io::copy(&mut stream.take(1 << 20), &mut std::io::sink());
}

/// The status of an answer.
fn status(stream: &mut TcpStream) -> Option<String> {
    let mut line = [0; 12];
    stream.read_exact(&mut line).ok()?;
    let text = std::str::from_utf8(&line).ok()?;
    Some(text.strip_prefix("HTTP/1.1 ")?.to_owned())
}

/// Opens many connections, sends `bytes` on each, and holds them until the service has closed them.
fn held(ground: &Ground<'_>, name: &'static str, bytes: &[u8]) {
    let mut open: Vec<TcpStream> = Vec::new();
    for _ in 0..HELD {
        let Some(mut stream) = connect(ground, name) else {
            break;
        };
        if stream.write_all(bytes).is_ok() && stream.set_nonblocking(true).is_ok() {
            open.push(stream);
        }
    }
    let start = Instant::now();
    while !open.is_empty() && start.elapsed() < HOLD && !ground.stop.load(Relaxed) {
        open.retain_mut(|stream| {
            let closed = is_closed(stream);
            if closed {
                ground.tally.count(name, "closed by the service");
            }
            !closed
        });
        std::thread::sleep(Duration::from_millis(500));
    }
    if start.elapsed() >= HOLD {
        for _ in &open {
            ground
                .tally
                .count(name, format!("still open after {} s", HOLD.as_secs()));
        }
    }
}

/// Reads what has come, and whether that was the end.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// Announces an image and sends a byte of it per second.
fn slow_body(ground: &Ground<'_>, name: &'static str) {
    let Some(mut stream) = connect(ground, name) else {
        return;
    };
    let target = format!("/v1/streams/{}/images", ground.stream);
    let head = head(ground, "POST", &target, "image/png", 32 << 20);
    if stream.write_all(head.as_bytes()).is_err() {
        return ground.tally.count(name, "closed while sending");
    }
    let start = Instant::now();
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    while start.elapsed() < 3 * HOLD && !ground.stop.load(Relaxed) {
        let mut line = [0; 12];
        match stream.read(&mut line) {
            Ok(0) => return ground.tally.count(name, "closed by the service"),
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                let status = text.strip_prefix("HTTP/1.1 ").unwrap_or("an answer");
                return ground.tally.count(name, status);
            }
            Err(_) if stream.write_all(b"x").is_err() => {
                return ground.tally.count(name, "closed by the service");
            }
            Err(_) => {}
        }
    }
    ground.tally.count(name, "still open");
}

/// Asks for something long and reads a few bytes of it per second.
fn slow_reader(ground: &Ground<'_>, name: &'static str, what: &str) {
    let Some(mut stream) = connect(ground, name) else {
        return;
    };
    let target = format!("/v1/streams/{}/{what}", ground.stream);
    if stream
        .write_all(head(ground, "GET", &target, "text/plain", 0).as_bytes())
        .is_err()
    {
        return ground.tally.count(name, "closed while sending");
    }
    let Some(status) = status(&mut stream) else {
        return ground.tally.count(name, "no answer");
    };
    ground.tally.count(name, status);
    let start = Instant::now();
    let mut few = [0; 16];
    while start.elapsed() < HOLD && !ground.stop.load(Relaxed) {
        if !matches!(stream.read(&mut few), Ok(1..)) {
            return;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Opens many event streams and reads none of them.
fn events(ground: &Ground<'_>, name: &'static str) {
    let mut open = Vec::new();
    for number in 0..HELD {
        let Some(mut stream) = connect(ground, name) else {
            break;
        };
        let target = match number % 2 {
            0 => "/v1/events".to_owned(),
            _ => format!("/v1/streams/{}/events", ground.stream),
        };
        if stream
            .write_all(head(ground, "GET", &target, "text/plain", 0).as_bytes())
            .is_ok()
        {
            let status = status(&mut stream).unwrap_or_else(|| "no answer".into());
            ground.tally.count(name, status);
            open.push(stream);
        }
    }
    let start = Instant::now();
    while start.elapsed() < HOLD && !ground.stop.load(Relaxed) {
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn huge_json(ground: &Ground<'_>, name: &'static str) {
    let number = ground.next.fetch_add(1, Relaxed) as usize;
    let (target, body) = &ground.payloads.json[number % ground.payloads.json.len()];
    let target = target.replace("STREAM", ground.stream);
    let head = head(ground, "POST", &target, "application/json", body.len());
    ask(ground, name, &head, body);
}

fn bomb(ground: &Ground<'_>, name: &'static str) {
    let target = format!("/v1/streams/{}/images?update=false", ground.stream);
    let body = &ground.payloads.bomb;
    ask(
        ground,
        name,
        &head(ground, "POST", &target, "image/png", body.len()),
        body,
    );
}

fn create_stream(ground: &Ground<'_>, name: &'static str) {
    let number = ground.next.fetch_add(1, Relaxed);
    let body = format!("{{\"name\":\"flood-{number}\"}}");
    let head = head(
        ground,
        "POST",
        "/v1/streams",
        "application/json",
        body.len(),
    );
    ask(ground, name, &head, body.as_bytes());
}

/// Detectors that would take all memory, or all time.
fn huge_detector(ground: &Ground<'_>, name: &'static str) {
    let number = ground.next.fetch_add(1, Relaxed);
    let detectors = &ground.payloads.detectors;
    let detector = &detectors[number as usize % detectors.len()];
    let body = format!("{{\"name\":\"huge-{number}\",\"detector\":{detector}}}");
    let head = head(
        ground,
        "POST",
        "/v1/streams",
        "application/json",
        body.len(),
    );
    ask(ground, name, &head, body.as_bytes());
}

fn bad_key(ground: &Ground<'_>, name: &'static str) {
    let number = ground.next.fetch_add(1, Relaxed);
    let key = format!("rareclip_{number:043}");
    let head = format!(
        "GET /v1/streams HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
    );
    ask(ground, name, &head, b"");
}
