//! What a service does when its disk is full or takes no more writes: it goes on scoring, says what
//! is wrong, and goes on recording when it can.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]
#![cfg(target_os = "linux")]

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::service::{Api, Server, same_state, serve, timeless};
use serde_json::{Value, json};

/// Set in a run of a test that has mounts of its own.
const INSIDE: &str = "RARECLIP_TEST_MOUNTS";

/// Runs `test` where it may mount what nobody else sees; loudly not at all where that cannot be
/// had.
fn with_mounts(name: &str, test: impl Fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let root = ["--mount"].as_slice();
    let user = ["--user", "--map-root-user", "--mount"].as_slice();
    let folder = tempfile::tempdir().unwrap();
    let can = |flags: &&&[&str]| {
        let mut probe = Command::new("unshare");
        probe.args(**flags);
        probe.args(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
        let tried = probe.arg(folder.path()).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let Some(flags) = [root, user].iter().find(can).copied() else {
        return rareclip_testkit::skipped(name, "mounts of its own (root, or `unshare -Urm`)");
    };
    let mut command = Command::new("unshare");
    command.args(flags).arg(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]);
    let output = command.env(INSIDE, "1").output().unwrap();
    let text = [common::stdout(&output), common::stderr(&output)].concat();
    for line in text.lines().filter(|line| line.starts_with("SKIPPED")) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

/// A file system of its own; unmounted when dropped.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn new(arguments: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        command.args(arguments).arg(folder.path());
        let output = command.output().unwrap();
        output.status.success().then_some(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Leaves no byte free.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).unwrap();
        for size in [1 << 16, 1 << 9, 1] {
            while file.write(&vec![7; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let path = self.folder.path();
        let _ = Command::new("umount").arg("--lazy").arg(path).status();
    }
}

/// A stream that is shown images, and those of them that it said were recorded.
struct Line {
    next: u64,
    recorded: Vec<u64>,
}

impl Line {
    fn new(api: &Api) -> Self {
        api.create("line");
        Self {
            next: 0,
            recorded: Vec::new(),
        }
    }

    /// One more image, which is answered with a score whatever the disk does.
    fn image(&mut self, api: &Api) -> Value {
        let answer = api.image("line", self.next);
        assert!(answer["score"].is_f64(), "{answer}");
        if answer["recorded"] == true {
            assert!(answer["notice"].is_null(), "{answer}");
            self.recorded.push(self.next);
        } else {
            assert_eq!(
                (&answer["id"], &answer["remembered"]),
                (&0.into(), &false.into())
            );
        }
        self.next += 1;
        answer
    }

    fn images(&mut self, api: &Api, count: usize) {
        for _ in 0..count {
            let answer = self.image(api);
            assert_eq!(answer["recorded"], true, "{answer}");
        }
    }

    /// Sends images until `count` were not recorded; gives what was said of them. What room the
    /// database has left in its own files it may still use.
    fn until_unrecorded(&mut self, api: &Api, count: usize) -> Vec<String> {
        let mut notices = Vec::new();
        for _ in 0..3000 {
            let answer = self.image(api);
            if let Some(notice) = answer["notice"].as_str() {
                assert!(
                    notice.contains("neither remembered nor in the history"),
                    "{notice}"
                );
                notices.push(notice.to_owned());
            }
            if notices.len() == count {
                return notices;
            }
        }
        panic!("images are still recorded");
    }

    /// Whether history and memory are those of a service that was sent the recorded images only, on
    /// a good disk.
    fn is_that_of_the_recorded(&self, api: &Api) {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(serve(folder.path(), &OFTEN));
        let good = server.api();
        good.create("line");
        for seed in &self.recorded {
            good.image("line", *seed);
        }
        let (found, expected) = (
            timeless(api.history("line")),
            timeless(good.history("line")),
        );
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected);
        }
        assert_eq!(found.len(), self.recorded.len());
        same_state(&api.export("line"), &good.export("line"));
    }
}

fn problems(api: &Api) -> Vec<String> {
    let info = api.get("/readyz").is(200).json();
    let problems = info["problems"].as_array().unwrap();
    let words = problems
        .iter()
        .map(|problem| problem.as_str().unwrap().to_owned());
    words.collect()
}

const OFTEN: [&str; 4] = ["--snapshot-every", "3", "--keep-pictures", "none"];

#[test]
fn a_full_disk_stops_recording_and_nothing_else() {
    with_mounts("a_full_disk_stops_recording_and_nothing_else", || {
        let disk = Disk::new(&["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).unwrap();
        let server = Server::start(serve(disk.path(), &OFTEN));
        let api = server.api();
        let mut line = Line::new(&api);
        line.images(&api, 24);

        disk.fill();
        // The state is up to date; its copy finds no room, and nothing of it stays.
        let snapshot = api.post_json("/v1/streams/line/snapshot", &json!({}));
        assert_eq!(snapshot.status, 507, "{}", snapshot.text());
        assert!(!disk.path().join("data/streams/1/snapshot-1.state").exists());
        for notice in line.until_unrecorded(&api, 20) {
            assert!(notice.contains("no space left"), "{notice}");
        }
        let listed = problems(&api);
        assert!(
            listed.len() == 1 && listed[0].contains("no space left"),
            "{listed:?}"
        );
        // A change that cannot be written is refused, with the reason.
        let policy = json!({ "type": "fixed", "threshold": 0.4 });
        let refused = api.put_json("/v1/streams/line/threshold", &policy);
        assert_eq!(refused.status, 507, "{}", refused.text());
        assert_eq!(refused.json()["kind"], "disk-full");
        let snapshot = api.post_json("/v1/streams/line/snapshot", &json!({}));
        assert_eq!(snapshot.status, 507, "{}", snapshot.text());
        let info = api.stream("line");
        assert_eq!(info["images"], line.recorded.len());
        line.until_unrecorded(&api, 1);

        disk.free();
        line.images(&api, 10);
        assert_eq!(problems(&api), [""; 0]);
        let log = server.kill();
        assert!(log.contains("can be written again"), "{log}");
        let server = Server::start(serve(disk.path(), &OFTEN));
        line.is_that_of_the_recorded(&server.api());
        line.images(&server.api(), 5);
        line.is_that_of_the_recorded(&server.api());
    });
}

#[test]
fn a_service_killed_on_a_full_disk_starts_on_it_again() {
    with_mounts("a_service_killed_on_a_full_disk_starts_on_it_again", || {
        let disk = Disk::new(&["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).unwrap();
        let server = Server::start(serve(disk.path(), &OFTEN));
        let mut line = Line::new(&server.api());
        line.images(&server.api(), 25);
        disk.fill();
        line.until_unrecorded(&server.api(), 3);
        server.kill();

        disk.fill();
        let server = Server::start(serve(disk.path(), &OFTEN));
        let api = server.api();
        line.until_unrecorded(&api, 3);
        disk.free();
        line.images(&api, 5);
        line.is_that_of_the_recorded(&api);
    });
}

#[test]
fn pictures_that_find_no_room_are_left_out_whole() {
    with_mounts("pictures_that_find_no_room_are_left_out_whole", || {
        let disk = Disk::new(&["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).unwrap();
        let server = Server::start(serve(disk.path(), &["--keep-pictures", "all"]));
        let api = server.api();
        let mut line = Line::new(&api);
        line.images(&api, 3);
        disk.fill();
        line.until_unrecorded(&api, 3);
        disk.free();
        line.images(&api, 3);
        // Written out, so that no picture is still on its way.
        let (code, _, _) = server.terminate();
        assert_eq!(code, Some(0));
        let kept = |ending: &str| -> Vec<String> {
            let folder = std::fs::read_dir(disk.path().join("data/pictures/1")).unwrap();
            let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names
                .filter_map(|name| Some(name.strip_suffix(ending)?.to_owned()))
                .collect();
            names.sort();
            names
        };
        assert_eq!(kept(".jpg"), kept(".map"));
    });
}

#[test]
fn a_disk_that_becomes_read_only_stops_recording_and_nothing_else() {
    const NAME: &str = "a_disk_that_becomes_read_only_stops_recording_and_nothing_else";
    with_mounts(NAME, || {
        let needs = "root, a loop device and ext4";
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(24 << 20).unwrap();
        let made = Command::new("mkfs.ext4").arg("-q").arg(&image).output();
        if !made.is_ok_and(|output| output.status.success()) {
            return rareclip_testkit::skipped(NAME, needs);
        }
        let path = image.display().to_string();
        let Some(disk) = Disk::new(&["-o", "loop,errors=remount-ro", &path]) else {
            return rareclip_testkit::skipped(NAME, needs);
        };
        let server = Server::start(serve(disk.path(), &OFTEN));
        let api = server.api();
        let mut line = Line::new(&api);
        line.images(&api, 25);

        // What the kernel does by itself after an error of the disk; a remount is refused while
        // files are open.
        let source = Command::new("findmnt")
            .args(["-no", "SOURCE"])
            .arg(disk.path())
            .output();
        let source = common::stdout(&source.unwrap());
        let device = source.trim().trim_start_matches("/dev/");
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        if std::fs::write(&trigger, "a test").is_err() {
            return rareclip_testkit::skipped(NAME, needs);
        }
        assert!(std::fs::write(disk.path().join("no"), "no").is_err());
        line.until_unrecorded(&api, 10);
        let listed = problems(&api);
        assert!(
            listed.len() == 1 && listed[0].contains("rareclip.sqlite"),
            "{listed:?}"
        );
        assert_eq!(api.history("line").len(), line.recorded.len());

        server.kill();
        let remounted = Command::new("umount").arg(disk.path()).status().unwrap();
        assert!(remounted.success());
        let again = Command::new("mount")
            .args(["-o", "loop", &path])
            .arg(disk.path())
            .status();
        assert!(again.unwrap().success());
        let server = Server::start(serve(disk.path(), &OFTEN));
        line.is_that_of_the_recorded(&server.api());
        line.images(&server.api(), 5);
    });
}

#[test]
fn writes_that_fail_stop_recording_and_nothing_else() {
    const NAME: &str = "writes_that_fail_stop_recording_and_nothing_else";
    if Command::new("prlimit").arg("--version").output().is_err() {
        return rareclip_testkit::skipped(NAME, "prlimit");
    }
    let folder = tempfile::tempdir().unwrap();
    // With the signal ignored, a write beyond the bound is an error like that of a broken disk.
    let plain = serve(folder.path(), &OFTEN);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    command.arg(plain.get_program()).args(plain.get_args());
    command.env("RARECLIP_LOG", "warn,rareclip_server=info");
    let server = Server::start(command);
    let api = server.api();
    let mut line = Line::new(&api);
    line.images(&api, 25);
    let bound = |bytes: &str| {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &server.pid().to_string()]);
        let status = command.arg(format!("--fsize={bytes}:unlimited")).status();
        assert!(status.unwrap().success());
    };
    bound("0");
    line.until_unrecorded(&api, 10);
    let listed = problems(&api);
    assert!(
        listed.len() == 1 && listed[0].contains("rareclip.sqlite"),
        "{listed:?}"
    );
    let policy = json!({ "type": "fixed", "threshold": 0.4 });
    let refused = api.put_json("/v1/streams/line/threshold", &policy);
    assert!([503, 507].contains(&refused.status), "{}", refused.text());
    bound("unlimited");
    line.images(&api, 10);
    assert_eq!(problems(&api), [""; 0]);
    server.kill();
    let server = Server::start(serve(folder.path(), &OFTEN));
    line.is_that_of_the_recorded(&server.api());
}
