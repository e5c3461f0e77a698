//! Links of Markdown pages, resolved in the repository alone: addresses elsewhere are looked at,
//! not asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// A link or picture.
pub(super) struct Link {
    /// Where it leads, as it stands.
    pub(super) target: String,
    /// Where the target begins in the text.
    pub(super) start: usize,
    line: usize,
}

/// What of a page concerns links.
pub(super) struct Document {
    pub(super) links: Vec<Link>,
    /// Lines with links in HTML, which are not looked into.
    html: Vec<usize>,
    anchors: BTreeSet<String>,
}

impl Document {
    /// Reads a page.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut document = Self {
            links: Vec::new(),
            html: Vec::new(),
            anchors: BTreeSet::new(),
        };
        let line = |position: usize| 1 + text[..position].matches('\n').count();
        let mut heading: Option<String> = None;
        let mut seen = BTreeMap::new();
        let parser = Parser::new_ext(text, Options::ENABLE_TABLES);
        for (event, range) in parser.into_offset_iter() {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    // A link by reference has its target elsewhere.
                    let written = text[range.clone()].rfind(&*dest_url);
                    document.links.push(Link {
                        start: range.start + written.unwrap_or(0),
                        target: dest_url.into_string(),
                        line: line(range.start),
                    });
                }
                Event::Html(html) | Event::InlineHtml(html)
                    if html.contains("href=") || html.contains("src=") =>
                {
                    document.html.push(line(range.start));
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::Text(words) | Event::Code(words) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                }
                Event::End(TagEnd::Heading(_)) => {
                    let slug = slug(&heading.take().unwrap_or_default());
                    let count = seen.entry(slug.clone()).or_insert(0);
                    document.anchors.insert(match *count {
                        0 => slug,
                        count => format!("{slug}-{count}"),
                    });
                    *count += 1;
                }
                _ => {}
            }
        }
        document
    }
}

/// The anchor of a heading, on GitHub and in mdBook alike.
fn slug(heading: &str) -> String {
    heading
        .chars()
        .filter_map(|letter| match letter {
            letter if letter.is_whitespace() => Some('-'),
            letter if letter.is_alphanumeric() || "-_".contains(letter) => Some(letter),
            _ => None,
        })
        .flat_map(char::to_lowercase)
        .collect()
}

/// A target's path and anchor.
pub(super) fn parts(target: &str) -> (&str, Option<&str>) {
    match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    }
}

/// `https` of `https://…`; none of a path.
pub(super) fn scheme(target: &str) -> Option<&str> {
    let (scheme, _) = target.split_once(':')?;
    let letters = scheme
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
    letters.then_some(scheme)
}

/// `path`, which stands in `folder`, from the root; none where it leaves the repository.
pub(super) fn inside(folder: &Path, path: &str) -> Option<PathBuf> {
    let mut found = PathBuf::new();
    for part in folder.join(path).components() {
        match part {
            Component::Normal(name) => found.push(name),
            Component::CurDir => {}
            Component::ParentDir if found.pop() => {}
            _ => return None,
        }
    }
    Some(found)
}

