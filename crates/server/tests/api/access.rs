use std::sync::Arc;

use rareclip_server::api::{ApiOptions, Peer};
use rareclip_server::security::{KeyRing, Scope};
use serde_json::json;

use crate::client::{Call, Site};
use crate::common::picture;

struct Keys {
    site: Site,
    ring: Arc<KeyRing>,
    secrets: [String; 3],
    _folder: tempfile::TempDir,
}

async fn keys() -> Keys {
    let folder = tempfile::tempdir().unwrap();
    let ring = Arc::new(KeyRing::open(folder.path().join("keys.json")).unwrap());
    let scopes = [Scope::Read, Scope::Score, Scope::Admin];
    let secrets = scopes.map(|scope| ring.add(&scope.to_string(), scope).unwrap());
    let options = ApiOptions {
        keys: Some(Arc::clone(&ring)),
        ..Default::default()
    };
    let site = Site::with(options, |_| {}).await;
    Keys {
        site,
        ring,
        secrets,
        _folder: folder,
    }
}

fn with<'a>(call: Call<'a>, secret: &str) -> Call<'a> {
    call.header("authorization", &format!("Bearer {secret}"))
}

#[tokio::test]
async fn each_scope_allows_its_own_and_what_is_below() {
    let keys = keys().await;
    let [read, score, admin] = &keys.secrets;
    let look = |secret| with(keys.site.call("GET", "/v1/streams"), secret).send();
    let create = |secret| {
        let new = json!({"name": "s", "detector": "rarity"});
        with(keys.site.call("POST", "/v1/streams").json(&new), secret).send()
    };
    let show = |secret| {
        let call = keys
            .site
            .call("POST", "/v1/streams/s/images")
            .raw("image/png", picture(1));
        with(call, secret).send()
    };
    for secret in [read, score, admin] {
        look(secret).await.is(200);
    }
    for secret in [read, score] {
        let said = create(secret).await.problem(403, "scope");
        assert!(said.contains("scope admin"), "{said}");
    }
    create(admin).await.is(201);
    show(read).await.problem(403, "scope");
    show(score).await.is(200);
    show(admin).await.is(200);
}

#[tokio::test]
async fn without_a_key_only_the_page_and_health_are_open() {
    let keys = keys().await;
    for path in [
        "/",
        "/docs",
        "/openapi.json",
        "/livez",
        "/readyz",
        "/page/main.js",
        "/v2/health/ready",
    ] {
        keys.site.get(path).await.is(200);
    }
    for path in ["/v1/info", "/v1/events", "/metrics", "/v2", "/v1/streams/x"] {
        let answer = keys.site.get(path).await.is(401);
        assert_eq!(
            answer.header("www-authenticate"),
            "Bearer realm=\"rareclip\""
        );
    }
    let wrong = with(keys.site.call("GET", "/v1/info"), "rareclip_wrong")
        .send()
        .await;
    wrong.problem(401, "unauthorized");
    let basic = keys
        .site
        .call("GET", "/v1/info")
        .header("authorization", "Basic eDp5");
    basic.send().await.problem(401, "unauthorized");
}

#[tokio::test]
async fn a_key_revoked_by_another_process_is_refused_at_once() {
    let keys = keys().await;
    let path = keys._folder.path().join("keys.json");
    let info = || with(keys.site.call("GET", "/v1/info"), &keys.secrets[0]).send();
    info().await.is(200);
    KeyRing::open(path).unwrap().revoke("read").unwrap();
    info().await.problem(401, "unauthorized");
    assert_eq!(keys.ring.list().len(), 2);
}

#[tokio::test]
async fn beyond_loopback_no_keys_means_no_access() {
    let options = ApiOptions {
        loopback: false,
        ..Default::default()
    };
    let site = Site::with(options, |_| {}).await;
    site.get("/v1/info").await.problem(401, "unauthorized");
    let options = ApiOptions {
        loopback: false,
        allow_open: true,
        ..Default::default()
    };
    let site = Site::with(options, |_| {}).await;
    let named = site.call("GET", "/v1/info").header("host", "plant.example");
    named.send().await.is(200);
}

