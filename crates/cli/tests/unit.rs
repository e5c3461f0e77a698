//! The systemd unit that is shipped: what it must say, and that its command exists.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::PathBuf;
use std::process::Command;

/// The largest "exposure level" of `systemd-analyze security`, in tenths: 0 is nothing, 100
/// everything.
const LARGEST_EXPOSURE: &str = "20";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd/rareclip.service")
}

/// Section, key and value of every line, in order.
fn entries() -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(path()).unwrap();
    let mut section = String::new();
    let mut entries = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            section = name.strip_suffix(']').unwrap().to_owned();
            continue;
        }
        let (key, value) = line.split_once('=').unwrap();
        entries.push((section.clone(), key.to_owned(), value.to_owned()));
    }
    entries
}

fn values(key: &str) -> Vec<String> {
    let entries = entries().into_iter();
    let own = entries.filter(|(section, name, _)| section == "Service" && name == key);
    own.map(|(_, _, value)| value).collect()
}

#[test]
fn the_unit_takes_every_privilege_away() {
    let required = [
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("AmbientCapabilities", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("PrivateUsers", "yes"),
        ("ProtectProc", "invisible"),
        ("ProtectClock", "yes"),
        ("ProtectControlGroups", "yes"),
        ("ProtectHostname", "yes"),
        ("ProtectKernelLogs", "yes"),
        ("ProtectKernelModules", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("LockPersonality", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictNamespaces", "yes"),
        ("RestrictRealtime", "yes"),
        ("RestrictSUIDSGID", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("SystemCallArchitectures", "native"),
        ("StateDirectory", "rareclip"),
        ("StateDirectoryMode", "0700"),
        ("UMask", "0077"),
        ("LimitCORE", "0"),
        ("Restart", "on-failure"),
        ("User", "rareclip"),
    ];
    for (key, value) in required {
        assert_eq!(values(key), [value], "{key}");
    }
    let calls = values("SystemCallFilter");
    assert_eq!(calls, ["@system-service", "~@privileged"]);
    for key in ["MemoryMax", "TasksMax", "LimitNOFILE", "TimeoutStopSec"] {
        let found = values(key);
        assert!(
            found.len() == 1 && found[0] != "infinity",
            "{key}: {found:?}"
        );
    }
}

#[test]
fn the_command_of_the_unit_is_one_that_the_program_has() {
    let [command] = &values("ExecStart")[..] else {
        panic!("one command");
    };
    let mut words = command.split_whitespace();
    assert_eq!(words.next(), Some("/usr/local/bin/rareclip"));
    assert_eq!(words.next(), Some("serve"));
    let output = Command::new(env!("CARGO_BIN_EXE_rareclip"))
        .args(["serve", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let known: Vec<&str> = help
        .split(|c: char| !(c.is_alphanumeric() || c == '-'))
        .collect();
    let words: Vec<&str> = words.collect();
    for flag in words.iter().filter(|word| word.starts_with('-')) {
        assert!(known.contains(flag), "`serve` has no {flag}");
    }
    // What it writes to lies in its own folder, and it listens on this machine alone.
    let of = |flag: &str| words[words.iter().position(|word| *word == flag).unwrap() + 1];
    assert!(of("--data").starts_with("/var/lib/rareclip/"));
    assert!(of("--listen").starts_with("127.0.0.1:"));
    assert_eq!(
        values("Environment"),
        ["RARECLIP_CACHE=/var/lib/rareclip/cache"]
    );
}

#[test]
fn systemd_accepts_the_unit_and_calls_it_little_exposed() {
    let analyze = |args: &[&str]| {
        Command::new("systemd-analyze")
            .args(args)
            .arg(path())
            .output()
    };
    let threshold = format!("--threshold={LARGEST_EXPOSURE}");
    let Ok(exposure) = analyze(&["security", "--offline=true", "--no-pager", &threshold]) else {
        eprintln!("SKIPPED: systemd-analyze is not on this machine");
        return;
    };
    let text = |output: &std::process::Output| {
        let both = [&output.stdout[..], &output.stderr].concat();
        String::from_utf8_lossy(&both).into_owned()
    };
    if text(&exposure).contains("unrecognized option") {
        eprintln!("SKIPPED: this systemd-analyze reads no unit files");
        return;
    }
    assert!(exposure.status.success(), "{}", text(&exposure));
    // The program need not be installed where the tests run.
    let verified = text(&analyze(&["verify", "--man=no"]).unwrap());
    let wrong: Vec<&str> = verified
        .lines()
        .filter(|line| line.contains("rareclip.service") && !line.contains("is not executable"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
