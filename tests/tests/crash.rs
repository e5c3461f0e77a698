//! A service that is killed again and again has the history and the memory of one that never was.
//!
//! `RARECLIP_CRASHES` is how often it is killed, `RARECLIP_SEED` when.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod common;

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::service::{Api, Server, same_state, serve, timeless};
use serde_json::Value;

/// Numbers that look like chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap())
}

/// Said past the test runner, which keeps the output of passing tests to itself.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A client that sends image after image, `at_once` in a request, and every request until it is
/// answered.
struct Sender<'a> {
    stream: &'static str,
    at_once: u64,
    /// Where the service is at present.
    url: &'a Mutex<String>,
    stop: &'a AtomicBool,
    refused: &'a AtomicU64,
}

impl Sender<'_> {
    /// The answers to all images.
    fn work(&self) -> Vec<Value> {
        let mut answers = Vec::new();
        let mut first = 0;
        while !self.stop.load(Ordering::Relaxed) {
            answers.extend(self.persist(first));
            first += self.at_once;
        }
        answers
    }

    fn persist(&self, first: u64) -> Vec<Value> {
        let key = format!("camera-7/{first}");
        loop {
            let api = Api::new(&self.url.lock().unwrap(), None);
            let answer = match self.at_once {
                1 => api.try_image(self.stream, first, &key),
                many => api.try_images(self.stream, first..first + many, &key),
            };
            match answer {
                Ok(answer) => {
                    let answer = answer.is(200).json();
                    return match answer.get("results") {
                        Some(all) => all.as_array().unwrap().clone(),
                        None => vec![answer],
                    };
                }
                Err(_) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        }
    }
}

/// What the logs of the killed services tell.
#[derive(Default)]
struct Told {
    early: u64,
    journals: usize,
    leftovers: usize,
}

impl Told {
    fn take(&mut self, log: &str) {
        assert!(!log.contains("ERROR"), "{log}");
        self.journals += log.matches("Journal shown again").count();
        self.leftovers += log.matches("Left by a crash").count();
    }
}

#[test]
fn killed_at_any_moment_no_image_is_lost_or_counted_twice() {
    let kills = number("RARECLIP_CRASHES").unwrap_or(6);
    let seed = number("RARECLIP_SEED").unwrap_or_else(|| {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        time.subsec_nanos().into()
    });
    say(&format!("crash: {kills} kills, RARECLIP_SEED={seed}"));
    let mut chance = Chance(seed.wrapping_mul(2) + 1);
    let folder = tempfile::tempdir().unwrap();
    let often = ["--snapshot-every", "3"];
    let server = Server::start(serve(folder.path(), &often));
    server.api().create("single");
    server.api().create("batch");

    let (url, stop) = (Mutex::new(server.url().to_owned()), AtomicBool::new(false));
    let refused = AtomicU64::new(0);
    let sender = |stream, at_once| Sender {
        stream,
        at_once,
        url: &url,
        stop: &stop,
        refused: &refused,
    };
    let (single, batch) = (sender("single", 1), sender("batch", 3));
    let mut told = Told::default();
    let (server, single, batch) = std::thread::scope(|scope| {
        let single = scope.spawn(|| single.work());
        let batch = scope.spawn(|| batch.work());
        let mut server = server;
        for _ in 0..kills {
            std::thread::sleep(Duration::from_millis(chance.below(300)));
            told.take(&server.kill());
            if chance.below(5) == 0 {
                // Also while it starts.
                let starting = Server::spawn(serve(folder.path(), &often));
                std::thread::sleep(Duration::from_millis(chance.below(100)));
                told.take(&starting.kill());
                told.early += 1;
            }
            server = Server::start(serve(folder.path(), &often));
            server.url().clone_into(&mut url.lock().unwrap());
        }
        stop.store(true, Ordering::Relaxed);
        (server, single.join().unwrap(), batch.join().unwrap())
    });

    let whole = tempfile::tempdir().unwrap();
    let never = Server::start(serve(whole.path(), &["--snapshot-every", "1000000"]));
    for (stream, answers) in [("single", &single), ("batch", &batch)] {
        acknowledged_once(&server.api(), stream, answers);
        equals_uninterrupted(&server.api(), &never.api(), stream, answers.len() as u64);
    }
    told.take(&server.kill());
    let again = |answers: &[Value]| {
        let replayed = answers.iter().filter(|answer| answer["replayed"] == true);
        replayed.count()
    };
    say(&format!(
        "crash: {} + {} images; {} requests were cut off or refused, {} images were written down but not answered, \
         {} journals were shown again, {} files of unfinished states were found, {} more kills came while it started",
        single.len(),
        batch.len(),
        refused.load(Ordering::Relaxed),
        again(&single) + again(&batch),
        told.journals,
        told.leftovers,
        told.early,
    ));
}

/// Every image stands in the history once, in order, as it was answered.
fn acknowledged_once(api: &Api, stream: &str, answers: &[Value]) {
    let history = api.history(stream);
    assert_eq!(history.len(), answers.len(), "{stream}");
    for (at, (row, answer)) in history.iter().zip(answers).enumerate() {
        assert_eq!(row["id"], at + 1, "{stream}");
        assert_eq!(row["sequence"], at, "{stream}");
        assert_eq!(row["image"], format!("{at}.png"), "{stream}");
        assert_eq!(answer["recorded"], true);
        for (name, value) in row {
            assert_eq!(&answer[name], value, "{name} of {stream}/{at}");
        }
    }
}

fn equals_uninterrupted(killed: &Api, never: &Api, stream: &str, images: u64) {
    never.create(stream);
    for seed in 0..images {
        never.image(stream, seed);
    }
    let (found, expected) = (
        timeless(killed.history(stream)),
        timeless(never.history(stream)),
    );
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{stream}");
    }
    assert_eq!(found.len(), expected.len());
    same_state(&killed.export(stream), &never.export(stream));
}
