//! The book: the repository's own pages, checked and built by mdBook.

mod links;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::steps::{root, run, tool};
use links::Document;

/// mdBook, pinned, and without the server that it has for writers.
const MDBOOK: (&str, &str) = ("mdbook", "0.5.4");
const FEATURES: [&str; 3] = ["--no-default-features", "--features", "search"];

/// The list of chapters, whose links are relative to its folder.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Resolves every link and anchor of every page of the repository, and compares the chapters with
/// the pages.
///
/// # Errors
/// With every link that leads nowhere, by file and line.
pub(crate) fn check() -> anyhow::Result<()> {
    let mut problems = links::problems(&root())?;
    if problems.is_empty() {
        problems = strays(&root(), &chapters(&root())?)?;
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!("the pages are not in order\n  {}", problems.join("\n  "));
}

/// Builds the book into `target/book/html`, after [`check`].
///
/// # Errors
/// When a link leads nowhere, or mdBook cannot be had or fails.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    check()?;
    let (root, home) = (root(), root().join("target/book"));
    if home.exists() {
        std::fs::remove_dir_all(&home).with_context(|| home.display().to_string())?;
    }
    lay_out(&root, &home)?;
    let mdbook = tool(MDBOOK.0, MDBOOK.1, &FEATURES)?;
    run(Command::new(mdbook).arg("build").arg(&home))?;
    Ok(home.join("html/index.html"))
}

/// The pages of the book in its order, from the root of the repository. A chapter without a page is
/// one that is announced.
fn chapters(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let summary = Document::read(&root.join(SUMMARY))?;
    let folder = Path::new(SUMMARY).parent().unwrap_or(Path::new(""));
    let links = summary.links.iter();
    links
        .filter(|link| !link.target.is_empty())
        .map(|link| {
            links::inside(folder, &link.target)
                .with_context(|| format!("{SUMMARY}: {}", link.target))
        })
        .collect()
}

/// Pages in `docs` that are no chapters, and pages that chapters link to but the book does not
/// have.
fn strays(root: &Path, chapters: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let known: BTreeSet<&PathBuf> = chapters.iter().collect();
    let mut found = Vec::new();
    for page in links::pages(&root.join("docs"))? {
        let page = page.strip_prefix(root).unwrap_or(&page).to_path_buf();
        if page != Path::new(SUMMARY) && !known.contains(&page) {
            found.push(format!(
                "{}: no chapter; add it to {SUMMARY}",
                page.display()
            ));
        }
    }
    for chapter in chapters {
        for link in links_of(root, chapter)? {
            let page = link.file.extension().is_some_and(|end| end == "md");
            if page && !known.contains(&link.file) {
                let (chapter, file) = (chapter.display(), link.file.display());
                found.push(format!(
                    "{chapter}: links to {file}, which is no chapter of {SUMMARY}"
                ));
            }
            let html = link.file.extension().is_some_and(|end| end == "html");
            if html && known.contains(&link.file.with_extension("md")) {
                let (chapter, file) = (chapter.display(), link.file.display());
                found.push(format!(
                    "{chapter}: links to {file}, whose name in the book is a chapter's"
                ));
            }
        }
    }
    Ok(found)
}

/// A link of a chapter to a file of the repository.
struct Inner {
    /// The link as it stands, without its anchor.
    written: String,
    /// The file, from the root; of a folder, the page that GitHub shows for it.
    file: PathBuf,
    /// Where the link as it stands begins in the text.
    start: usize,
}

fn links_of(root: &Path, chapter: &Path) -> anyhow::Result<Vec<Inner>> {
    let folder = chapter.parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    for link in Document::read(&root.join(chapter))?.links {
        let (path, _) = links::parts(&link.target);
        if links::scheme(&link.target).is_some() || path.is_empty() {
            continue;
        }
        let Some(mut file) = links::inside(folder, path) else {
            continue;
        };
        if root.join(&file).is_dir() {
            file.push("README.md");
        }
        found.push(Inner {
            written: path.to_owned(),
            file,
            start: link.start,
        });
    }
    Ok(found)
}

/// Copies the chapters and the files they link to into `home/src`, each at its place in the
/// repository: so the book has the README and the examples without a second copy, and a link is the
/// same there and here.
fn lay_out(root: &Path, home: &Path) -> anyhow::Result<()> {
    let source = home.join("src");
    for chapter in chapters(root)? {
        let mut text = std::fs::read_to_string(root.join(&chapter))?;
        let mut links = links_of(root, &chapter)?;
        links.sort_by_key(|link| std::cmp::Reverse(link.start));
        for link in links {
            if !link.file.ends_with("README.md") {
                copy(root, &source, &link.file)?;
                continue;
            }
            // mdBook makes `index.html` of a README, and leaves links to it as they are.
            let page = match root.join(&chapter).with_file_name(&link.written).is_dir() {
                true => format!("{}/index.md", link.written.trim_end_matches('/')),
                false => link.written.replace("README.md", "index.md"),
            };
            let end = link.start + link.written.len();
            text.replace_range(link.start..end, &page);
        }
        put(&source.join(as_index(&chapter)), &text)?;
    }
    let summary = std::fs::read_to_string(root.join(SUMMARY))?;
    put(&source.join("SUMMARY.md"), &from_root(&summary))?;
    for file in ["book.toml", "book.css"] {
        let from = root.join("docs").join(file);
        std::fs::copy(&from, home.join(file)).with_context(|| from.display().to_string())?;
    }
    Ok(())
}

