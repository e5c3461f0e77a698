//! Real-IAD: the splits of each category stand in a json file.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::natural::natural_cmp;
use super::table::{Once, file_below};
use super::{Category, Kind, Mask, Options, Sample};
use crate::DatasetError;

const KIND: Kind = Kind::RealIad;
const JSON: &str = "realiad_jsons";
const IMAGES: [&str; 4] = ["realiad_1024", "realiad_512", "realiad_256", "realiad_raw"];

#[derive(Deserialize)]
struct Split {
    #[serde(default)]
    meta: Meta,
    #[serde(default)]
    train: Vec<Entry>,
    #[serde(default)]
    test: Vec<Entry>,
}

#[derive(Default, Deserialize)]
struct Meta {
    /// In front of every path; `<category>/` if not given.
    prefix: Option<String>,
    /// `OK` if not given.
    normal_class: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    anomaly_class: String,
    image_path: String,
    mask_path: Option<String>,
}

pub(super) fn read(root: &Path, options: &Options) -> Result<Vec<Category>, DatasetError> {
    let (folder, names) = splits(root, options)?;
    let names = options.choose(names)?;
    let images = images(root, options, &names)?;
    let read = |name: &String| {
        Reader {
            file: folder.join(format!("{name}.json")),
            images: images.as_deref(),
            root,
            view: options.view,
        }
        .category(name)
    };
    names.iter().map(read).collect()
}

/// The folder of json files and the categories that they are named after.
fn splits(root: &Path, options: &Options) -> Result<(PathBuf, Vec<String>), DatasetError> {
    let name = options.json.as_deref().unwrap_or(JSON);
    let candidates = [root.join(JSON).join(name), root.join(name)];
    for folder in &candidates {
        if !folder.is_dir() {
            continue;
        }
        let failed = |source| DatasetError::Io {
            path: folder.clone(),
            source,
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_stem().and_then(|name| name.to_str());
            if let Some(name) = name.filter(|name| !name.starts_with('.'))
                && super::detect::extension(&path) == "json"
            {
                names.push(name.to_owned());
            }
        }
        names.sort_by(|a, b| natural_cmp(a, b));
        if !names.is_empty() {
            return Ok((folder.clone(), names));
        }
    }
    let [_, folder] = candidates;
    Err(KIND.error(folder, "no folder of <category>.json files here"))
}

/// The folder of images inside the root; `None`: the categories lie in the root itself.
fn images(
    root: &Path,
    options: &Options,
    names: &[String],
) -> Result<Option<String>, DatasetError> {
    if let Some(name) = &options.images {
        let folder = root.join(name);
        if folder.is_dir() {
            return Ok(Some(name.clone()));
        }
        return Err(KIND.error(folder, "this folder is missing"));
    }
    let there = |name: &&str| root.join(name).is_dir();
    let found: Vec<&str> = IMAGES.into_iter().filter(there).collect();
    match found[..] {
        [name] => Ok(Some(name.to_owned())),
        [] if names.iter().any(|name| root.join(name).is_dir()) => Ok(None),
        [] => Err(KIND.error(root.join(IMAGES[0]), "this folder of images is missing")),
        [first, ..] => {
            let problem = format!(
                "one of several folders of images ({}); choose one with ?images=NAME",
                found.join(", ")
            );
            Err(KIND.error(root.join(first), problem))
        }
    }
}

struct Reader<'a> {
    file: PathBuf,
    images: Option<&'a str>,
    root: &'a Path,
    view: Option<u8>,
}

impl Reader<'_> {
    fn error(&self, place: impl Into<String>, problem: impl Into<String>) -> DatasetError {
        DatasetError::Json {
            file: self.file.clone(),
            place: place.into(),
            problem: problem.into(),
        }
    }

    fn category(&self, name: &str) -> Result<Category, DatasetError> {
        let bytes = std::fs::read(&self.file).map_err(|source| DatasetError::Io {
            path: self.file.clone(),
            source,
        })?;
        let split: Split = serde_json::from_slice(&bytes)
            .map_err(|error| self.error(format!("line {}", error.line()), error.to_string()))?;
        let meta = Meta {
            prefix: Some(split.meta.prefix.unwrap_or_else(|| format!("{name}/"))),
            normal_class: Some(split.meta.normal_class.unwrap_or_else(|| "OK".to_owned())),
        };
        let root = self
            .images
            .map_or(self.root.to_owned(), |name| self.root.join(name));
        let mut category = Category::new(name, &root.join(name));
        let mut once = Once::default();
        category.train = self.samples("train", &split.train, &meta, &mut once)?;
        category.test = self.samples("test", &split.test, &meta, &mut once)?;
        Ok(category)
    }

    fn samples(
        &self,
        list: &str,
        entries: &[Entry],
        meta: &Meta,
        once: &mut Once,
    ) -> Result<Vec<Sample>, DatasetError> {
        let mut samples = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            if self
                .view
                .is_some_and(|view| !shows(&entry.image_path, view))
            {
                continue;
            }
            let place = |key: &str| format!("{list}[{index}].{key}");
            let file = |key: &str, path: &str| {
                file_below(self.root, &self.path(meta, path))
                    .map_err(|problem| self.error(place(key), problem))
            };
            let image = file("image_path", &entry.image_path)?;
            once.check(&image.id, format!("at {}", place("image_path")))
                .map_err(|problem| self.error(place("image_path"), problem))?;
            let anomalous = meta.normal_class.as_deref() != Some(entry.anomaly_class.as_str());
            let defect = anomalous.then_some(entry.anomaly_class.as_str());
            let mut sample = Sample::new(image.id, image.path, defect);
            let mask = entry.mask_path.as_deref().filter(|path| !path.is_empty());
            sample.mask = match mask {
                _ if !anomalous => Mask::None,
                Some(mask) => Mask::File(file("mask_path", mask)?.path),
                None => {
                    let problem = format!("{} is anomalous, but has no mask", entry.image_path);
                    return Err(self.error(place("mask_path"), problem));
                }
            };
            samples.push(sample);
        }
        Ok(samples)
    }

    fn path(&self, meta: &Meta, path: &str) -> String {
        let prefix = meta.prefix.as_deref().unwrap_or_default();
        let parts = [self.images.unwrap_or_default(), prefix, path];
        let parts = parts.map(|part| part.trim_end_matches('/'));
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("/")
    }
}

/// Whether the image is of this camera: `toy_0001_OK_C3_20230922.jpg` is of camera 3.
fn shows(path: &str, view: u8) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let camera = format!("C{view}");
    super::scan::stem(name)
        .split('_')
        .any(|part| part == camera)
}
