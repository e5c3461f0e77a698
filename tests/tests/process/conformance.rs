//! The contracts of the slots, held by components in another process.

use rareclip_testkit::conformance;
use serde_json::{Value, json};

use super::host;

fn served(plan: Value) -> Value {
    json!({ "command": host(&plan), "blocks": [1] })
}

#[test]
fn a_bank_that_learns_from_the_stream() {
    conformance::bank("process")
        .options(served(json!({})))
        .check();
}

#[test]
fn a_bank_with_a_training_pass() {
    let plan = json!({ "learning": "fit" });
    conformance::bank("process").options(served(plan)).check();
}

#[test]
fn a_bank_that_compares_the_images_of_a_set() {
    let plan = json!({ "learning": "batch", "state": "none" });
    conformance::bank("process").options(served(plan)).check();
}

#[test]
fn a_scorer() {
    let plan = json!({ "slot": "scorer" });
    conformance::scorer("process").options(served(plan)).check();
}

#[test]
fn a_prompt_head() {
    let plan = json!({ "slot": "prompt", "state": "none" });
    conformance::prompt("process").options(served(plan)).check();
}

#[test]
fn a_backbone() {
    let plan = json!({ "slot": "backbone", "state": "none" });
    let options = json!({ "command": host(&plan) });
    conformance::backbone("process").options(options).check();
}

#[cfg(target_os = "linux")]
#[test]
fn the_components_in_python() {
    let Some(python) = super::python::python("the_components_in_python", "numpy, sklearn") else {
        return;
    };
    // The kit builds hundreds of them, which one host serves.
    let host = super::python::Listening::start(&python, &super::python::example("host.py"));
    let served = |component: &str, options: Value| json!({ "address": host.address, "component": component, "blocks": [1], "options": options });
    conformance::bank("process")
        .options(served("nearest", json!({ "images": 3 })))
        .check();
    conformance::bank("process")
        .options(served("outliers", json!({ "patches_kept": 64 })))
        .check();
    conformance::scorer("process")
        .options(served("top-patches", json!({})))
        .check();
}

#[cfg(target_os = "linux")]
#[test]
fn the_bank_that_the_guide_writes() {
    let Some(python) = super::python::python("the_bank_that_the_guide_writes", "numpy") else {
        return;
    };
    let guide = std::fs::read_to_string(super::python::example("README.md")).unwrap();
    let code = guide.split("```python\n").nth(1).unwrap();
    let code = code.split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for library in ["rareclip_host.py", "rareclip_wire.py"] {
        std::fs::copy(super::python::example(library), folder.path().join(library)).unwrap();
    }
    std::fs::write(folder.path().join("host.py"), code).unwrap();
    let host = super::python::Listening::start(&python, &folder.path().join("host.py"));
    conformance::bank("process")
        .options(json!({ "address": host.address, "blocks": [1] }))
        .check();
}
