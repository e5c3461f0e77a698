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

/// Whether the host is an IP address, which no DNS server can point elsewhere.
pub(crate) fn is_address(host: &str) -> bool {
    name_of(host).parse::<IpAddr>().is_ok()
}

/// Checks that a request names one host: two could be understood differently by a proxy and by this
/// service.
pub(crate) fn one_host(headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
    let refuse = |detail: String| {
        Err(Refusal {
            kind: "invalid",
            detail,
        })
    };
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return refuse("Host: found more than one; send one".into());
    }
    let (Some(host), Some(authority)) = (host, uri.authority()) else {
        return Ok(());
    };
    let port = match uri.scheme_str() {
        Some("https") => "443",
        _ => "80",
    };
    let host = host.to_str().unwrap_or_default();
    if with_port(host, port) == with_port(authority.as_str(), port) {
        return Ok(());
    }
    refuse(format!(
        "Host: found `{host}`, but the request is for `{authority}`; send the same host in both"
    ))
}

/// Checks that a request carries at most one `Authorization` header.
pub(crate) fn one_key(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.get_all(header::AUTHORIZATION).iter().count() <= 1 {
        return Ok(());
    }
    Err(Refusal {
        kind: "invalid",
        detail: "Authorization: found more than one; send one".into(),
    })
}

/// Checks that a request comes from the service's own page, from a page of an allowed origin, or
/// from a program.
///
/// A browser states for which page it acts in `Origin` or `Sec-Fetch-Site`; programs send neither.
/// A page on another port of this host is another origin (`same-site`).
pub(crate) fn own_origin(
    headers: &HeaderMap,
    uri: &Uri,
    tls: bool,
    allowed: &[String],
) -> Result<(), Refusal> {
    let refuse = |detail: String| {
        Err(Refusal {
            kind: "foreign-origin",
            detail,
        })
    };
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let origin = origins.next();
    if origins.next().is_some() {
        return refuse("Origin: found more than one; send one".into());
    }
    if let Some(origin) = origin {
        let Ok(origin) = origin.to_str() else {
            return refuse("Origin: not text".into());
        };
        if allowed.iter().any(|a| a.eq_ignore_ascii_case(origin)) {
            return Ok(());
        }
        let own = host(headers, uri).is_some_and(|host| same(origin, host));
        if !own || (tls && !origin.starts_with("https://")) {
            return refuse(format!(
                "Origin: pages of `{origin}` may not use this service; the operator can allow that origin"
            ));
        }
    }
    for site in headers.get_all("sec-fetch-site") {
        if site != "same-origin" && site != "none" {
            return refuse(
                "Sec-Fetch-Site: pages of other origins may not use this service; open its own page, or let the operator \
                 allow the origin"
                    .into(),
            );
        }
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
    with_port(authority, port) == with_port(host, port)
}

/// The host in lower case, with `port` where it has none.
fn with_port(host: &str, port: &str) -> String {
    let after_name = host.rsplit(']').next().unwrap_or(host);
    match after_name.contains(':') {
        true => host.to_ascii_lowercase(),
        false => format!("{}:{port}", host.to_ascii_lowercase()),
    }
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
            false,
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
    fn other_sites_and_other_ports_of_this_host_are_refused_even_without_an_origin() {
        for site in ["cross-site", "same-site", "Cross-Site", "new-kind"] {
            assert!(check(&[("host", "h"), ("sec-fetch-site", site)]).is_err());
        }
        for site in ["same-origin", "none"] {
            assert_eq!(check(&[("host", "h"), ("sec-fetch-site", site)]), Ok(()));
        }
    }

    #[test]
    fn over_tls_a_page_that_came_without_is_foreign() {
        let mut headers = HeaderMap::new();
        headers.insert("host", "h".parse().unwrap());
        headers.insert("origin", "http://h".parse().unwrap());
        let uri = Uri::from_static("/v1/streams");
        assert_eq!(own_origin(&headers, &uri, false, &[]), Ok(()));
        assert!(own_origin(&headers, &uri, true, &[]).is_err());
    }

    #[test]
    fn a_request_names_one_host_and_carries_one_key() {
        let check = |uri: &'static str, hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append("host", host.parse().unwrap());
            }
            one_host(&headers, &Uri::from_static(uri)).is_ok()
        };
        assert!(check("/", &[]));
        assert!(check("/", &["h"]));
        assert!(check("http://h:80/", &["H"]));
        assert!(check("https://h/", &["h:443"]));
        assert!(!check("/", &["h", "h"]));
        assert!(!check("http://h/", &["g"]));
        assert!(!check("http://h:81/", &["h"]));
        let mut headers = HeaderMap::new();
        headers.append("authorization", "Bearer a".parse().unwrap());
        assert_eq!(one_key(&headers), Ok(()));
        headers.append("authorization", "Bearer b".parse().unwrap());
        assert!(one_key(&headers).is_err());
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
