//! What the user writes to name a data set: `KIND:PATH?option=value`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Kind;
use crate::DatasetError;

/// A data set to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The kind; `None`: to be recognised by the layout.
    pub kind: Option<Kind>,
    /// The folder or file.
    pub path: PathBuf,
    /// What of it.
    pub options: Options,
}

/// Which part of a data set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `category=a,b`: only these categories; all if empty.
    pub categories: Vec<String>,
    /// `test=public|private|private-mixed` (MVTec AD 2): the test images.
    pub test: TestSet,
    /// `json=NAME` (Real-IAD): the folder of split files; `realiad_jsons` if not given.
    pub json: Option<String>,
    /// `images=NAME` (Real-IAD): the folder of images; the only one that is there if not given.
    pub images: Option<String>,
    /// `view=1`...`5` (Real-IAD): only the images of this camera.
    pub view: Option<u8>,
}

/// The test sets of MVTec AD 2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TestSet {
    /// Labelled.
    #[default]
    Public,
    /// Unlabelled, in the lighting of the training images.
    Private,
    /// Unlabelled, in seen and unseen lighting.
    PrivateMixed,
}

impl Spec {
    /// The data set at `path`, of this kind or (`None`) of the kind that its layout shows.
    #[must_use]
    pub fn new(kind: Option<Kind>, path: impl Into<PathBuf>) -> Self {
        Self {
            kind,
            path: path.into(),
            options: Options::default(),
        }
    }

    /// Only these categories.
    #[must_use]
    pub fn only<S: Into<String>>(mut self, categories: impl IntoIterator<Item = S>) -> Self {
        self.options.categories = categories.into_iter().map(Into::into).collect();
        self
    }
}

impl FromStr for Spec {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        let fail = |problem: String| DatasetError::Spec {
            spec: text.to_owned(),
            problem,
        };
        let (kind, rest) = split_kind(text).map_err(fail)?;
        let (path, options) = split_options(rest);
        if path.is_empty() {
            return Err(fail("names no folder or file".to_owned()));
        }
        let mut spec = Self::new(kind, path);
        for option in options.into_iter().flat_map(|options| options.split('&')) {
            spec.options.set(option).map_err(fail)?;
        }
        Ok(spec)
    }
}

/// The kind and what follows it. Paths may hold colons themselves: `C:\data`, `./a:b`.
fn split_kind(text: &str) -> Result<(Option<Kind>, &str), String> {
    let Some((name, rest)) = text.split_once(':') else {
        return Ok((None, text));
    };
    if name == "auto" {
        return Ok((None, rest));
    }
    if let Some(kind) = Kind::of_name(name) {
        return Ok((Some(kind), rest));
    }
    let drive = name.len() == 1;
    if drive || name.contains(['/', '\\', '.']) || Path::new(text).exists() {
        return Ok((None, text));
    }
    let names = Kind::ALL.map(Kind::name);
    Err(format!(
        "there is no kind `{name}`{}; kinds: auto, {}",
        nearest(name, names),
        names.join(", ")
    ))
}

/// The path and, behind the last `?`, the options. A path that is there as it stands has none.
fn split_options(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once('?') {
        Some((path, options)) if !Path::new(text).exists() => (path, Some(options)),
        _ => (text, None),
    }
}

const OPTIONS: [&str; 5] = ["category", "test", "json", "images", "view"];

impl Options {
    fn set(&mut self, option: &str) -> Result<(), String> {
        let Some((key, value)) = option.split_once('=') else {
            return Err(format!("`{option}` behind the `?` is no `option=value`"));
        };
        let folder = || {
            let plain = !value.is_empty() && !value.contains(['/', '\\']) && value != "..";
            plain
                .then(|| value.to_owned())
                .ok_or_else(|| format!("{key}={value}: expected the name of a folder in the root"))
        };
        match key {
            "category" => self.categories = value.split(',').map(str::to_owned).collect(),
            "test" => {
                self.test = match value {
                    "public" => TestSet::Public,
                    "private" => TestSet::Private,
                    "private-mixed" | "private_mixed" => TestSet::PrivateMixed,
                    _ => {
                        return Err(format!(
                            "test={value}: expected public, private or private-mixed"
                        ));
                    }
                }
            }
            "json" => self.json = Some(folder()?),
            "images" => self.images = Some(folder()?),
            "view" => {
                let view = value.trim_start_matches(['C', 'c']).parse().ok();
                let view = view.filter(|view| (1..=5).contains(view));
                self.view = Some(view.ok_or_else(|| format!("view={value}: expected 1 to 5"))?);
            }
            _ => {
                return Err(format!(
                    "there is no option `{key}`{}; options: {}",
                    nearest(key, OPTIONS),
                    OPTIONS.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// Refuses options that would silently do nothing.
    pub(super) fn check(&self, kind: Kind, path: &Path) -> Result<(), DatasetError> {
        let given = [
            ("test", self.test != TestSet::Public, Kind::MvtecAd2),
            ("json", self.json.is_some(), Kind::RealIad),
            ("images", self.images.is_some(), Kind::RealIad),
            ("view", self.view.is_some(), Kind::RealIad),
        ];
        match given
            .into_iter()
            .find(|(_, given, of)| *given && *of != kind)
        {
            None => Ok(()),
            Some((option, _, of)) => Err(DatasetError::Spec {
                spec: format!("{kind}:{}", path.display()),
                problem: format!("the option `{option}` is one of {of}, not of {kind}"),
            }),
        }
    }

    /// Those of `names` that are wanted, in their order.
    ///
    /// # Errors
    /// [`DatasetError::UnknownCategory`].
    pub(super) fn choose(&self, names: Vec<String>) -> Result<Vec<String>, DatasetError> {
        let unknown = self.categories.iter().find(|name| !names.contains(name));
        if let Some(name) = unknown {
            return Err(DatasetError::UnknownCategory {
                name: name.clone(),
                hint: nearest(name, names.iter().map(String::as_str)),
                known: names.join(", "),
            });
        }
        if self.categories.is_empty() {
            return Ok(names);
        }
        let wanted = |name: &String| self.categories.contains(name);
        Ok(names.into_iter().filter(wanted).collect())
    }
}

/// "; did you mean `x`?" where one of `names` is near enough to `found` to be a slip; empty
/// otherwise.
pub(super) fn nearest<'a>(found: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(found, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}
