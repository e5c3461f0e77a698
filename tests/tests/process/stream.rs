//! `rareclip scan` with a detector in another process that is killed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::common::{Bench, code, rows, stderr, stdout};
use super::{assert_says, host};

/// The processes that `pid` has started and that run.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(
            text.split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    children
}

pub(crate) fn command_of(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

/// Whether a process runs; one that has ended and was not waited for does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(')').next().unwrap_or_default().trim();
    !state.is_empty() && !state.starts_with('Z')
}

pub(crate) fn kill(pid: u32) {
    let status = Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// A detector whose bank is served by `command`.
pub(crate) fn config(command: &[String], component: &str, scorer: &str) -> String {
    format!(
        "[backbone]\ntype = \"pixels\"\n[bank]\ntype = \"process\"\ncommand = {}\ncomponent = \"{component}\"\nblocks = [1]\n\
         [scorer]\n{scorer}\n",
        json!(command)
    )
}

/// What a scan gave: its rows, its stderr and its exit code.
pub(crate) struct Scan {
    pub(crate) rows: Vec<Value>,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

impl Scan {
    /// The scores as they were printed.
    pub(crate) fn scores(&self) -> Vec<(String, String)> {
        let score = |row: &Value| (row["image"].to_string(), row["score"].to_string());
        self.rows.iter().map(score).collect()
    }
}

/// Scans the images of `bench` by `config`, and kills every process that the scan has started when
/// it has printed `rows` rows, for each of `kills`.
pub(crate) fn scan(bench: &Bench, config: &str, more: &[&str], kills: &[usize]) -> Scan {
    std::fs::write(bench.path("process.toml"), config).unwrap();
    let mut child =
        super::common::rareclip(&["scan", "images", "--config", "process.toml", "--json"])
            .args(more)
            .current_dir(bench.folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let mut errors = child.stderr.take().unwrap();
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).unwrap();
        text
    });
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        lines.push(line.unwrap());
        if kills.contains(&lines.len()) {
            let hosts = children_of(child.id());
            assert!(!hosts.is_empty(), "the scan has started nothing");
            hosts.into_iter().for_each(kill);
        }
    }
    Scan {
        rows: rows(&lines.join("\n")),
        code: child.wait().unwrap().code(),
        stderr: errors.join().unwrap(),
    }
}

pub(crate) const LARGEST: &str = "type = \"largest\"";

#[test]
fn a_stream_survives_its_host_being_killed_with_the_same_scores_and_says_so() {
    let bench = Bench::new(24, &[20]);
    let config = config(&host(&json!({ "delay_ms": 10 })), "outside", LARGEST);
    let undisturbed = scan(&bench, &config, &[], &[]);
    assert_eq!(undisturbed.code, Some(0), "{}", undisturbed.stderr);
    assert_eq!(undisturbed.rows.len(), 24);
    let killed = scan(&bench, &config, &[], &[5, 13]);
    assert_eq!(killed.code, Some(0), "{}", killed.stderr);
    assert_eq!(killed.scores(), undisturbed.scores());
    assert_says(
        &killed.stderr,
        &[
            "WARN",
            "bank `outside` of host",
            "was killed by signal 9",
            "again; its memory is as it was",
        ],
    );
    assert_eq!(
        killed.stderr.matches("its memory is as it was").count(),
        2,
        "{}",
        killed.stderr
    );
    assert!(
        !undisturbed.stderr.contains("WARN"),
        "{}",
        undisturbed.stderr
    );
}

#[test]
fn a_stream_whose_memory_died_with_its_host_says_so_for_every_image_after() {
    let bench = Bench::new(16, &[]);
    let plan = json!({ "delay_ms": 10, "state": "volatile" });
    let killed = scan(&bench, &config(&host(&plan), "outside", LARGEST), &[], &[6]);
    assert_eq!(killed.code, Some(3), "{}", killed.stderr);
    assert_eq!(killed.rows.len(), 16);
    let failed: Vec<&Value> = killed
        .rows
        .iter()
        .filter(|row| row["score"].is_null())
        .collect();
    assert!(failed.len() >= 8, "{} failed", failed.len());
    for row in &failed {
        assert_says(
            row["error"].as_str().unwrap(),
            &["killed by signal 9", "is lost", "reset the stream"],
        );
    }
    // Nothing was scored against an empty memory in between.
    let first = killed.rows.len() - failed.len();
    assert!(
        killed.rows[..first]
            .iter()
            .all(|row| !row["score"].is_null())
    );
    assert_says(&killed.stderr, &["ERROR", "is lost"]);
}

#[test]
fn a_scan_that_was_stopped_goes_on_from_its_state_as_if_it_had_not() {
    let bench = Bench::new(12, &[]);
    let config = config(&host(&json!({})), "outside", LARGEST);
    let whole = scan(&bench, &config, &[], &[]);
    std::fs::create_dir(bench.path("later")).unwrap();
    for at in 0..12 {
        if whole.rows[6..]
            .iter()
            .any(|row| row["image"] == format!("images/img{at}.png"))
        {
            let name = format!("img{at}.png");
            std::fs::rename(
                bench.path("images").join(&name),
                bench.path("later").join(&name),
            )
            .unwrap();
        }
    }
    let first = scan(&bench, &config, &["--state", "state"], &[]);
    std::fs::remove_dir_all(bench.path("images")).unwrap();
    std::fs::rename(bench.path("later"), bench.path("images")).unwrap();
    let second = scan(&bench, &config, &["--state", "state"], &[]);
    let both: Vec<_> = first.scores().into_iter().chain(second.scores()).collect();
    assert_eq!(both, whole.scores());
}

#[test]
fn a_state_does_not_depend_on_how_the_host_is_run_but_on_what_it_is() {
    let bench = Bench::new(4, &[]);
    let one = scan(
        &bench,
        &config(&host(&json!({})), "outside", LARGEST),
        &["--state", "state"],
        &[],
    );
    assert_eq!(one.code, Some(0), "{}", one.stderr);
    let slower = host(&json!({ "delay_ms": 1 }));
    let two = scan(
        &bench,
        &config(&slower, "outside", LARGEST),
        &["--state", "state", "--set", "bank.timeout_s=9"],
        &[],
    );
    assert_eq!(two.code, Some(0), "{}", two.stderr);
    let weight = ["--state", "state", "--set", "bank.options.weight=2"];
    let three = scan(&bench, &config(&slower, "outside", LARGEST), &weight, &[]);
    assert_eq!(three.code, Some(1));
    assert_says(
        &three.stderr,
        &["made by another detector", "bank.options.weight"],
    );
}

#[test]
fn hosts_end_when_the_program_is_killed() {
    let bench = Bench::new(40, &[]);
    std::fs::write(
        bench.path("process.toml"),
        config(&host(&json!({ "delay_ms": 50 })), "outside", LARGEST),
    )
    .unwrap();
    let mut child =
        super::common::rareclip(&["scan", "images", "--config", "process.toml", "--json"])
            .current_dir(bench.folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let hosts = children_of(child.id());
    assert_eq!(hosts.len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let start = Instant::now();
    while is_alive(hosts[0]) {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "the host goes on"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_components_are_listed_with_their_options() {
    let output = super::common::run(&["components", "show", "bank/process"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_says(
        &stdout(&output),
        &[
            "command",
            "address",
            "component",
            "options",
            "timeout_s",
            "restarts",
        ],
    );
}
