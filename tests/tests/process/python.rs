//! The host in Python of `examples/python-plugin`, killed in the middle of a stream.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::assert_says;
use super::common::{Bench, line_from};
use super::stream::{Scan, scan};

/// A Python with the modules: `RARECLIP_PYTHON`, that of `python-plugin` in the cache folder, or
/// the system's. `None`, after saying so, where there is none: `test` must end then.
pub(crate) fn python(test: &str, modules: &str) -> Option<PathBuf> {
    let named = ["RARECLIP_PYTHON", "RARECLIP_SKLEARN_PYTHON"]
        .into_iter()
        .filter_map(|name| std::env::var_os(name).map(PathBuf::from));
    let cached =
        rareclip_artifacts::cache_dir().map(|folder| folder.join("python-plugin/bin/python"));
    let mut candidates = named.chain(cached).chain(["python3".into()]);
    let works = |python: &PathBuf| {
        let mut command = Command::new(python);
        command.args(["-c", &format!("import {modules}")]);
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let found = candidates.find(works);
    if found.is_none() {
        let needs = format!(
            "a Python with {modules}: RARECLIP_PYTHON, or `python3 -m venv CACHE/python-plugin` and `pip install -r examples/python-plugin/requirements.txt` in it"
        );
        rareclip_testkit::skipped(test, &needs);
    }
    found
}

pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/python-plugin")
        .join(name)
}

/// A host that runs as a service of its own.
pub(crate) struct Listening {
    pub(crate) address: String,
    child: std::process::Child,
    _folder: tempfile::TempDir,
}

impl Listening {
    pub(crate) fn start(python: &Path, host: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("host");
        let address = format!("unix:{}", socket.display());
        let mut command = Command::new(python);
        command.arg(host).args(["--listen", &address]);
        let child = command.spawn().unwrap();
        let start = std::time::Instant::now();
        while !socket.exists() {
            assert!(start.elapsed().as_secs() < 60, "the host does not listen");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Self {
            address,
            child,
            _folder: folder,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The example's config with this Python, on the images of `bench`. A host that is to be killed is
/// a slow one.
fn run(bench: &Bench, python: &Path, config: &str, more: &[&str], kills: &[usize]) -> Scan {
    let text = std::fs::read_to_string(example(config)).unwrap();
    let command = "[\"python3\", \"examples/python-plugin/host.py\"]";
    assert!(text.contains(command), "{config} names another command");
    let host = example("host.py");
    let ours = if kills.is_empty() {
        serde_json::json!([python, host])
    } else {
        let slow = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/slow_host.py");
        serde_json::json!([python, slow, host])
    };
    let ours = ours.to_string();
    scan(bench, &text.replace(command, &ours), more, kills)
}

#[test]
fn the_numpy_bank_survives_being_killed_with_the_same_scores() {
    let test = "the_numpy_bank_survives_being_killed_with_the_same_scores";
    let Some(python) = python(test, "numpy") else {
        return;
    };
    let bench = Bench::new(40, &[33]);
    let undisturbed = run(&bench, &python, "nearest.toml", &[], &[]);
    assert_eq!(undisturbed.code, Some(0), "{}", undisturbed.stderr);
    let killed = run(&bench, &python, "nearest.toml", &[], &[4, 17]);
    assert_eq!(killed.code, Some(0), "{}", killed.stderr);
    assert_eq!(killed.scores(), undisturbed.scores());
    assert_says(
        &killed.stderr,
        &[
            "bank `nearest`",
            "killed by signal 9",
            "its memory is as it was",
        ],
    );
    let worst = killed.rows.iter().skip(1).max_by(|a, b| {
        let score = |row: &serde_json::Value| row["score"].as_f64().unwrap();
        score(a).total_cmp(&score(b))
    });
    assert_eq!(worst.unwrap()["image"], "images/img33.png");
}

#[test]
fn the_scikit_learn_detectors_survive_being_killed_and_find_the_defect() {
    let test = "the_scikit_learn_detectors_survive_being_killed_and_find_the_defect";
    let Some(python) = python(test, "numpy, sklearn") else {
        return;
    };
    let bench = Bench::new(16, &[11]);
    line_from(&bench.path("normals"), 500, 8, &[]);
    for detector in [
        "local-outlier-factor",
        "isolation-forest",
        "elliptic-envelope",
    ] {
        let set = format!("bank.options.detector=\"{detector}\"");
        let more = ["--normals", "normals", "--set", &set];
        let undisturbed = run(&bench, &python, "outliers.toml", &more, &[]);
        assert_eq!(
            undisturbed.code,
            Some(0),
            "{detector}: {}",
            undisturbed.stderr
        );
        // Bank and scorer at once.
        let killed = run(&bench, &python, "outliers.toml", &more, &[5]);
        assert_eq!(killed.code, Some(0), "{detector}: {}", killed.stderr);
        assert_eq!(killed.scores(), undisturbed.scores(), "{detector}");
        assert_says(
            &killed.stderr,
            &[
                "bank `outliers`",
                "scorer `top-patches`",
                "killed by signal 9",
            ],
        );
        let worst = killed.rows.iter().max_by(|a, b| {
            let score = |row: &serde_json::Value| row["score"].as_f64().unwrap();
            score(a).total_cmp(&score(b))
        });
        assert_eq!(worst.unwrap()["image"], "images/img11.png", "{detector}");
    }
}

#[test]
fn a_mistake_in_the_options_of_a_python_component_is_explained() {
    let Some(python) = python(
        "a_mistake_in_the_options_of_a_python_component_is_explained",
        "numpy",
    ) else {
        return;
    };
    let bench = Bench::new(1, &[]);
    let scan = run(
        &bench,
        &python,
        "nearest.toml",
        &["--set", "bank.options.imagse=5"],
        &[],
    );
    assert_eq!(scan.code, Some(1));
    assert_says(
        &scan.stderr,
        &["options.imagse: unknown key", "did you mean `images`"],
    );
    let scan = run(
        &bench,
        &python,
        "outliers.toml",
        &[
            "--set",
            "bank.options.detector=\"forest\"",
            "--normals",
            "images",
        ],
        &[],
    );
    assert_eq!(scan.code, Some(1));
    assert_says(
        &scan.stderr,
        &["options.detector: found \"forest\"", "`isolation-forest`"],
    );
}

#[test]
fn a_python_host_that_cannot_start_is_blamed_with_its_traceback() {
    let Some(python) = python(
        "a_python_host_that_cannot_start_is_blamed_with_its_traceback",
        "numpy",
    ) else {
        return;
    };
    let bench = Bench::new(1, &[]);
    std::fs::write(
        bench.path("broken.py"),
        "import numpy\nimport no_such_module\n",
    )
    .unwrap();
    let config = super::stream::config(
        &[python.display().to_string(), bench.text("broken.py")],
        "nearest",
        "type = \"largest\"",
    );
    let scan = scan(&bench, &config, &[], &[]);
    assert_eq!(scan.code, Some(1));
    assert_says(
        &scan.stderr,
        &[
            "broken.py",
            "ended with exit code 1 before it had connected",
            "No module named 'no_such_module'",
        ],
    );
}