/// Every Markdown page under `folder`, build outputs, templates and hidden folders left out.
///
/// # Errors
/// When a folder cannot be read.
pub(super) fn pages(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.')
            || ["target", "node_modules", "templates", "venv"].contains(&&*name)
        {
            continue;
        }
        if path.is_dir() {
            found.extend(pages(&path)?);
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Every link under `root` that leads nowhere, as `file:line: what is wrong`.
///
/// # Errors
/// When a page cannot be read.
pub(super) fn problems(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut documents = BTreeMap::new();
    for page in pages(root)? {
        let name = page.strip_prefix(root).unwrap_or(&page).to_path_buf();
        documents.insert(name, Document::read(&page)?);
    }
    let mut found = Vec::new();
    for (name, document) in &documents {
        for line in &document.html {
            found.push(format!(
                "{}:{line}: a link in HTML; write it in Markdown",
                name.display()
            ));
        }
        for link in &document.links {
            if let Some(problem) = problem(root, name, &link.target, &documents) {
                let (name, line, target) = (name.display(), link.line, &link.target);
                found.push(format!("{name}:{line}: `{target}`: {problem}"));
            }
        }
    }
    Ok(found)
}

fn problem(
    root: &Path,
    page: &Path,
    target: &str,
    documents: &BTreeMap<PathBuf, Document>,
) -> Option<&'static str> {
    if let Some(scheme) = scheme(target) {
        return elsewhere(scheme, target);
    }
    let (path, anchor) = parts(target);
    let mut file = match path {
        "" => page.to_path_buf(),
        path => match inside(page.parent().unwrap_or(Path::new("")), path) {
            Some(file) => file,
            None => return Some("leaves the repository"),
        },
    };
    if root.join(&file).is_dir() {
        file.push("README.md");
        if !root.join(&file).is_file() {
            return Some("a folder without a README.md; link to a file in it");
        }
    }
    if !root.join(&file).is_file() {
        return Some("no such file");
    }
    match (anchor, documents.get(&file)) {
        (Some(anchor), Some(document)) if !document.anchors.contains(anchor) => {
            Some("no such heading")
        }
        _ => None,
    }
}

/// Whether an address elsewhere can be one.
fn elsewhere(scheme: &str, target: &str) -> Option<&'static str> {
    match scheme {
        "mailto" => None,
        "http" | "https" => {
            let rest = target.split_once("://").map(|(_, rest)| rest);
            let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
            let well_formed = host.is_some_and(|host| {
                let allowed =
                    |letter: char| letter.is_ascii_alphanumeric() || ".-:".contains(letter);
                !host.is_empty() && host.chars().all(allowed)
            });
            (!well_formed).then_some("not an address")
        }
        _ => Some("neither a path nor http, https or mailto"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let file = folder.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        problems(folder.path()).unwrap()
    }

    #[test]
    fn a_link_to_a_file_that_is_not_there_is_named_by_file_and_line() {
        assert_eq!(
            found(&[("docs/a.md", "# A\n\n[b](b.md)\n")]),
            ["docs/a.md:3: `b.md`: no such file"]
        );
    }

    #[test]
    fn a_picture_counts_as_a_link() {
        assert_eq!(
            found(&[("a.md", "![flow](flow.svg)\n")]),
            ["a.md:1: `flow.svg`: no such file"]
        );
    }

    #[test]
    fn an_anchor_must_be_a_heading_of_the_page() {
        let page = "# A `b` & c_d - what?\n\n## Twice\n\n## Twice\n";
        assert_eq!(
            found(&[
                ("a.md", page),
                (
                    "b.md",
                    "[1](a.md#a-b--c_d---what) [2](a.md#twice-1) [3](a.md#twice-2)\n"
                )
            ]),
            ["b.md:1: `a.md#twice-2`: no such heading"]
        );
    }

    #[test]
    fn an_anchor_alone_is_one_of_the_page_itself() {
        assert_eq!(
            found(&[("a.md", "# Here\n[1](#here) [2](#there)\n")]),
            ["a.md:2: `#there`: no such heading"]
        );
    }

    #[test]
    fn a_folder_is_its_readme() {
        assert_eq!(
            found(&[
                ("a.md", "[1](with) [2](without)\n"),
                ("with/README.md", ""),
                ("without/x.txt", "")
            ]),
            ["a.md:1: `without`: a folder without a README.md; link to a file in it"]
        );
    }

    #[test]
    fn a_link_stays_in_the_repository() {
        assert_eq!(
            found(&[("docs/a.md", "[1](../../b.md) [2](/etc/hosts)\n")]),
            [
                "docs/a.md:1: `../../b.md`: leaves the repository",
                "docs/a.md:1: `/etc/hosts`: leaves the repository"
            ]
        );
    }

    #[test]
    fn an_address_elsewhere_is_looked_at_only() {
        assert_eq!(
            found(&[(
                "a.md",
                "<https://example.org/x?y#z> [1](https:///x) [2](ftp://example.org)\n"
            )]),
            [
                "a.md:1: `https:///x`: not an address",
                "a.md:1: `ftp://example.org`: neither a path nor http, https or mailto"
            ]
        );
    }

    #[test]
    fn what_stands_in_code_is_no_link() {
        assert!(found(&[("a.md", "`[b](b.md)`\n\n```\n[b](b.md)\n```\n")]).is_empty());
    }

    #[test]
    fn a_link_in_html_is_refused() {
        assert_eq!(
            found(&[("a.md", "text\n\n<img src=\"x.png\">\n")]),
            ["a.md:3: a link in HTML; write it in Markdown"]
        );
    }
}