fn as_index(chapter: &Path) -> PathBuf {
    match chapter.ends_with("README.md") {
        true => chapter.with_file_name("index.md"),
        false => chapter.to_path_buf(),
    }
}

/// The list of chapters with links from the root of the repository.
fn from_root(summary: &str) -> String {
    let text = summary.replace("](", "](docs/");
    let text = text.replace("](docs/../", "](").replace("](docs/)", "]()");
    text.replace("README.md)", "index.md)")
}

fn copy(root: &Path, source: &Path, file: &Path) -> anyhow::Result<()> {
    let (from, to) = (root.join(file), source.join(file));
    let markdown = file.extension().is_some_and(|end| end == "md");
    if markdown || !from.is_file() {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::copy(&from, &to).with_context(|| from.display().to_string())?;
    Ok(())
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            put(&folder.path().join(path), text).unwrap();
        }
        folder
    }

    const BOOK: [(&str, &str); 5] = [
        (
            "docs/SUMMARY.md",
            "[Front](../README.md)\n\n- [A](a.md)\n  - [Clients](../examples/README.md)\n- [To come]()\n",
        ),
        ("README.md", "[a](docs/a.md#there) [clients](examples)\n"),
        (
            "docs/a.md",
            "# There\n\n![](flow.svg) [front](../README.md#x)\n",
        ),
        ("docs/flow.svg", "<svg/>"),
        ("examples/README.md", "[a](../docs/a.md)\n"),
    ];

    #[test]
    fn a_page_that_is_no_chapter_is_named() {
        let folder = tree(&BOOK);
        put(&folder.path().join("docs/lost.md"), "# Lost\n").unwrap();
        let chapters = chapters(folder.path()).unwrap();
        assert_eq!(
            strays(folder.path(), &chapters).unwrap(),
            ["docs/lost.md: no chapter; add it to docs/SUMMARY.md"]
        );
    }

    #[test]
    fn a_chapter_that_links_to_a_page_outside_the_book_is_named() {
        let folder = tree(&BOOK);
        put(
            &folder.path().join("docs/a.md"),
            "[w](../weights/README.md)\n",
        )
        .unwrap();
        put(&folder.path().join("weights/README.md"), "# W\n").unwrap();
        let chapters = chapters(folder.path()).unwrap();
        assert_eq!(
            strays(folder.path(), &chapters).unwrap(),
            ["docs/a.md: links to weights/README.md, which is no chapter of docs/SUMMARY.md"]
        );
    }

    #[test]
    fn a_file_that_a_chapter_would_be_written_over_is_named() {
        let folder = tree(&BOOK);
        put(&folder.path().join("README.md"), "[report](docs/a.html)\n").unwrap();
        put(&folder.path().join("docs/a.html"), "").unwrap();
        let chapters = chapters(folder.path()).unwrap();
        assert_eq!(
            strays(folder.path(), &chapters).unwrap(),
            ["README.md: links to docs/a.html, whose name in the book is a chapter's"]
        );
    }

    #[test]
    fn pages_lie_in_the_book_where_they_lie_in_the_repository() {
        let folder = tree(&BOOK);
        put(&folder.path().join("docs/book.toml"), "[book]\n").unwrap();
        put(&folder.path().join("docs/book.css"), "").unwrap();
        let home = folder.path().join("out");
        lay_out(folder.path(), &home).unwrap();
        let read = |path: &str| std::fs::read_to_string(home.join("src").join(path)).unwrap();
        assert_eq!(
            read("index.md"),
            "[a](docs/a.md#there) [clients](examples/index.md)\n"
        );
        assert_eq!(
            read("docs/a.md"),
            "# There\n\n![](flow.svg) [front](../index.md#x)\n"
        );
        assert_eq!(read("docs/flow.svg"), "<svg/>");
        assert_eq!(
            read("SUMMARY.md"),
            "[Front](index.md)\n\n- [A](docs/a.md)\n  - [Clients](examples/index.md)\n- [To come]()\n"
        );
    }

    #[test]
    fn the_repository_s_own_pages_are_in_order() {
        if let Err(problems) = check() {
            panic!("{problems}");
        }
    }
}
