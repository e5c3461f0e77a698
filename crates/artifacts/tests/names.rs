//! Names of artefacts.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use rareclip_artifacts::{Error, resolve_model};

#[test]
fn a_name_that_is_neither_file_nor_model_lists_the_models() {
    let error = resolve_model("dinov2-smal").unwrap_err();
    assert!(
        matches!(&error, Error::UnknownName { nearest: Some(name), .. } if name == "dinov2-small")
    );
    assert!(matches!(
        resolve_model("some/path.safetensors").unwrap_err(),
        Error::Io { .. }
    ));
    assert!(matches!(
        resolve_model("onnxruntime").unwrap_err(),
        Error::UnknownName { .. }
    ));
}
