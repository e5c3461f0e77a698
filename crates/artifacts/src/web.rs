//! Requests to web servers: where a file is, what its server says of it, and its bytes from any
//! position.
//!
//! The hub's protocol is spoken over ureq and not through the hf-hub crate. hf-hub 0.5 waits for a
//! silent connection without end, joins a whole body to a part where a server ignores `Range`,
//! checks no checksum and panics on a redirect without an address; hf-hub 1.0 begins a broken
//! download anew, knows no `HF_HUB_OFFLINE` and brings some two hundred packages, C among them.

use std::sync::Arc;

use ureq::http::{HeaderMap, Response, StatusCode, Uri};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body};

use crate::settings::{Proxy, Settings};
use crate::{Error, Result};

/// Redirects followed for one file.
const HOPS: usize = 10;

/// A web client with the proxy, the certificates and the patience of the settings.
pub(crate) struct Client {
    agent: Agent,
    /// Sent to this host only: it must not reach the servers that the hub redirects to.
    token: Option<(Option<String>, String)>,
}

/// What a server says of a file before its bytes are asked for.
#[derive(Debug, Default, Clone)]
pub(crate) struct Described {
    /// Where the bytes are.
    pub(crate) url: String,
    pub(crate) size: Option<u64>,
    /// Identifies the content; the sha256 of files in the hub's large file storage.
    pub(crate) etag: Option<String>,
    pub(crate) commit: Option<String>,
}

impl Described {
    /// The checksum, where the server tells it.
    pub(crate) fn sha256(&self) -> Option<&str> {
        let etag = self.etag.as_deref()?;
        let digits = etag.len() == 64 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then_some(etag)
    }
}

/// Why an attempt failed.
pub(crate) enum Failure {
    /// Another attempt will not help.
    Final(Error),
    /// The network failed before or while an answer came.
    Broken(String),
    /// The server has a passing trouble.
    Status(u16),
}

/// TLS as every client of the workspace does it, trusting `roots`.
pub fn tls(roots: RootCerts) -> TlsConfig {
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(roots)
        .build()
}

