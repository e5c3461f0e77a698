//! Whether a request may do what it asks for: by its host, the page that it comes from, and its
//! key.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::caller::Caller;
use super::peer::Peer;
use super::problem::ApiError;
use super::state::Api;
use crate::security::{self, Refusal, Scope};

impl Caller {
    /// Whether the caller may still do what needs `scope`: its key may have been revoked since its
    /// request came.
    pub(crate) fn still_may(&self, api: &Api, scope: Scope) -> bool {
        match (&self.key, api.options.keys.as_deref()) {
            (Some(key), Some(ring)) => ring.scope_of(key).is_some_and(|has| has >= scope),
            (Some(_), None) => false,
            (None, _) => unlocked(api),
        }
    }
}

/// What a route requires of a key; `None`: public.
pub(crate) fn required(method: &Method, route: &str) -> Option<Scope> {
    let public = matches!(
        route,
        "/" | "/docs" | "/openapi.json" | "/livez" | "/readyz"
    ) || route.starts_with("/page/")
        || route.starts_with("/docs/")
        || route.starts_with("/v2/health/");
    if public {
        return None;
    }
    if is_safe(method) {
        return Some(Scope::Read);
    }
    let scores = matches!(
        route,
        "/v1/streams/{name}/images" | "/v2/models/{model}/infer"
    );
    Some(if scores && method == Method::POST {
        Scope::Score
    } else {
        Scope::Admin
    })
}

fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// Whether the ring is open: it does not hold a key and has not held one.
fn unlocked(api: &Api) -> bool {
    let ring = api.options.keys.as_deref();
    ring.is_none_or(|ring| ring.is_open())
}

/// Checks a request before its route handles it. `route` is its template; `None`: there is no such
/// route.
pub(super) fn admit(api: &Api, route: Option<&str>, request: &Request) -> Result<Caller, ApiError> {
    let (headers, uri) = (request.headers(), request.uri());
    security::one_host(headers, uri)
        .and_then(|()| security::one_key(headers))
        .map_err(|no| refused(StatusCode::BAD_REQUEST, no))?;
    let peer = request.extensions().get::<Peer>();
    let open = unlocked(api) && (api.options.loopback || api.options.allow_open);
    if open {
        own_host(api, peer, request)?;
    }
    let needed = route.and_then(|route| required(request.method(), route));
    // The files of the page and health checks hold no data. Everything else is for the service's
    // own page and for programs.
    if needed.is_some() || !is_safe(request.method()) {
        let tls = peer.is_some_and(|peer| peer.tls);
        security::own_origin(headers, uri, tls, &api.options.allowed_origins)
            .map_err(|no| refused(StatusCode::FORBIDDEN, no))?;
    }
    let mut caller = Caller {
        key: None,
        address: peer.map(|peer| peer.remote.ip().to_canonical()),
    };
    let Some(needed) = needed else {
        return Ok(caller);
    };
    if !open && request.method() != Method::OPTIONS {
        caller.key = Some(key(api, headers, needed)?);
    }
    Ok(caller)
}

fn refused(status: StatusCode, refusal: Refusal) -> ApiError {
    ApiError::new(status, refusal.kind, refusal.detail)
}

/// The SHA-256 of the request's key, which must have the scope.
fn key(api: &Api, headers: &HeaderMap, needed: Scope) -> Result<Arc<str>, ApiError> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, secret)| secret.trim());
    let unauthorized = |detail: &str| {
        ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).with(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"rareclip\""),
        )
    };
    let Some(secret) = given else {
        return Err(unauthorized(
            "Authorization: an API key is needed, as `Authorization: Bearer rareclip_...`",
        ));
    };
    let ring = api.options.keys.as_deref();
    let (sha256, scope) = ring
        .and_then(|ring| ring.identify(secret))
        .ok_or_else(|| unauthorized("Authorization: this is not a key of this service"))?;
    if scope < needed {
        let detail =
            format!("Authorization: this needs a key of scope {needed}, this one has {scope}");
        return Err(ApiError::new(StatusCode::FORBIDDEN, "scope", detail));
    }
    Ok(sha256.into())
}

/// While no key is needed, a web page must not reach the service by a name that its owner points at
/// this machine.
///
/// Over loopback only names of this machine are accepted, whatever address the service listens on:
/// a browser on this machine reaches 127.0.0.1 also where the service listens on all addresses. On
/// an address of the network the names are not known, so there the check needs a list of them.
fn own_host(api: &Api, peer: Option<&Peer>, request: &Request) -> Result<(), ApiError> {
    let allowed_hosts = &api.options.allowed_hosts;
    let over_loopback = api.options.loopback || peer.is_some_and(Peer::over_loopback);
    if !over_loopback && allowed_hosts.is_empty() {
        return Ok(());
    }
    let host = security::host(request.headers(), request.uri()).unwrap_or_default();
    // With its port or without, as the operator wrote it.
    let allowed = |name: &String| {
        name.eq_ignore_ascii_case(host) || name.eq_ignore_ascii_case(security::name_of(host))
    };
    let own = match over_loopback {
        true => security::is_loopback_host(host),
        // No DNS server can point an address elsewhere.
        false => security::is_address(host),
    };
    if own || allowed_hosts.iter().any(allowed) {
        return Ok(());
    }
    let detail = format!(
        "Host: `{host}` is not a name of this machine; ask for localhost, or let the operator allow the name or set up keys"
    );
    Err(ApiError::new(StatusCode::FORBIDDEN, "foreign-host", detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_needs_read_scoring_needs_score_and_the_rest_needs_admin() {
        let cases = [
            (Method::GET, "/", None),
            (Method::GET, "/livez", None),
            (Method::GET, "/metrics", Some(Scope::Read)),
            (Method::GET, "/v1/streams/{name}", Some(Scope::Read)),
            (Method::GET, "/v1/streams/{name}/export", Some(Scope::Read)),
            (
                Method::POST,
                "/v1/streams/{name}/images",
                Some(Scope::Score),
            ),
            (Method::POST, "/v2/models/{model}/infer", Some(Scope::Score)),
            (Method::POST, "/v1/streams", Some(Scope::Admin)),
            (Method::DELETE, "/v1/streams/{name}", Some(Scope::Admin)),
            (
                Method::PUT,
                "/v1/streams/{name}/threshold",
                Some(Scope::Admin),
            ),
            (
                Method::TRACE,
                "/v1/streams/{name}/images",
                Some(Scope::Admin),
            ),
        ];
        for (method, route, scope) in cases {
            assert_eq!(required(&method, route), scope, "{method} {route}");
        }
    }
}
