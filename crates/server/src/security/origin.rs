//! Web pages of others: which hosts and origins are the service's own.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header};

/// Why a request is refused before anyone looks at what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: &'static str,
    pub(crate) detail: String,
}

/// `host:port` as the client wrote it: the authority of HTTP/2, else the header.
pub(crate) fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(header::HOST)?.to_str().ok(),
    }
}

/// The name without its port.
pub(crate) fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

/// Whether the host is this machine by a name that no DNS server elsewhere can point at it.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    let name = name_of(host).trim_end_matches('.');
    let lower = name.to_ascii_lowercase();
    lower == "localhost"
        || lower.ends_with(".localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// A browser that acts for a page of someone else says so in `Origin` or `Sec-Fetch-Site`; programs send neither.
pub(crate) fn own_origin(
    headers: &HeaderMap,
    uri: &Uri,
    allowed: &[String],
) -> Result<(), Refusal> {
    let refuse = |detail: String| {
        Err(Refusal {
            kind: "foreign-origin",
            detail,
        })
    };
    if let Some(origin) = headers.get(header::ORIGIN) {
        let Ok(origin) = origin.to_str() else {
            return refuse("Origin: not text".into());
        };
        if allowed.iter().any(|a| a.eq_ignore_ascii_case(origin)) {
            return Ok(());
        }
        if !host(headers, uri).is_some_and(|host| same(origin, host)) {
            return refuse(format!(
                "Origin: pages of `{origin}` may not change anything here; the operator can allow that origin"
            ));
        }
    }
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site.as_bytes().eq_ignore_ascii_case(b"cross-site")) {
        return refuse("Sec-Fetch-Site: pages of other sites may not change anything here".into());
    }
    Ok(())
}

/// Whether `origin` is the page's own host; a port left out is that of the origin's scheme.
fn same(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let port = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return false,
    };
    let full = |text: &str| {
        let after_name = text.rsplit(']').next().unwrap_or(text);
        if after_name.contains(':') {
            text.to_ascii_lowercase()
        } else {
            format!("{}:{port}", text.to_ascii_lowercase())
        }
    };
    full(authority) == full(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&'static str, &str)]) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        own_origin(
            &headers,
            &Uri::from_static("/v1/streams"),
            &["https://mes.example".into()],
        )
    }

    #[test]
    fn loopback_names_are_those_that_dns_cannot_move() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]:80",
            "[::1]",
            "a.localhost:1",
        ] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:80",
            "127.0.0.1.nip.example",
            "0.0.0.0",
            "",
            "10.0.0.1",
            "[fe80::1]",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }

    #[test]
    fn a_program_sends_no_origin_and_passes() {
        assert_eq!(check(&[("host", "camera.local:8080")]), Ok(()));
    }

    #[test]
    fn the_own_page_passes_and_a_foreign_one_does_not() {
        let own = [("host", "h:8080"), ("origin", "http://h:8080")];
        assert_eq!(check(&own), Ok(()));
        assert_eq!(check(&[("host", "h"), ("origin", "https://h")]), Ok(()));
        for foreign in [
            "http://evil.example",
            "null",
            "http://h:8081",
            "ftp://h:8080",
        ] {
            assert!(
                check(&[("host", "h:8080"), ("origin", foreign)]).is_err(),
                "{foreign}"
            );
        }
    }

    #[test]
    fn cross_site_is_refused_even_without_an_origin() {
        assert!(check(&[("host", "h"), ("sec-fetch-site", "cross-site")]).is_err());
        assert_eq!(
            check(&[("host", "h"), ("sec-fetch-site", "same-origin")]),
            Ok(())
        );
    }

    #[test]
    fn an_allowed_origin_passes() {
        let pairs = [
            ("host", "h"),
            ("origin", "https://mes.example"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert_eq!(check(&pairs), Ok(()));
    }
}
