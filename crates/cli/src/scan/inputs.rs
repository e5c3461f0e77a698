//! Which images, in which order.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Endings of files that a folder is searched for.
const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "jfif"];

/// An image to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageFile {
    /// The name in the results, `/`-separated.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
}

impl AsRef<Path> for ImageFile {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

/// The images that `specs` name, in order: files as they are, folders recursively in natural order,
/// globs in natural order, `-` as a list on stdin.
///
/// # Errors
/// When a folder or glob holds no image, or stdin cannot be read. A file that is not there is an
/// image that cannot be read: reported when its turn comes.
pub(crate) fn collect(specs: &[String], root: Option<&Path>) -> anyhow::Result<Vec<ImageFile>> {
    let mut inputs = Vec::new();
    for spec in specs {
        if spec == "-" {
            for line in std::io::stdin().lock().lines() {
                let line = line.context("list of images on stdin")?;
                // Only the first line can have a byte-order mark; no name starts with one.
                let line = line.trim_start_matches('\u{feff}').to_owned();
                let line = line.trim();
                if !line.is_empty() {
                    inputs.push(input(line, root));
                }
            }
            continue;
        }
        let path = root.map_or_else(|| PathBuf::from(spec), |root| root.join(spec));
        if path.is_dir() {
            let found = folder(&path, root)?;
            if found.is_empty() {
                bail!(
                    "folder {} holds no images (looked for {})",
                    path.display(),
                    ENDINGS.join(", ")
                );
            }
            inputs.extend(found);
        } else if !path.exists() && spec.contains(['*', '?', '[']) {
            inputs.extend(expand(&path, root)?);
        } else {
            inputs.push(input(spec, root));
        }
    }
    Ok(inputs)
}

/// The images in a folder and its subfolders, in natural order.
///
/// # Errors
/// When a folder cannot be read.
pub(crate) fn folder(folder: &Path, root: Option<&Path>) -> anyhow::Result<Vec<ImageFile>> {
    let mut paths = Vec::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(current) = pending.pop() {
        let entries =
            std::fs::read_dir(&current).with_context(|| format!("folder {}", current.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("folder {}", current.display()))?;
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            let path = entry.path();
            if hidden {
                continue;
            }
            // Links to folders are not followed: they can go round in a circle.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(path);
            } else if is_image(&path) && path.is_file() {
                paths.push(path);
            }
        }
    }
    Ok(natural(paths, root))
}

fn expand(pattern: &Path, root: Option<&Path>) -> anyhow::Result<Vec<ImageFile>> {
    let text = pattern.to_string_lossy();
    let paths = glob::glob(&text).with_context(|| format!("pattern {text}"))?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.with_context(|| format!("pattern {text}"))?;
        if path.is_dir() {
            files.extend(folder(&path, None)?.into_iter().map(|input| input.path));
        } else {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("pattern {text} matches no file");
    }
    Ok(natural(files, root))
}

fn natural(paths: Vec<PathBuf>, root: Option<&Path>) -> Vec<ImageFile> {
    let mut inputs: Vec<ImageFile> = paths
        .into_iter()
        .map(|path| {
            let shown = root
                .and_then(|root| path.strip_prefix(root).ok())
                .unwrap_or(&path);
            ImageFile {
                name: slashes(shown),
                path,
            }
        })
        .collect();
    inputs.sort_by(|a, b| rareclip_datasets::natural_cmp(&a.name, &b.name));
    inputs
}

fn input(spec: &str, root: Option<&Path>) -> ImageFile {
    ImageFile {
        name: slashes(Path::new(spec)),
        path: root.map_or_else(|| PathBuf::from(spec), |root| root.join(spec)),
    }
}

fn slashes(path: &Path) -> String {
    let text = path.to_string_lossy();
    if std::path::MAIN_SEPARATOR == '/' {
        text.into_owned()
    } else {
        text.replace(std::path::MAIN_SEPARATOR, "/")
    }
}

fn is_image(path: &Path) -> bool {
    path.extension()
        .and_then(|ending| ending.to_str())
        .is_some_and(|ending| ENDINGS.contains(&ending.to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        folder
    }

    fn names(specs: &[&str], root: &Path) -> Vec<String> {
        let specs: Vec<String> = specs.iter().map(|spec| (*spec).to_owned()).collect();
        collect(&specs, Some(root))
            .unwrap()
            .into_iter()
            .map(|input| input.name)
            .collect()
    }

    #[test]
    fn folders_are_walked_in_natural_order() {
        let root = tree(&[
            "a/img10.png",
            "a/img2.png",
            "a/b/img1.JPG",
            "a/notes.txt",
            "a/.hidden.png",
        ]);
        assert_eq!(
            names(&["a"], root.path()),
            ["a/b/img1.JPG", "a/img2.png", "a/img10.png"]
        );
    }

    #[test]
    fn globs_are_expanded_and_files_keep_their_order() {
        let root = tree(&["x2.png", "x10.png", "y.png"]);
        assert_eq!(
            names(&["y.png", "x*.png"], root.path()),
            ["y.png", "x2.png", "x10.png"]
        );
    }

    #[test]
    fn a_folder_without_images_is_an_error_that_names_it() {
        let root = tree(&["a/notes.txt"]);
        let error = collect(&["a".into()], Some(root.path()))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("holds no images") && error.contains("png"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_file_waits_for_its_turn() {
        let root = tree(&["a.png"]);
        assert_eq!(
            names(&["gone.png", "a.png"], root.path()),
            ["gone.png", "a.png"]
        );
    }
}
