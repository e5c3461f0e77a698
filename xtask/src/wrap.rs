//! Refuses comments and Markdown that are wider than [`WIDTH`] columns: they are read beside code,
//! and compared line by line.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::steps::root;

/// Columns of a line of text.
const WIDTH: usize = 100;

/// Folders whose files `rareclip reference` writes.
const GENERATED: [&str; 3] = ["docs/components/", "docs/reference/", "docs/api/"];

/// Checks every file that git knows.
///
/// # Errors
/// Fails if a line is too wide, or a file cannot be read.
pub(crate) fn check() -> anyhow::Result<()> {
    let root = root();
    let listed = Command::new("git")
        .args(["ls-files", "*.rs", "*.md"])
        .current_dir(&root)
        .output()
        .context("git ls-files")?;
    let listed = String::from_utf8(listed.stdout).context("git ls-files")?;
    let mut found = 0;
    for name in listed.lines() {
        let path = root.join(name);
        if GENERATED.iter().any(|folder| name.starts_with(folder)) || !path.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| name.to_owned())?;
        for line in wide(Path::new(name), &text) {
            eprintln!("{name}:{line}: wider than {WIDTH} columns");
            found += 1;
        }
    }
    match found {
        0 => Ok(()),
        _ => bail!("{found} lines of comments or Markdown are too wide: wrap them"),
    }
}

/// The numbers of the lines that are too wide, from 1.
fn wide(name: &Path, text: &str) -> Vec<usize> {
    let markdown = name.extension().is_some_and(|extension| extension == "md");
    let mut fenced = false;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let body = match (markdown, comment(line)) {
            (true, _) => line,
            (false, Some(body)) => body,
            (false, None) => {
                fenced = false;
                continue;
            }
        };
        let body = body.trim();
        if body.starts_with("```") || body.starts_with("~~~") {
            fenced = !fenced;
        } else if !fenced && line.chars().count() > WIDTH && can_break(body) {
            found.push(number + 1);
        }
    }
    found
}

/// What a line of Rust says, where it is a comment.
fn comment(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("//")?;
    Some(rest.strip_prefix(['/', '!']).unwrap_or(rest))
}

/// Whether a line can be broken: not a row of a table, a heading, a definition of a link or markup,
/// and not one word. Code between backticks is one word.
fn can_break(body: &str) -> bool {
    let fixed = ["|", "#", "<", "!["].iter();
    if fixed.clone().any(|start| body.starts_with(start))
        || body.starts_with('[') && body.contains("]: ")
    {
        return false;
    }
    let text = body.trim_start_matches(['-', '*', '>', ' ']);
    let prose: String = text.split('`').step_by(2).collect();
    prose.trim().contains(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(name: &str, text: &str) -> Vec<usize> {
        wide(Path::new(name), text)
    }

    #[test]
    fn a_wide_comment_is_found_and_a_wide_line_of_code_is_the_formatters() {
        let words = "word ".repeat(20);
        let text = format!("fn a() {{\n    // {words}word\n    call(\"{words}\");\n}}\n");
        assert_eq!(lines("a.rs", &text), [2]);
        assert_eq!(lines("a.rs", &format!("/// {}\n", &words[..96])), [0; 0]);
    }

    #[test]
    fn what_cannot_be_broken_may_be_wide() {
        let words = "word ".repeat(30);
        let long = "w".repeat(120);
        for fixed in [
            format!("| {words} |"),
            format!("# {words}"),
            format!("* {long}"),
            format!("`{words}`"),
            format!("[1]: {long} \"a title\""),
            format!("```\n{words}\n```"),
        ] {
            assert_eq!(lines("a.md", &fixed), [0; 0], "{fixed}");
        }
        assert_eq!(lines("a.md", &format!("* {words}")), [1]);
        assert_eq!(lines("a.md", &format!("```\ncode\n```\n{words}")), [4]);
    }
}
