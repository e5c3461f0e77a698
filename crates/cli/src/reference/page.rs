//! The pages of the reference: their text, and those that lie in a folder.

use std::path::Path;

use anyhow::Context;

use super::markdown;

/// Stands at the head of every page.
const NOTICE: &str = "<!-- Written by `rareclip reference`. Do not edit: change the declaration it is made from, and run \
`cargo run -p rareclip -- reference --out docs`. -->";

/// One page.
pub(super) struct Page {
    /// Where it goes, from the folder, with `/`.
    pub(super) path: String,
    /// Its Markdown.
    pub(super) text: String,
}

impl Page {
    /// A page with the notice at its head.
    pub(super) fn new(path: impl Into<String>, body: &str) -> Self {
        Self {
            path: path.into(),
            text: format!("{NOTICE}\n\n{}\n", body.trim_end()),
        }
    }
}

/// The pages in a folder that this program wrote, by name, with their first paragraph. An absent
/// folder has none.
pub(super) fn written(folder: &Path) -> anyhow::Result<Vec<Written>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| folder.display().to_string()),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let (Some(name), true) = (name, path.extension().is_some_and(|end| end == "md")) else {
            continue;
        };
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let Some(body) = text.strip_prefix(NOTICE) else {
            continue;
        };
        found.push(Written {
            name: name.to_owned(),
            summary: markdown::paragraph(body, 1),
            text: text.clone(),
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// A page that lies in the folder.
pub(super) struct Written {
    pub(super) name: String,
    pub(super) summary: String,
    pub(super) text: String,
}