#[tokio::test]
async fn open_access_answers_to_names_of_this_machine_only() {
    let options = ApiOptions {
        allowed_hosts: vec!["station-7:8080".into()],
        ..Default::default()
    };
    let site = Site::with(options, |_| {}).await;
    let ask = |host: &'static str| site.call("GET", "/v1/info").header("host", host).send();
    for host in [
        "localhost:8080",
        "127.0.0.1",
        "[::1]:8080",
        "station-7:8080",
    ] {
        ask(host).await.is(200);
    }
    for host in ["evil.example", "station-7", ""] {
        ask(host).await.problem(403, "foreign-host");
    }
    let none = site.call("GET", "/v1/info").without("host").send().await;
    none.problem(403, "foreign-host");
}

#[tokio::test]
async fn open_access_that_is_allowed_still_checks_the_host_on_loopback() {
    let options = ApiOptions {
        allow_open: true,
        ..Default::default()
    };
    let site = Site::with(options, |_| {}).await;
    let ask = |host: &'static str| site.call("GET", "/v1/info").header("host", host).send();
    ask("evil.example").await.problem(403, "foreign-host");
    ask("localhost:8700").await.is(200);
}

async fn status_over(site: &Site, local: &str, host: &'static str) -> u16 {
    let mut request = site.call("GET", "/v1/info").header("host", host).request();
    request.extensions_mut().insert(Peer {
        remote: "192.168.0.9:5000".parse().unwrap(),
        local: local.parse().unwrap(),
        tls: false,
    });
    let router = site.router.clone();
    let response = tower::ServiceExt::oneshot(router, request).await;
    response.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_request_over_loopback_must_name_this_machine_whatever_address_is_served() {
    let options = |hosts: &[&str]| ApiOptions {
        loopback: false,
        allow_open: true,
        allowed_hosts: hosts.iter().map(|&host| host.into()).collect(),
        ..Default::default()
    };
    let site = Site::with(options(&[]), |_| {}).await;
    for local in ["127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        assert_eq!(status_over(&site, local, "evil.example").await, 403);
        assert_eq!(status_over(&site, local, "localhost").await, 200);
    }
    assert_eq!(status_over(&site, "192.168.0.5:80", "plant").await, 200);
    // With names given, the others are refused on the network too.
    let site = Site::with(options(&["plant"]), |_| {}).await;
    for (host, status) in [("plant", 200), ("192.168.0.5", 200), ("evil.example", 403)] {
        assert_eq!(status_over(&site, "192.168.0.5:80", host).await, status);
    }
}

#[tokio::test]
async fn a_request_with_two_hosts_or_two_keys_is_refused() {
    let site = Site::open().await;
    let send = async |change: &dyn Fn(&mut axum::extract::Request)| {
        let mut request = site.call("GET", "/livez").request();
        change(&mut request);
        let router = site.router.clone();
        let response = tower::ServiceExt::oneshot(router, request).await.unwrap();
        response.status().as_u16()
    };
    assert_eq!(send(&|_| {}).await, 200);
    for header in ["host", "authorization"] {
        let twice = |request: &mut axum::extract::Request| {
            let headers = request.headers_mut();
            headers.insert(header, "localhost".parse().unwrap());
            headers.append(header, "localhost".parse().unwrap());
        };
        assert_eq!(send(&twice).await, 400, "{header}");
    }
    for (uri, status) in [
        ("http://localhost/livez", 200),
        ("http://LOCALHOST:80/livez", 200),
        ("http://127.0.0.1/livez", 400),
        ("http://localhost:8700/livez", 400),
    ] {
        let absolute = |request: &mut axum::extract::Request| {
            *request.uri_mut() = uri.parse().unwrap();
        };
        assert_eq!(send(&absolute).await, status, "{uri}");
    }
}

#[tokio::test]
async fn browsers_are_told_to_stay_with_tls_over_tls_only() {
    let told = async |tls: bool, options: ApiOptions| {
        let site = Site::with(options, |_| {}).await;
        let mut request = site.call("GET", "/livez").request();
        request.extensions_mut().insert(Peer {
            remote: "127.0.0.1:5000".parse().unwrap(),
            local: "127.0.0.1:80".parse().unwrap(),
            tls,
        });
        let router = site.router.clone();
        let response = tower::ServiceExt::oneshot(router, request).await.unwrap();
        let value = response.headers().get("strict-transport-security").cloned();
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    let off = ApiOptions {
        hsts: None,
        ..Default::default()
    };
    let default = told(true, ApiOptions::default()).await;
    assert_eq!(default.as_deref(), Some("max-age=31536000"));
    assert_eq!(told(false, ApiOptions::default()).await, None);
    assert_eq!(told(true, off).await, None);
}

#[tokio::test]
async fn pages_of_others_read_nothing() {
    let site = Site::open().await;
    site.stream("s").await;
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for path in ["/v1/streams/s/export", "/v1/events", "/metrics"] {
            let call = site.call("GET", path).header(name, value);
            call.send().await.problem(403, "foreign-origin");
        }
    }
    // A person who types the address, or follows a bookmark.
    let typed = site
        .call("GET", "/v1/streams/s/export")
        .header("sec-fetch-site", "none");
    typed.send().await.is(200);
}

#[tokio::test]
async fn pages_of_others_change_nothing() {
    let site = Site::open().await;
    let create = |name: &str, value: &str| {
        let new = json!({"name": "s", "detector": "rarity"});
        let call = site.call("POST", "/v1/streams").header(name, value);
        call.json(&new).send()
    };
    create("origin", "https://evil.example")
        .await
        .problem(403, "foreign-origin");
    create("origin", "null")
        .await
        .problem(403, "foreign-origin");
    create("sec-fetch-site", "cross-site")
        .await
        .problem(403, "foreign-origin");
    assert_eq!(site.get("/v1/streams").await.json()["streams"], json!([]));
    create("origin", "http://localhost").await.is(201);
}

#[tokio::test]
async fn cors_is_off_unless_an_origin_is_allowed() {
    let site = Site::open().await;
    let ask = |site: &Site| {
        site.call("GET", "/v1/info")
            .header("origin", "https://mes.example")
            .request()
    };
    let headers = |answer: &axum::response::Response| {
        answer
            .headers()
            .get("access-control-allow-origin")
            .map(|v| v.to_str().unwrap().to_owned())
    };
    use tower::ServiceExt;
    let answer = site.router.clone().oneshot(ask(&site)).await.unwrap();
    assert_eq!(headers(&answer), None);
    let options = ApiOptions {
        allowed_origins: vec!["https://mes.example".into()],
        ..Default::default()
    };
    let site = Site::with(options, |_| {}).await;
    let answer = site.router.clone().oneshot(ask(&site)).await.unwrap();
    assert_eq!(headers(&answer).as_deref(), Some("https://mes.example"));
    let preflight = site
        .call("OPTIONS", "/v1/streams")
        .header("origin", "https://mes.example")
        .header("access-control-request-method", "POST");
    let answer = preflight.send().await.is(204);
    assert!(
        answer
            .header("access-control-allow-methods")
            .contains("POST")
    );
    let new = json!({"name": "s", "detector": "rarity"});
    let call = site
        .call("POST", "/v1/streams")
        .header("origin", "https://mes.example");
    call.header("sec-fetch-site", "cross-site")
        .json(&new)
        .send()
        .await
        .is(201);
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_protect_a_browser() {
    let site = Site::open().await;
    for path in ["/", "/docs", "/v1/info", "/nowhere", "/v1/streams/x"] {
        let answer = site.get(path).await;
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("default-src 'self'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
    }
    assert_eq!(
        site.get("/v1/info").await.header("cache-control"),
        "no-store"
    );
}