impl Client {
    /// # Errors
    /// [`Error::Setting`] for a proxy that is no address.
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let mut config = Agent::config_builder()
            // The system's own certificates, so that a company's counts.
            .tls_config(tls(RootCerts::PlatformVerifier))
            .user_agent(concat!("rareclip/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(settings.patience))
            .timeout_connect(Some(settings.patience))
            .timeout_per_read(Some(settings.patience));
        match &settings.proxy {
            Proxy::Environment => {}
            Proxy::Direct => config = config.proxy(None),
            Proxy::Address(address) => {
                let proxy = ureq::Proxy::new(address).map_err(|_| Error::Setting {
                    name: "the proxy",
                    value: address.clone(),
                    expected: "an address such as http://proxy:8080",
                })?;
                config = config.proxy(Some(proxy));
            }
        }
        let token = settings.token.clone();
        Ok(Self {
            agent: config.build().into(),
            token: token.map(|token| (authority(&settings.endpoint), token)),
        })
    }

    /// Asks for a file's metadata; does not follow the redirect to where its bytes are.
    pub(crate) fn describe(&self, url: &str) -> Result<Described, Failure> {
        let mut described = Described {
            url: url.to_owned(),
            ..Described::default()
        };
        for _ in 0..HOPS {
            let response = self.send(&described.url, true, 0)?;
            let status = response.status();
            let headers = response.headers();
            let whole = status == StatusCode::OK;
            let linked = text(headers, "x-linked-etag");
            let is_linked = linked.is_some();
            described.etag = described
                .etag
                .or(linked)
                .or_else(|| text(headers, "etag").filter(|_| whole));
            described.size = described
                .size
                .or_else(|| number(headers, "x-linked-size"))
                .or_else(|| number(headers, "content-length").filter(|_| whole));
            described.commit = described.commit.or_else(|| text(headers, "x-repo-commit"));
            match status.as_u16() {
                200 => return Ok(described),
                300..=399 => {
                    let next = target(&described.url, headers)?;
                    let elsewhere = authority(&next) != authority(&described.url);
                    described.url = next;
                    if is_linked || elsewhere {
                        return Ok(described);
                    }
                }
                // A server that answers to GET alone.
                405 | 501 => return Ok(described),
                status => return Err(self.refusal(&described.url, status)),
            }
        }
        Err(Failure::Broken("redirected in a circle".into()))
    }

    /// The bytes of a file from position `from` on: status 206, or 200 with the whole file where
    /// the server knows no ranges, or 416 where there are none.
    pub(crate) fn get(&self, url: &str, from: u64) -> Result<Response<Body>, Failure> {
        let mut url = url.to_owned();
        for _ in 0..HOPS {
            let response = self.send(&url, false, from)?;
            match response.status().as_u16() {
                200 | 206 | 416 => return Ok(response),
                300..=399 => url = target(&url, response.headers())?,
                status => return Err(self.refusal(&url, status)),
            }
        }
        Err(Failure::Broken("redirected in a circle".into()))
    }

    fn send(&self, url: &str, head: bool, from: u64) -> Result<Response<Body>, Failure> {
        let mut request = if head {
            self.agent.head(url)
        } else {
            self.agent.get(url)
        };
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        if let Some((host, token)) = &self.token
            && *host == authority(url)
        {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request
            .call()
            .map_err(|error| Failure::Broken(error.to_string()))
    }

    fn refusal(&self, url: &str, status: u16) -> Failure {
        let url = url.to_owned();
        Failure::Final(match status {
            401 | 403 | 407 => Error::Denied {
                url,
                status,
                advice: match (status, &self.token) {
                    (407, _) => "the proxy wants a name and a password: http://NAME:PASSWORD@PROXY",
                    (_, None) => {
                        "a repository that asks for consent needs an account: accept its terms on its page, then set HF_TOKEN to a token of that account"
                    }
                    (_, Some(_)) => {
                        "the account of HF_TOKEN may not read it: accept the repository's terms on its page, or check the token"
                    }
                },
            },
            404 | 410 => Error::NotFound { url },
            408 | 425 | 429 | 500..=599 => return Failure::Status(status),
            _ => Error::Status { url, status },
        })
    }
}

/// Host and port of an address.
pub(crate) fn authority(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    Some(uri.authority()?.as_str().to_ascii_lowercase())
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    let value = value.trim().trim_start_matches("W/").trim_matches('"');
    (!value.is_empty()).then(|| value.to_owned())
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

/// First byte and, where told, the size of the whole file in a
/// `Content-Range: bytes FIRST-LAST/SIZE` or `bytes */SIZE`.
pub(crate) fn content_range(headers: &HeaderMap) -> (Option<u64>, Option<u64>) {
    let range = text(headers, "content-range").unwrap_or_default();
    let Some((span, size)) = range.trim_start_matches("bytes").trim().split_once('/') else {
        return (None, None);
    };
    let first = span
        .split_once('-')
        .and_then(|(first, _)| first.parse().ok());
    (first, size.parse().ok())
}

/// Size of the body that follows, where told.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    number(headers, "content-length")
}

/// Where a redirect leads.
fn target(url: &str, headers: &HeaderMap) -> Result<String, Failure> {
    let broken = || Failure::Broken("a redirect without a usable address".into());
    let location = headers
        .get("location")
        .and_then(|value| value.to_str().ok())
        .ok_or_else(broken)?;
    if crate::settings::is_address(location) {
        return Ok(location.to_owned());
    }
    let here: Uri = url.parse().map_err(|_| broken())?;
    let (scheme, authority) = here.scheme_str().zip(here.authority()).ok_or_else(broken)?;
    if location.starts_with("//") {
        return Ok(format!("{scheme}:{location}"));
    }
    let folder = match location.starts_with('/') {
        true => "",
        false => here
            .path()
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder),
    };
    let slash = if location.starts_with('/') { "" } else { "/" };
    Ok(format!("{scheme}://{authority}{folder}{slash}{location}"))
}

/// A path as part of an address.
pub(crate) fn escaped(path: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use ureq::http::HeaderValue;

    use super::*;

    fn leads(from: &str, location: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("location", HeaderValue::from_str(location).unwrap());
        target(from, &headers).ok()
    }

    #[test]
    fn redirects_are_followed_in_all_their_spellings() {
        let from = "https://hub.example/a/b?x=1";
        for (location, expected) in [
            (
                "http://cdn.example/file?key=2",
                "http://cdn.example/file?key=2",
            ),
            ("//cdn.example/file", "https://cdn.example/file"),
            ("/c/d", "https://hub.example/c/d"),
            ("d", "https://hub.example/a/d"),
        ] {
            assert_eq!(leads(from, location).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_content_range_tells_where_it_starts_and_how_large_the_file_is() {
        for (value, expected) in [
            ("bytes 5-9/10", (Some(5), Some(10))),
            ("bytes 5-9/*", (Some(5), None)),
            ("bytes */10", (None, Some(10))),
            ("nonsense", (None, None)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("content-range", HeaderValue::from_static(value));
            assert_eq!(content_range(&headers), expected, "{value}");
        }
    }

    #[test]
    fn only_an_etag_of_64_digits_is_a_checksum() {
        let described = |etag: &str| Described {
            etag: Some(etag.to_owned()),
            ..Described::default()
        };
        assert!(described(&"a".repeat(64)).sha256().is_some());
        assert_eq!(described(&"a".repeat(40)).sha256(), None);
        assert_eq!(described(&"z".repeat(64)).sha256(), None);
    }

    #[test]
    fn what_an_address_cannot_hold_is_escaped() {
        assert_eq!(escaped("a b/ü.bin"), "a%20b/%C3%BC.bin");
    }
}
