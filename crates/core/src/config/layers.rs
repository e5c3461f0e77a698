//! Built-in defaults < files (with `extends`) < environment < `--set`.

use std::path::{Path, PathBuf};

use figment::providers::{Env, Format, Json, Toml, Yaml};
use figment::value::{Dict, Map, Value as Figue};
use figment::{Figment, Metadata, Profile, Provider};
use serde_json::Value;

use super::{ConfigError, DetectorConfig, text};

/// Files that extend one another deeper than this are taken for a circle.
const MAX_EXTENDS: usize = 16;

/// The environment variables that configure a detector start so, with `__` between the keys:
/// `RARECLIP_BANK__CAPACITY=2`.
const ENV_PREFIX: &str = "RARECLIP_";

/// Puts the layers of a config together, each stronger than those before.
#[derive(Debug, Clone, Default)]
pub struct ConfigBuilder {
    layers: Vec<Layer>,
    library: &'static [(&'static str, &'static str)],
}

/// One source and what it says.
#[derive(Debug, Clone)]
struct Layer {
    metadata: Metadata,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

impl ConfigBuilder {
    /// No layer yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Configs in TOML that come with the program, `(name, text)`: what `extends` finds where there
    /// is no such file.
    pub fn library(mut self, configs: &'static [(&'static str, &'static str)]) -> Self {
        self.library = configs;
        self
    }

    /// Adds a TOML, YAML or JSON file (by its ending) and, before it, the file its `extends` key
    /// names.
    ///
    /// # Errors
    /// When the file cannot be read or parsed, or files extend one another in a circle.
    pub fn file(mut self, path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        self.push_file(path.as_ref(), &mut Vec::new())?;
        Ok(self)
    }

    /// Adds text in TOML under a name for messages.
    ///
    /// # Errors
    /// When it cannot be parsed.
    pub fn toml(mut self, name: &str, text: &str) -> Result<Self, ConfigError> {
        self.push_text(
            name,
            Toml::string(text::without_mark(text)).data(),
            Path::new(""),
            &mut Vec::new(),
        )?;
        Ok(self)
    }

    /// Adds the process environment: variables `RARECLIP_TABLE__KEY`.
    ///
    /// # Errors
    /// When a variable is not valid.
    pub fn env(mut self) -> Result<Self, ConfigError> {
        let env = Env::prefixed(ENV_PREFIX)
            .filter(|key| key.as_str().contains("__"))
            .split("__");
        let metadata = Metadata::named(format!("environment ({ENV_PREFIX}…)"));
        self.push(&env, metadata)?;
        Ok(self)
    }

    /// Adds one `key.path=value`; the value is read as TOML where it can be, as a string otherwise.
    ///
    /// # Errors
    /// When there is no `=` or no key.
    pub fn set(mut self, assignment: &str) -> Result<Self, ConfigError> {
        let name = format!("--set {assignment}");
        let (key, value) = assignment
            .split_once('=')
            .filter(|(key, _)| !key.trim().is_empty())
            .ok_or_else(|| {
                ConfigError::single("", Some(name.clone()), "expected KEY.PATH=VALUE".into())
            })?;
        let value: Figue = match value.parse() {
            Ok(value) => value,
            Err(never) => match never {},
        };
        let dict = match figment::util::nest(key.trim(), value) {
            Figue::Dict(_, dict) => dict,
            _ => Dict::new(),
        };
        self.push_layer(Layer {
            metadata: Metadata::named(name),
            dict,
        });
        Ok(self)
    }

    /// Checks everything at once and gives the detector's config.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem found, each with its source, key path, what was found,
    /// what is allowed and the nearest name.
    pub fn build(self) -> Result<DetectorConfig, ConfigError> {
        for layer in &self.layers {
            if let Some((key, value)) = text::not_finite(&layer.dict) {
                let source = Some(layer.metadata.name.to_string());
                let problem = format!("is {value}, expected a finite number");
                return Err(ConfigError::single(&key, source, problem));
            }
        }
        let figment = self.layers.into_iter().fold(Figment::new(), Figment::merge);
        let value: Value = figment
            .extract()
            .map_err(|error| ConfigError::single("", None, error.to_string()))?;
        DetectorConfig::from_value(value, &|key| source_of(&figment, key))
    }

