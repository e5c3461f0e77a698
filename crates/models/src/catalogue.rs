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
    /// The file in the cache that the name stands for; "" for the whole folder; the first member if absent.
    pub primary: Option<String>,
    /// A conversion after fetching.
    pub convert: Option<Convert>,
    /// Where it comes from, per platform.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// A conversion after fetching.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convert {
    /// The member it reads.
    pub from: String,
    /// The file it writes.
    pub to: String,
    /// What it does.
    pub how: Conversion,
}

/// The conversions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conversion {
    /// [`crate::dinov2::export`].
    Dinov2FromOnnx,
}

/// A wheel of a Python package and what is taken from it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Name of the Python package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Operating system as in [`std::env::consts::OS`]; absent for any.
    pub os: Option<String>,
    /// Processor as in [`std::env::consts::ARCH`]; absent for any.
    pub arch: Option<String>,
    /// Further arguments for `pip download`.
    #[serde(default)]
    pub pip: Vec<String>,
    /// The wheel.
    pub wheel: Pinned,
    /// What is taken from it.
    pub members: Vec<Member>,
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

/// A file or folder inside a wheel.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Path inside the wheel; a folder if it ends in `/`.
    pub path: String,
    /// Path in the cache, relative to the artefact's folder.
    pub to: String,
    /// Size in bytes; files only.
    pub size: Option<u64>,
    /// Checksum in lower-case hexadecimal; files only.
    pub sha256: Option<String>,
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
    /// Where it comes from on this machine.
    ///
    /// # Errors
    /// [`Error::NoSource`] where no build is pinned for this platform.
    pub fn source(&self) -> Result<&Source> {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        let fits = |wanted: &Option<String>, here: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == here)
        };
        self.sources
            .iter()
            .find(|source| fits(&source.os, os) && fits(&source.arch, arch))
            .ok_or_else(|| Error::NoSource {
                name: self.name.clone(),
                platform: format!("{os} {arch}"),
            })
    }

    /// The file that the name stands for, relative to the artefact's folder; empty for the folder itself.
    ///
    /// # Errors
    /// [`Error::NoSource`] where no build is pinned for this platform.
    pub fn primary(&self) -> Result<&str> {
        match &self.primary {
            Some(primary) => Ok(primary),
            None => Ok(self
                .source()?
                .members
                .first()
                .map_or("", |member| member.to.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, catalogue, find};
    use crate::Error;

    #[test]
    fn every_checksum_is_64_hexadecimal_digits_and_every_platform_is_pinned_once() {
        for artefact in catalogue().unwrap() {
            let mut platforms = Vec::new();
            for source in &artefact.sources {
                platforms.push((&source.os, &source.arch));
                let members = source
                    .members
                    .iter()
                    .filter_map(|member| member.sha256.as_ref());
                for sum in members.chain([&source.wheel.sha256]) {
                    assert!(sum.len() == 64 && sum.bytes().all(|digit| digit.is_ascii_hexdigit()));
                }
                for member in &source.members {
                    assert_eq!(member.sha256.is_none(), member.path.ends_with('/'));
                }
            }
            let count = platforms.len();
            platforms.sort();
            platforms.dedup();
            assert_eq!(platforms.len(), count, "{}", artefact.name);
        }
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_and_all_known_ones() {
        let Err(Error::UnknownName { nearest, known, .. }) = find("dino-v2-small") else {
            panic!("found")
        };
        assert_eq!(nearest.as_deref(), Some("dinov2-small"));
        assert!(known.contains("onnxruntime"));
    }

    #[test]
    fn the_backbone_model_is_a_model() {
        assert_eq!(find("dinov2-small").unwrap().kind, Kind::Model);
    }
}
