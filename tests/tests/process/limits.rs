//! How often a host is started, what a slow one holds up, and that none stays behind.

use std::time::{Duration, Instant};

use rareclip_core::MemoryBankFactory;
use rareclip_process::BankOptions;
use serde_json::json;

use super::{assert_says, bank, image, options, push, spec, walk};

#[test]
fn a_host_that_keeps_failing_is_given_up_until_the_window_is_over() {
    let options = BankOptions {
        restarts: 2,
        restart_window_s: 3.0,
        ..options(&json!({ "wrong": [{ "on": "assess", "do": "die" }] }))
    };
    let bank = options.build(&spec()).unwrap();
    let fail = || bank.assess(&image(0)).err().unwrap().to_string();
    assert_says(&fail(), &["asked to `assess`", "exit code 7"]);
    let message = fail();
    assert_says(
        &message,
        &["exit code 7", "2 times within 3 s", "raise `restarts`"],
    );
    // Given up: nothing is started any more.
    assert_says(&fail(), &["given up"]);
    std::thread::sleep(Duration::from_secs(4));
    assert!(!fail().contains("given up"), "the window does not end");
}

#[test]
fn a_slow_host_holds_up_its_own_stream_alone() {
    let slow = bank(&json!({ "delay_ms": 1500 }));
    let mut quick = bank(&json!({}));
    std::thread::scope(|scope| {
        let waits = scope.spawn(move || {
            slow.assess(&image(0)).unwrap();
            Instant::now()
        });
        walk(&mut *quick, 0..20);
        let quick = Instant::now();
        let slow = waits.join().unwrap();
        assert!(quick < slow, "{quick:?}, {slow:?}");
    });
}

/// Processes that we started, the host of whoever they are of.
#[cfg(target_os = "linux")]
fn children() -> Vec<u32> {
    super::stream::children_of(std::process::id())
        .into_iter()
        .filter(|pid| super::stream::command_of(*pid).contains("mark-of-limits"))
        .collect()
}

#[cfg(target_os = "linux")]
#[test]
fn no_process_is_left_when_a_bank_is_dropped_or_its_host_was_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("once");
    let plan = json!({
        "says": ["mark-of-limits"],
        "wrong": [{ "on": "absorb", "nth": 2, "do": "hang", "once": marker }],
    });
    let options = BankOptions {
        timeout_s: 0.5,
        ..options(&plan)
    };
    let mut bank = options.build(&spec()).unwrap();
    let first = children();
    assert_eq!(first.len(), 1);
    walk(&mut *bank, 0..4);
    let second = children();
    assert!(second.len() == 1 && second != first, "{first:?} {second:?}");
    drop(bank);
    assert_eq!(children(), Vec::<u32>::new());
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_host_has_started_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let plan = json!({ "wrong": [{ "on": "assess", "do": "hang" }] });
    let [program, plan] = super::host(&plan).try_into().unwrap();
    // A shell in between, with a companion that would sleep on.
    let script = format!(
        "sleep 600 & echo $! > {}; '{program}' '{plan}'; true",
        pid_file.display()
    );
    let options = BankOptions {
        command: vec!["sh".into(), "-c".into(), script],
        restarts: 0,
        timeout_s: 0.5,
        ..options(&json!({}))
    };
    let bank = options.build(&spec()).unwrap();
    let pid: u32 = std::fs::read_to_string(&pid_file)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(super::stream::is_alive(pid));
    assert_says(
        &bank.assess(&image(0)).err().unwrap().to_string(),
        &["no answer within"],
    );
    let start = Instant::now();
    while super::stream::is_alive(pid) {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "process {pid} goes on"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(unix)]
#[test]
fn a_host_that_someone_else_runs_serves_many_and_may_be_started_anew_by_them() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("host");
    let serve = || {
        let _ = std::fs::remove_file(&socket);
        let [program, plan] = super::host(&json!({ "listen": socket }))
            .try_into()
            .unwrap();
        let child = std::process::Command::new(program)
            .arg(plan)
            .spawn()
            .unwrap();
        let start = Instant::now();
        // The file is there a moment before the host listens.
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "the host does not listen"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    };
    let mut service = serve();
    let options = BankOptions {
        command: Vec::new(),
        address: Some(format!("unix:{}", socket.display())),
        ..options(&json!({}))
    };
    let mut one = options.build(&spec()).unwrap();
    let mut two = options.build(&spec()).unwrap();
    let mut expected = bank(&json!({}));
    assert_eq!(walk(&mut *one, 0..4), walk(&mut *expected, 0..4));
    // The other is another stream.
    assert_eq!(walk(&mut *two, 0..1), walk(&mut *bank(&json!({})), 0..1));
    service.kill().unwrap();
    service.wait().unwrap();
    service = serve();
    assert_eq!(walk(&mut *one, 4..8), walk(&mut *expected, 4..8));
    service.kill().unwrap();
    service.wait().unwrap();
    let message = push(&mut *two, 1).unwrap_err().to_string();
    assert_says(&message, &["cannot be reached", "check `address`"]);
}
