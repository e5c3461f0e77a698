//! Every route of the document, by everyone who may ask, from every kind of page: who gets in, and
//! how the others are refused.
//!
//! The rules are computed from the document, so that a new route is covered without an entry here.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::StatusCode;
use rareclip_server::api::{self, ApiOptions};
use rareclip_server::security::{KeyRing, Scope};
use serde_json::Value;
use tower::ServiceExt;

use crate::client::{Call, Site};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    /// A service on loopback that has no keys.
    NoKeys,
    /// No key, where there are some.
    Missing,
    /// A key that is not one of the service.
    Wrong,
    Key(Scope),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    /// A program: no page at all.
    None,
    Own,
    /// A page of another site.
    Foreign,
    /// A page of another site that loads an image or follows a link: without `Origin`.
    ForeignLink,
    /// A page on another port of this host.
    OtherPort,
    /// A sandboxed page.
    Opaque,
    /// A page of another site whose name points at this machine (DNS rebinding).
    Rebound,
}

const IDENTITIES: [Identity; 6] = [
    Identity::NoKeys,
    Identity::Missing,
    Identity::Wrong,
    Identity::Key(Scope::Read),
    Identity::Key(Scope::Score),
    Identity::Key(Scope::Admin),
];

const PAGES: [Page; 7] = [
    Page::None,
    Page::Own,
    Page::Foreign,
    Page::ForeignLink,
    Page::OtherPort,
    Page::Opaque,
    Page::Rebound,
];

impl Page {
    fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::None => &[],
            Self::Own => &[
                ("origin", "http://localhost"),
                ("sec-fetch-site", "same-origin"),
            ],
            Self::Foreign => &[
                ("origin", "https://evil.example"),
                ("sec-fetch-site", "cross-site"),
            ],
            Self::ForeignLink => &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ],
            Self::OtherPort => &[("sec-fetch-site", "same-site")],
            Self::Opaque => &[("origin", "null"), ("sec-fetch-site", "cross-site")],
            Self::Rebound => &[
                ("host", "evil.example"),
                ("origin", "http://evil.example"),
                ("sec-fetch-site", "same-origin"),
            ],
        }
    }

    fn is_foreign(self) -> bool {
        !matches!(self, Self::None | Self::Own | Self::Rebound)
    }
}

/// A route of the document.
#[derive(Debug)]
struct Route {
    method: &'static str,
    path: String,
    /// What the document says that it needs.
    scope: Option<Scope>,
}

fn routes(document: &Value) -> Vec<Route> {
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (key, method) in [
            ("get", "GET"),
            ("get", "HEAD"),
            ("put", "PUT"),
            ("post", "POST"),
            ("delete", "DELETE"),
        ] {
            let Some(operation) = item.get(key) else {
                continue;
            };
            let security = operation.get("security").map(|security| {
                let scope = &security[0]["key"][0];
                scope.as_str().unwrap().parse().unwrap()
            });
            routes.push(Route {
                method,
                path: path.clone(),
                scope: security,
            });
        }
        let known = ["get", "put", "post", "delete"];
        let fields = item.as_object().unwrap().keys();
        let unknown: Vec<_> = fields
            .filter(|key| !known.contains(&key.as_str()))
            .collect();
        assert!(unknown.is_empty(), "{path} has {unknown:?}: add it above");
    }
    routes
}

/// Allowed, or status and kind of the refusal.
fn expected(route: &Route, identity: Identity, page: Page) -> Result<(), (u16, &'static str)> {
    if identity == Identity::NoKeys && page == Page::Rebound {
        return Err((403, "foreign-host"));
    }
    let changes = !["GET", "HEAD"].contains(&route.method);
    if page.is_foreign() && (changes || route.scope.is_some()) {
        return Err((403, "foreign-origin"));
    }
    match (route.scope, identity) {
        (None, _) | (_, Identity::NoKeys) => Ok(()),
        (Some(_), Identity::Missing | Identity::Wrong) => Err((401, "unauthorized")),
        (Some(needed), Identity::Key(has)) if has < needed => Err((403, "scope")),
        (Some(_), Identity::Key(_)) => Ok(()),
    }
}

/// The path with the names of what is there. The stream itself is not deleted.
fn filled(route: &Route) -> String {
    let name = match (route.method, route.path.as_str()) {
        (_, path) if path.starts_with("/v1/detectors") => "rarity",
        ("DELETE", "/v1/streams/{name}") => "absent",
        _ => "s",
    };
    let filled = route
        .path
        .replace("{name}", name)
        .replace("{id}", "1")
        .replace("{model}", "rarity");
    assert!(!filled.contains('{'), "{filled}: fill the parameter above");
    filled
}

struct Sites {
    open: Site,
    locked: Site,
    secrets: Vec<(Scope, String)>,
    _folder: tempfile::TempDir,
}

