//! Which components and options a config from a request may choose.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{
    BoxError, Component, ErasedBank, MemoryBankFactory, Slot, Trust, VectorIndex,
    VectorIndexFactory, register, typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

/// Options read or components built; a check must do neither.
static TOUCHED: AtomicU32 = AtomicU32::new(0);

fn touching<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    TOUCHED.fetch_add(1, Ordering::Relaxed);
    f64::deserialize(deserializer)
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Plain,
    Fancy,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Inner {
    depth: u32,
    file: String,
}

/// Options of every kind.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Options {
    #[serde(deserialize_with = "touching")]
    size: f64,
    exact: bool,
    mode: Mode,
    list: Vec<u32>,
    names: Vec<String>,
    inner: Inner,
    text: String,
    /// A label that nothing reads.
    #[schemars(extend("x-text" = "harmless"))]
    label: Option<String>,
    anything: Value,
    index: Arc<dyn VectorIndexFactory>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            size: 1.0,
            exact: false,
            mode: Mode::Plain,
            list: Vec::new(),
            names: Vec::new(),
            inner: Inner::default(),
            text: "usual".into(),
            label: None,
            anything: Value::Null,
            index: rareclip_core::index::named("plain"),
        }
    }
}

#[typetag::serde(name = "harmless")]
impl MemoryBankFactory for Options {
    fn blocks(&self) -> Vec<usize> {
        TOUCHED.fetch_add(1, Ordering::Relaxed);
        Vec::new()
    }

    fn build(&self, _: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        TOUCHED.fetch_add(1, Ordering::Relaxed);
        Err("not built in this test".into())
    }
}

/// An index without options.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Plain {}

#[typetag::serde(name = "plain")]
impl VectorIndexFactory for Plain {
    fn build(&self, _: usize, _: usize) -> Result<Box<dyn VectorIndex>, BoxError> {
        Err("not built in this test".into())
    }
}

/// The same options under another name.
macro_rules! also {
    ($($name:literal => $factory:ident for $options:ident($inner:ty) { $($method:item)* })+) => {$(
        #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        struct $options($inner);

        #[typetag::serde(name = $name)]
        impl $factory for $options {
            $($method)*
        }
    )+};
}

also! {
    "acme" => MemoryBankFactory for Acme(Options) {
        fn blocks(&self) -> Vec<usize> {
            self.0.blocks()
        }

        fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
            self.0.build(backbone)
        }
    }
    "runner" => MemoryBankFactory for Runner(Options) {
        fn blocks(&self) -> Vec<usize> {
            self.0.blocks()
        }

        fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
            self.0.build(backbone)
        }
    }
    "loader" => VectorIndexFactory for Loader(Plain) {
        fn build(&self, width: usize, capacity: usize) -> Result<Box<dyn VectorIndex>, BoxError> {
            self.0.build(width, capacity)
        }
    }
}

register! {
    bank Options;
    bank Acme;
    bank Runner, reaches [commands, sockets];
    index Plain;
    index Loader, reaches [files, weights,];
}

/// Trusts every component of this file but `acme`.
fn trust() -> Trust {
    let ours = |one: &&Component| one.name != "acme";
    Trust::of(rareclip_core::registry::components().iter().filter(ours))
}

fn check(trust: &Trust, table: Value) -> Result<(), String> {
    let Value::Object(table) = table else {
        panic!("no table");
    };
    let before = TOUCHED.load(Ordering::Relaxed);
    let checked = trust.check(Slot::Bank, &table, "bank");
    assert_eq!(TOUCHED.load(Ordering::Relaxed), before, "code has run");
    checked.map_err(|error| error.to_string())
}

#[track_caller]
fn refused(trust: &Trust, table: Value, parts: &[&str]) {
    let message = check(trust, table.clone()).unwrap_err();
    for part in parts {
        assert!(
            message.contains(part),
            "{part} is missing for {table}: {message}"
        );
    }
}

// The counter of what has run is shared, so that everything is one test.
#[test]
fn only_what_reaches_nothing_may_be_chosen_and_nothing_runs_meanwhile() {
    let trust = trust();
    numbers_names_and_tables(&trust);
    free_text(&trust);
    components(&trust);
    allowed_by_name(trust);
}

fn numbers_names_and_tables(trust: &Trust) {
    for table in [
        json!({"type": "harmless"}),
        json!({"type": "harmless", "size": 3.5, "exact": true, "mode": "fancy", "list": [1, 2]}),
        json!({"type": "harmless", "inner": {"depth": 3}, "names": []}),
        json!({"type": "harmless", "label": "left camera", "index": {"type": "plain"}}),
        // What they are anyway.
        json!({"type": "harmless", "text": "usual", "anything": null}),
    ] {
        assert_eq!(check(trust, table.clone()), Ok(()), "{table}");
    }
}

fn free_text(trust: &Trust) {
    for (option, value) in [
        ("text", json!("/etc/passwd")),
        ("text", json!("plainword")),
        ("names", json!(["sh"])),
        ("inner", json!({"file": "x"})),
        ("anything", json!("x")),
        ("anything", json!({"a": 1})),
    ] {
        let table = json!({"type": "harmless", option: value});
        refused(
            trust,
            table,
            &[&format!("bank.{option}"), "request", "bank/harmless"],
        );
    }
    refused(
        trust,
        json!({"type": "harmless", "size": "x"}),
        &["bank.size"],
    );
    refused(
        trust,
        json!({"type": "harmless", "other": 1}),
        &["bank.other"],
    );
}

fn components(trust: &Trust) {
    refused(
        trust,
        json!({"type": "runner"}),
        &[
            "`runner`",
            "commands, sockets",
            "--allow-component bank/runner",
        ],
    );
    refused(
        trust,
        json!({"type": "acme"}),
        &[
            "`acme`",
            "not part of the program",
            "--allow-component bank/acme",
        ],
    );
    refused(
        trust,
        json!({"type": "harmless", "index": {"type": "loader"}}),
        &["bank.index", "files, weights", "index/loader"],
    );
    refused(
        trust,
        json!({"type": "harmles"}),
        &["did you mean `harmless`"],
    );
    refused(trust, json!({"size": 1.0}), &["bank.type"]);
    for name in ["harmless", "acme", "runner"] {
        refused(
            &Trust::default(),
            json!({"type": name}),
            &["a request cannot choose"],
        );
    }
}

fn allowed_by_name(mut trust: Trust) {
    let unknown = trust.allow("bank/acne").unwrap_err().to_string();
    assert!(unknown.contains("did you mean `bank/acme`"), "{unknown}");
    assert!(trust.allow("acme").is_err());
    trust.allow("bank/acme").unwrap();
    let table = json!({"type": "acme", "text": "/tmp/x", "anything": {"a": ["b"]}});
    assert_eq!(check(&trust, table), Ok(()));
    // What it chooses in turn is not allowed with it.
    let table = json!({"type": "acme", "index": {"type": "loader"}});
    refused(&trust, table, &["index/loader"]);
    refused(&trust, json!({"type": "runner"}), &["`runner`"]);
    trust.allow("index/loader").unwrap();
    let table = json!({"type": "harmless", "index": {"type": "loader"}});
    assert_eq!(check(&trust, table.clone()), Ok(()));
    assert!(trust.allows_part_of(Slot::Bank, table.as_object().unwrap()));
    let plain = json!({"type": "harmless"});
    assert!(!trust.allows_part_of(Slot::Bank, plain.as_object().unwrap()));
}