    fn push_file(&mut self, path: &Path, trail: &mut Vec<PathBuf>) -> Result<(), ConfigError> {
        let shown = path.display().to_string();
        let fail = |problem: String| ConfigError::single("", Some(shown.clone()), problem);
        let canonical = path
            .canonicalize()
            .map_err(|error| fail(format!("cannot be read: {error}")))?;
        if trail.contains(&canonical) || trail.len() >= MAX_EXTENDS {
            return Err(fail("`extends` goes round in a circle".into()));
        }
        trail.push(canonical);
        let text = std::fs::read_to_string(path)
            .map_err(|error| fail(format!("cannot be read: {error}")))?;
        let text = text::without_mark(&text);
        let ending = path.extension().and_then(|ending| ending.to_str());
        let parsed = match ending {
            Some("toml") => Toml::string(text).data(),
            Some("yaml" | "yml") => {
                text::check_keys::<Yaml>(text).map_err(fail)?;
                Yaml::string(text).data()
            }
            Some("json") => {
                text::check_keys::<Json>(text).map_err(fail)?;
                Json::string(text).data()
            }
            other => {
                return Err(fail(format!(
                    "ending {} is none of .toml, .yaml, .yml, .json",
                    other.unwrap_or("(none)")
                )));
            }
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        self.push_text(&shown, parsed, folder, trail)?;
        trail.pop();
        Ok(())
    }

    /// Adds what a text says and, before it, what it extends.
    fn push_text(
        &mut self,
        name: &str,
        parsed: figment::Result<Map<Profile, Dict>>,
        folder: &Path,
        trail: &mut Vec<PathBuf>,
    ) -> Result<(), ConfigError> {
        let fail = |problem: String| ConfigError::single("", Some(name.to_owned()), problem);
        let mut dict = parsed
            .map_err(|error| fail(error.to_string()))?
            .remove(&Profile::Default)
            .unwrap_or_default();
        match dict.remove("extends") {
            None => {}
            Some(Figue::String(_, base)) => self.push_base(&folder.join(&base), &base, trail)?,
            Some(_) => {
                return Err(fail(
                    "`extends` must be the path of another config, as a string".into(),
                ));
            }
        }
        self.push_layer(Layer {
            metadata: Metadata::named(name.to_owned()),
            dict,
        });
        Ok(())
    }

    fn push_base(
        &mut self,
        path: &Path,
        name: &str,
        trail: &mut Vec<PathBuf>,
    ) -> Result<(), ConfigError> {
        let plain = name.strip_suffix(".toml").unwrap_or(name);
        let library = self.library.iter().find(|(known, _)| *known == plain);
        match library {
            Some((known, text)) if !path.is_file() => {
                // A library text extends by name only, so it cannot come back to itself through
                // files.
                if trail.len() >= MAX_EXTENDS {
                    return Err(ConfigError::single(
                        "",
                        Some((*known).to_owned()),
                        "`extends` goes round in a circle".into(),
                    ));
                }
                trail.push(PathBuf::from(known));
                let shown = format!("built-in config {known}");
                self.push_text(&shown, Toml::string(text).data(), Path::new(""), trail)?;
                trail.pop();
                Ok(())
            }
            _ => self.push_file(path, trail),
        }
    }

    fn push(&mut self, provider: &dyn Provider, metadata: Metadata) -> Result<(), ConfigError> {
        let dict = provider
            .data()
            .map_err(|error| {
                ConfigError::single("", Some(metadata.name.to_string()), error.to_string())
            })?
            .remove(&Profile::Default)
            .unwrap_or_default();
        self.push_layer(Layer { metadata, dict });
        Ok(())
    }

    /// A layer that names another component for a slot takes the whole table over: the options of
    /// the component that stood there are not the new one's.
    fn push_layer(&mut self, layer: Layer) {
        for earlier in &mut self.layers {
            drop_replaced(&mut earlier.dict, &layer.dict);
        }
        self.layers.push(layer);
    }
}

fn drop_replaced(earlier: &mut Dict, later: &Dict) {
    for (key, value) in later {
        let Figue::Dict(_, later) = value else {
            continue;
        };
        let Some(Figue::Dict(_, table)) = earlier.get_mut(key) else {
            continue;
        };
        let replaced = match (table.get("type"), later.get("type")) {
            (Some(before), Some(after)) => before.as_str() != after.as_str(),
            _ => false,
        };
        if replaced {
            earlier.remove(key);
        } else {
            drop_replaced(table, later);
        }
    }
}

/// The name of the layer that `key` came from; for a missing key, the layer of the table it belongs
/// in.
fn source_of(figment: &Figment, key: &str) -> Option<String> {
    let mut key = key;
    loop {
        if let Some(metadata) = figment.find_metadata(key) {
            return Some(metadata.name.to_string());
        }
        key = key.rsplit_once('.')?.0;
    }
}
