//! A detector is what its config says, wherever its components come from.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod common;

use common::{Bench, code, rareclip, rows, stderr, stdout};

fn scores(bench: &Bench, sets: &[&str]) -> Vec<f64> {
    let mut more = vec!["--json"];
    for set in sets {
        more.extend(["--set", set]);
    }
    let output = bench.scan(&more);
    assert_eq!(code(&output), 0, "{sets:?}: {}", stderr(&output));
    rows(&stdout(&output))
        .iter()
        .map(|row| row["score"].as_f64().unwrap())
        .collect()
}

#[test]
fn a_component_of_an_outside_crate_is_listed_and_described() {
    let list = stdout(&common::run(&["components", "list"]));
    for name in [
        "pixels",
        "window",
        "brute-force",
        "largest",
        "prototype",
        "rarity",
        "exact",
    ] {
        assert!(list.contains(name), "{name} is missing in\n{list}");
    }
    let shown = stdout(&common::run(&["components", "show", "window"]));
    assert!(
        shown.contains("Images remembered.") && shown.contains("1 to 1000"),
        "{shown}"
    );
}

#[test]
fn defaults_of_what_a_component_chooses_are_written_out_and_belong_to_a_state() {
    let bench = Bench::new(3, &[]);
    let index = "bank.index.type=\"brute-force\"";
    let shown = rareclip(&["config", "show", "--config", "pixels.toml", "--set", index])
        .current_dir(bench.folder.path())
        .output()
        .unwrap();
    assert!(
        stdout(&shown).contains("overlook = 0"),
        "{}",
        stdout(&shown)
    );
    let state = bench.text("state");
    let scan = |more: &[&str]| {
        let mut all = vec!["--state", &state, "--new-run", "--set", index];
        all.extend(more);
        bench.scan(&all)
    };
    assert_eq!(code(&scan(&[])), 0);
    assert_eq!(code(&scan(&["--set", "bank.index.overlook=0"])), 0);
    let refused = stderr(&scan(&["--set", "bank.index.overlook=3"]));
    assert!(
        refused.contains("bank.index.overlook was 0, is 3"),
        "{refused}"
    );
}

#[test]
fn bank_index_and_scorer_are_swapped_by_config_alone() {
    let bench = Bench::new(12, &[9]);
    let base = scores(&bench, &[]);
    let brute = scores(&bench, &["bank.index.type=\"brute-force\""]);
    assert_eq!(base.len(), brute.len());
    for (exact, brute) in base.iter().zip(&brute) {
        assert!((exact - brute).abs() < 1e-4, "{exact} and {brute}");
    }
    let direct = scores(
        &bench,
        &["bank.type=\"prototype-direct\"", "bank.blocks=[1,2]"],
    );
    let window = scores(&bench, &["bank.type=\"window\"", "scorer.type=\"largest\""]);
    let largest = scores(&bench, &["scorer.type=\"largest\""]);
    for (name, other) in [
        ("direct", &direct),
        ("window", &window),
        ("largest", &largest),
    ] {
        assert_ne!(other, &base, "{name}");
        let worst = other
            .iter()
            .enumerate()
            .skip(4)
            .max_by(|a, b| a.1.total_cmp(b.1))
            .unwrap();
        assert_eq!(worst.0, 9, "{name} does not find the defect: {other:?}");
    }
}

#[test]
fn the_backbone_is_swapped_by_config_alone() {
    if !common::weights("the_backbone_is_swapped_by_config_alone") {
        return;
    }
    let bench = Bench::new(6, &[5]);
    let vit = scores(
        &bench,
        &[
            "backbone.type=\"vit\"",
            "backbone.model=\"dinov2-small\"",
            "backbone.image_size=112",
        ],
    );
    assert_eq!(vit.len(), 6);
    assert_ne!(vit, scores(&bench, &[]));
    let worst = vit
        .iter()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(b.1))
        .unwrap();
    assert_eq!(worst.0, 5, "{vit:?}");
}

#[test]
fn a_typo_in_each_section_is_told_with_key_and_nearest() {
    let bench = Bench::new(1, &[]);
    for (key, value, nearest) in [
        ("nme", "\"x\"", "name"),
        ("backbone.image_sze", "56", "image_size"),
        ("bank.neighborhoods", "[1]", "neighbourhoods"),
        ("bank.type", "\"prototyp\"", "prototype"),
        ("bank.index.type", "\"exat\"", "exact"),
        (
            "bank.sampler.type",
            "\"sequential-corset\"",
            "sequential-coreset",
        ),
        ("scorer.type", "\"rarety\"", "rarity"),
        ("calibration.type", "\"quantil\"", "quantile"),
    ] {
        let output = bench.scan(&["--set", &format!("{key}={value}")]);
        let text = stderr(&output);
        assert_eq!(code(&output), 1, "{text}");
        assert!(text.contains(&format!("{key}: ")), "{key}: {text}");
        assert!(
            text.contains(&format!("did you mean `{nearest}`?")),
            "{key}: {text}"
        );
    }
}

#[test]
fn the_environment_configures_too() {
    let bench = Bench::new(1, &[]);
    let output = bench
        .command(&[])
        .env("RARECLIP_BANK__CAPACITY", "-1")
        .output()
        .unwrap();
    assert!(
        stderr(&output).contains("environment"),
        "{}",
        stderr(&output)
    );
    assert!(
        stderr(&output).contains("bank.capacity: found -1"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn every_built_in_config_is_valid_and_shows_every_default() {
    let list = stdout(&common::run(&["config", "list"]));
    assert!(list.lines().count() >= 2, "{list}");
    for line in list.lines() {
        let name = line.split_whitespace().next().unwrap();
        assert_eq!(code(&common::run(&["config", "check", name])), 0, "{name}");
        let shown = rareclip(&["config", "show", "--config", name])
            .output()
            .unwrap();
        let text = stdout(&shown);
        assert!(text.contains("image_size"), "{text}");
        assert!(name != "rarity-dinov2" || text.contains("rarity_threshold"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shown.toml");
        std::fs::write(&path, &text).unwrap();
        let again = common::run(&["config", "show", "--config", path.to_str().unwrap()]);
        assert_eq!(stdout(&again), text, "{name}: {}", stderr(&again));
    }
}
