//! The documentation page, drawn by a browser.

use std::path::PathBuf;
use std::process::Command;

use rareclip_server::api::{ApiOptions, bind, serve};
use rareclip_testkit::skipped;
use tokio::task::spawn_blocking;

use crate::common::{open, settings};

fn browser() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("RARECLIP_CHROME") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| {
            ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name))
        })
        .find(|candidate| candidate.is_file())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_every_route_and_schema_without_any_other_host() {
    let Some(browser) = browser() else {
        skipped(
            "it_shows_every_route_and_schema_without_any_other_host",
            "Chromium or Chrome (set RARECLIP_CHROME)",
        );
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let profile = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stopped = std::future::pending();
    let task = tokio::spawn(serve(service, listener, ApiOptions::default(), stopped));
    let (page, document) = spawn_blocking(move || {
        let mut answer = ureq::get(format!("{base}/openapi.json")).call().unwrap();
        let document = answer.body_mut().read_to_string().unwrap();
        let output = Command::new(browser)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--virtual-time-budget=20000",
                "--dump-dom",
            ])
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("{base}/docs"))
            .output()
            .unwrap();
        (String::from_utf8(output.stdout).unwrap(), document)
    })
    .await
    .unwrap();
    task.abort();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "put", "post", "delete"] {
            if item.get(method).is_some() {
                let heading = format!(
                    "<span class=\"method {method}\">{}</span> {path}</h3>",
                    method.to_uppercase()
                );
                assert!(page.contains(&heading), "{method} {path}");
            }
        }
    }
    for name in document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
    {
        assert!(page.contains(&format!("id=\"schema-{name}\"")), "{name}");
    }
    assert!(page.contains("curl -X POST"));
}
