//! The files of the page and of the API's documentation, out of the program itself.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathItem};
use utoipa::openapi::{ContentBuilder, OpenApi, ResponseBuilder};

/// A file that is served as it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asset {
    pub(super) path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! asset {
    ($path:literal, $kind:expr, $file:literal) => {
        Asset {
            path: $path,
            kind: $kind,
            bytes: include_bytes!($file),
        }
    };
}

macro_rules! page {
    ($name:literal, $kind:expr) => {
        Asset {
            path: concat!("/page/", $name),
            kind: $kind,
            bytes: include_bytes!(concat!("../page/", $name)),
        }
    };
}

pub(super) const ASSETS: &[Asset] = &[
    asset!("/", HTML, "../page/index.html"),
    page!("api.js", JS),
    page!("care.js", JS),
    page!("chart.js", JS),
    page!("dom.js", JS),
    page!("favicon.svg", SVG),
    page!("feedback.js", JS),
    page!("gallery.js", JS),
    page!("history.js", JS),
    page!("intake.js", JS),
    page!("judge.js", JS),
    page!("live.js", JS),
    page!("main.js", JS),
    page!("maths.js", JS),
    page!("overview.js", JS),
    page!("sparkline.js", JS),
    page!("stream.js", JS),
    page!("style.css", CSS),
    page!("theme.js", JS),
    page!("viewer.js", JS),
    asset!("/docs", HTML, "docs/index.html"),
    asset!("/docs/docs.css", CSS, "docs/docs.css"),
    asset!("/docs/docs.js", JS, "docs/docs.js"),
];

/// Adds a route for each file, and each route to the document.
pub(super) fn serve<S>(mut router: Router<S>, document: &mut OpenApi) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    for asset in ASSETS {
        let tag = format!(
            "\"{}\"",
            &HEXLOWER.encode(&Sha256::digest(asset.bytes))[..32]
        );
        let handler = move |headers: HeaderMap| async move { answer(asset, &tag, &headers) };
        router = router.route(asset.path, get(handler));
        let content = ContentBuilder::new().build();
        let media = asset.kind.split(';').next().unwrap_or(asset.kind);
        let response = ResponseBuilder::new()
            .description("The file.")
            .content(media, content)
            .build();
        let name = asset.path.rsplit('/').next().unwrap_or_default();
        let what = match asset.path {
            "/" => "The page: streams, results, feedback",
            "/docs" => "The documentation of the API",
            _ => name,
        };
        let operation = OperationBuilder::new()
            .tag("page")
            .summary(Some(what))
            .description(Some(
                "A file of the page. It holds no data and needs no key.",
            ))
            .response("200", response)
            .build();
        let item = PathItem::new(HttpMethod::Get, operation);
        document.paths.paths.insert(asset.path.into(), item);
    }
    router
}

fn answer(asset: &Asset, tag: &str, headers: &HeaderMap) -> Response {
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            let mut tags = value
                .split(',')
                .map(|tag| tag.trim().trim_start_matches("W/"));
            tags.any(|known| known == tag || known == "*")
        });
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => {
            let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind))];
            (kind, asset.bytes).into_response()
        }
    };
    let kept = response.headers_mut();
    // Kept by the browser, and asked for again each time, so that a new version is there at once.
    kept.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        kept.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page");
        let mut files = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let kind = name.rsplit('.').next().unwrap();
            if ["js", "css", "svg", "png", "woff2"].contains(&kind) && !name.contains(".test.") {
                let path = format!("/page/{name}");
                assert!(
                    ASSETS.iter().any(|asset| asset.path == path),
                    "{path} is not in ASSETS"
                );
                files += 1;
            }
        }
        assert!(files > 3);
    }
}
