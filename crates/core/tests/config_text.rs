//! Config files as editors and scripts write them.
#![allow(clippy::unwrap_used, reason = "test code")]

use rareclip_core::config::ConfigBuilder;

/// The error of a file, also after all layers are put together; empty where its text is accepted.
fn read(name: &str, text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    match ConfigBuilder::new().file(&path) {
        Err(error) => error.to_string(),
        Ok(_) => String::new(),
    }
}

#[test]
fn a_byte_order_mark_is_passed_over_in_every_format() {
    for (name, text) in [
        ("c.toml", "name = \"t\"\n"),
        (
            "c.yaml",
            "name: t\nbackbone: &b {type: x, list: [1, 2.5, null, true]}\n",
        ),
        ("c.json", "{\"name\": \"t\"}"),
    ] {
        assert_eq!(read(name, text), "", "{name}");
        assert_eq!(
            read(name, &format!("\u{feff}{text}")),
            "",
            "{name} with a mark"
        );
    }
    assert!(
        ConfigBuilder::new()
            .toml("text", "\u{feff}name = \"t\"\n")
            .is_ok()
    );
}

#[test]
fn a_key_given_twice_is_refused_by_name_in_every_format() {
    for (name, text) in [
        (
            "c.toml",
            "name = \"t\"\n[bank]\ncapacity = 3.0\ncapacity = 9.0\n",
        ),
        (
            "c.yaml",
            "name: t\nbank:\n  capacity: 3.0\n  capacity: 9.0\n",
        ),
        (
            "c.json",
            "{\"name\": \"t\", \"bank\": {\"capacity\": 3.0, \"capacity\": 9.0}}",
        ),
        (
            "d.json",
            "{\"name\": \"t\", \"bank\": [{\"capacity\": 3.0, \"capacity\": 9.0}]}",
        ),
    ] {
        let error = read(name, text);
        assert!(
            error.contains("capacity") && error.contains(name),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn numbers_that_are_not_finite_are_named_with_their_key() {
    let build = |text: &str| {
        let builder = ConfigBuilder::new().toml("text", text).unwrap();
        builder.build().unwrap_err().to_string()
    };
    for (text, words) in [
        (
            "[calibrator]\nthreshold = inf\n",
            ["calibrator.threshold", "is inf"],
        ),
        (
            "[calibrator]\nthreshold = nan\n",
            ["calibrator.threshold", "is NaN"],
        ),
        ("[bank]\nlist = [1.0, -inf]\n", ["bank.list[1]", "is -inf"]),
    ] {
        let error = build(text);
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        assert!(error.contains("expected a finite number"), "{error}");
    }
}