async fn sites() -> Sites {
    let folder = tempfile::tempdir().unwrap();
    let ring = Arc::new(KeyRing::open(folder.path().join("keys.json")).unwrap());
    let open = Site::open().await;
    let options = ApiOptions {
        keys: Some(Arc::clone(&ring)),
        ..Default::default()
    };
    // The stream is made before there are keys.
    let locked = Site::with(options, |_| {}).await;
    for site in [&open, &locked] {
        site.stream("s").await;
        site.image("s", 10).await;
        site.call("POST", "/v1/streams/s/snapshot").send().await;
    }
    let scopes = [Scope::Read, Scope::Score, Scope::Admin];
    let secrets = scopes.map(|scope| (scope, ring.add(&scope.to_string(), scope).unwrap()));
    Sites {
        open,
        locked,
        secrets: secrets.into(),
        _folder: folder,
    }
}

impl Sites {
    fn call(&self, route: &Route, identity: Identity, page: Page) -> Call<'_> {
        let site = match identity {
            Identity::NoKeys => &self.open,
            _ => &self.locked,
        };
        let mut call = site.call(route.method, filled(route));
        let secret = match identity {
            Identity::NoKeys | Identity::Missing => None,
            Identity::Wrong => Some("rareclip_wrong"),
            Identity::Key(scope) => {
                let found = self.secrets.iter().find(|(known, _)| *known == scope);
                found.map(|(_, secret)| secret.as_str())
            }
        };
        if let Some(secret) = secret {
            call = call.header("authorization", &format!("Bearer {secret}"));
        }
        for (name, value) in page.headers() {
            call = call.header(name, value);
        }
        call
    }

    /// Allowed, or status and kind of the refusal.
    async fn found(
        &self,
        route: &Route,
        identity: Identity,
        page: Page,
    ) -> Result<(), (u16, String)> {
        let request = self.call(route, identity, page).request();
        let response = self.open.router.clone();
        let router = match identity {
            Identity::NoKeys => response,
            _ => self.locked.router.clone(),
        };
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        assert!(
            status.as_u16() < 500,
            "{route:?} {identity:?} {page:?}: {status}"
        );
        // Event streams do not end, so bodies are read of refusals only.
        if ![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status) {
            return Ok(());
        }
        let kind = response.extensions().get::<api::Problem>();
        Err((status.as_u16(), kind.unwrap().kind.clone()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_whom_the_document_says_and_from_no_foreign_page() {
    let document: Value = serde_json::from_str(&api::document().unwrap()).unwrap();
    let routes = routes(&document);
    assert!(routes.len() > 90, "{}", routes.len());
    let sites = sites().await;
    let mut wrong = Vec::new();
    for route in &routes {
        for identity in IDENTITIES {
            for page in PAGES {
                let expected = expected(route, identity, page);
                let expected = expected.map_err(|(status, kind)| (status, kind.to_owned()));
                let found = sites.found(route, identity, page).await;
                if found != expected {
                    let what = format!("{} {}", route.method, route.path);
                    wrong.push(format!(
                        "{what} {identity:?} {page:?}: {found:?}, not {expected:?}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
    // Nothing that was refused has changed anything: the stream is as those who may change it left
    // it.
    sites.open.get("/v1/streams/s").await.is(200);
}

#[tokio::test]
async fn the_router_serves_no_route_that_is_not_in_the_document() {
    let document: Value = serde_json::from_str(&api::document().unwrap()).unwrap();
    let documented: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let site = Site::open().await;
    // The router has no list of its routes, but its debug output has their paths.
    let text = format!("{:?}", site.router);
    let served: BTreeSet<String> = text
        .split('"')
        .filter(|part| part.starts_with('/'))
        // The paths of the router's own fallback.
        .filter(|path| !path.contains("__private"))
        .map(str::to_owned)
        .collect();
    assert!(served.len() > 50, "{served:?}");
    assert_eq!(served, documented);
}

#[tokio::test]
async fn a_page_is_opened_from_anywhere_and_health_is_checked_by_anyone() {
    let sites = sites().await;
    for path in [
        "/",
        "/docs",
        "/page/main.js",
        "/livez",
        "/readyz",
        "/v2/health/live",
    ] {
        let route = Route {
            method: "GET",
            path: path.into(),
            scope: None,
        };
        for page in [Page::None, Page::Own, Page::Foreign, Page::ForeignLink] {
            for identity in [Identity::NoKeys, Identity::Missing] {
                let answer = sites.call(&route, identity, page).send().await;
                assert_eq!(answer.status, 200, "{path} {page:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_reads_and_changes() {
    let options = ApiOptions {
        allowed_origins: vec!["https://mes.example".into()],
        ..Default::default()
    };
    let site = Site::with(options, |_| {}).await;
    for (origin, status) in [("https://mes.example", 200), ("https://mes.example:1", 403)] {
        let call = site
            .call("GET", "/v1/streams")
            .header("origin", origin)
            .header("sec-fetch-site", "cross-site");
        call.send().await.is(status);
    }
}
