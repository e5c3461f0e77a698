//! Errors as they are told.

/// What went wrong and why. Causes that were told already are left out: many messages end with
/// theirs.
pub(crate) fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};
    use std::path::PathBuf;

    use anyhow::Context;
    use rareclip_core::{Slot, config::ConfigError};

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let source = rareclip_artifacts::Error::Io {
            path: PathBuf::from("w.pth"),
            source: Error::new(ErrorKind::NotFound, "no such file"),
        };
        let error = rareclip_core::Error::Component {
            slot: Slot::Prompt,
            name: "tpb".into(),
            source: source.into(),
        };
        let error = anyhow::Error::from(error).context("detector a");
        assert_eq!(
            told(&error),
            "detector a: prompt `tpb`: w.pth: no such file"
        );
    }

    #[test]
    fn a_cause_that_is_new_is_told() {
        let error = ConfigError::single("bank", None, "is empty".into());
        let error = Err::<(), _>(error).context("a.toml").unwrap_err();
        assert_eq!(
            told(&error),
            "a.toml: invalid configuration\n  bank: is empty"
        );
    }
}
