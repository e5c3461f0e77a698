//! How to reach the sources: what the environment says, as a value.

use std::path::PathBuf;
use std::time::Duration;

use crate::cache::cache_dir;
use crate::{Error, Result};

/// The hub's own address.
pub const HUB: &str = "https://huggingface.co";

/// Cache folder, network and patience of [`pull`](crate::pull).
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cache folder.
    pub cache: PathBuf,
    /// A folder, or the address of one, that is laid out like a cache folder; where set, nothing
    /// else is asked.
    pub mirror: Option<String>,
    /// Address of the hub, without the slash at its end.
    pub endpoint: String,
    /// Whether the hub must not be asked.
    pub offline: bool,
    /// Access token of the hub, for repositories that need one. It is sent to the hub's host only.
    pub token: Option<String>,
    /// The way out.
    pub proxy: Proxy,
    /// Python interpreter for pip; `python3` and `python` are tried where it is not set.
    pub python: Option<String>,
    /// How often in a row a download may fail before it is given up; at least 1.
    pub attempts: u32,
    /// Pause after the first failure; it doubles with each further one.
    pub pause: Duration,
    /// How long a silent connection is waited for.
    pub patience: Duration,
}

/// Through which proxy web servers are reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Proxy {
    /// The one in `ALL_PROXY`, `HTTPS_PROXY` or `HTTP_PROXY`, but for the hosts in `NO_PROXY`.
    #[default]
    Environment,
    /// None.
    Direct,
    /// The one of this address: `http://`, `https://`, `socks5://`.
    Address(String),
}

impl Settings {
    /// Defaults with this cache folder; nothing is read from the environment but the proxy.
    pub fn new(cache: PathBuf) -> Self {
        Self {
            cache,
            mirror: None,
            endpoint: HUB.to_owned(),
            offline: false,
            token: None,
            proxy: Proxy::default(),
            python: None,
            attempts: 5,
            pause: Duration::from_secs(1),
            patience: Duration::from_secs(60),
        }
    }

    /// What the environment says: `RARECLIP_CACHE`, `RARECLIP_MIRROR`, `RARECLIP_PYTHON`,
    /// `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN` and the proxy variables.
    ///
    /// # Errors
    /// [`Error::NoCacheDir`], [`Error::Setting`] for an `HF_ENDPOINT` that is no address.
    pub fn from_env() -> Result<Self> {
        Self::read(cache_dir()?, |name| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.trim().is_empty())
        })
    }

    fn read(cache: PathBuf, get: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let mut settings = Self::new(cache);
        if let Some(endpoint) = get("HF_ENDPOINT") {
            settings.endpoint = address("HF_ENDPOINT", &endpoint)?;
        }
        let yes = |value: String| {
            ["1", "on", "yes", "true"].contains(&value.trim().to_ascii_lowercase().as_str())
        };
        settings.offline = get("HF_HUB_OFFLINE").is_some_and(yes);
        settings.token = get("HF_TOKEN").map(|token| token.trim().to_owned());
        settings.mirror = get("RARECLIP_MIRROR");
        settings.python = get("RARECLIP_PYTHON");
        Ok(settings)
    }
}

/// Whether a mirror is an address and not a folder.
pub(crate) fn is_address(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn address(name: &'static str, value: &str) -> Result<String> {
    let value = value.trim().trim_end_matches('/');
    if is_address(value) {
        return Ok(value.to_owned());
    }
    Err(Error::Setting {
        name,
        value: value.to_owned(),
        expected: "an address that starts with https:// or http://",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings> {
        Settings::read(PathBuf::from("cache"), |name| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_empty_environment_means_the_public_hub() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.endpoint, HUB);
        assert!(!settings.offline && settings.token.is_none() && settings.mirror.is_none());
    }

    #[test]
    fn the_endpoint_loses_the_slash_at_its_end() {
        let settings = read(&[("HF_ENDPOINT", "http://hub.plant:8080/")]).unwrap();
        assert_eq!(settings.endpoint, "http://hub.plant:8080");
    }

    #[test]
    fn an_endpoint_that_is_no_address_is_named() {
        let text = read(&[("HF_ENDPOINT", "hub.plant")])
            .unwrap_err()
            .to_string();
        assert!(text.contains("HF_ENDPOINT") && text.contains("hub.plant"));
    }

    #[test]
    fn offline_is_read_as_the_hub_s_own_tools_read_it() {
        for (value, offline) in [("1", true), ("TRUE", true), ("on", true), ("0", false)] {
            assert_eq!(read(&[("HF_HUB_OFFLINE", value)]).unwrap().offline, offline);
        }
    }
}
