//! Requests to the router, without a socket.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rareclip_server::Settings;
use rareclip_server::api::{self, ApiOptions};
use serde_json::Value;
use tower::ServiceExt;

use crate::common;

pub struct Site {
    pub router: Router,
    _data: tempfile::TempDir,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {:?}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }

    /// The detail of a problem with this status and kind.
    #[track_caller]
    pub fn problem(self, status: u16, kind: &str) -> String {
        let answer = self.is(status);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let json = answer.json();
        assert_eq!(json["kind"], kind, "{json}");
        assert_eq!(json["status"], status);
        json["detail"].as_str().unwrap().to_owned()
    }
}

pub struct Call<'a> {
    site: &'a Site,
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Site {
    /// The data folder.
    pub fn data(&self) -> &std::path::Path {
        self._data.path()
    }

    pub async fn open() -> Self {
        Self::with(ApiOptions::default(), |_| {}).await
    }

    pub async fn with(options: ApiOptions, change: impl FnOnce(&mut Settings)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut settings = common::settings(data.path());
        change(&mut settings);
        let service = common::open(settings).await;
        let router = api::router(service, options);
        Self {
            router,
            _data: data,
        }
    }

    pub fn call(&self, method: &'static str, path: impl Into<String>) -> Call<'_> {
        Call {
            site: self,
            method,
            path: path.into(),
            headers: vec![("host".into(), "localhost".into())],
            body: Vec::new(),
        }
    }

    pub async fn get(&self, path: impl Into<String>) -> Answer {
        self.call("GET", path).send().await
    }

    pub async fn post(&self, path: impl Into<String>, json: Value) -> Answer {
        self.call("POST", path).json(&json).send().await
    }

    pub async fn put(&self, path: impl Into<String>, json: Value) -> Answer {
        self.call("PUT", path).json(&json).send().await
    }

    pub async fn stream(&self, name: &str) {
        let new = serde_json::json!({"name": name, "detector": "rarity"});
        self.post("/v1/streams", new).await.is(201);
    }

    /// Creates a stream that is there.
    pub async fn stream_again(&self, name: &str) {
        let new = serde_json::json!({"name": name, "detector": "rarity"});
        self.post("/v1/streams", new).await.is(200);
    }

    /// Shows a picture to a stream.
    pub async fn image(&self, stream: &str, seed: u32) -> Value {
        let path = format!("/v1/streams/{stream}/images?image={seed}.png");
        let call = self
            .call("POST", path)
            .raw("image/png", common::picture(seed));
        call.send().await.is(200).json()
    }
}

impl Call<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    pub fn raw(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("content-type", kind)
            .header("content-length", &length)
    }

    pub fn json(self, body: &Value) -> Self {
        self.raw("application/json", body.to_string())
    }

    pub fn form(self, files: &[(&str, Vec<u8>)]) -> Self {
        let mut body = Vec::new();
        for (name, bytes) in files {
            let head = format!(
                "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
            );
            body.extend(head.as_bytes());
            body.extend(bytes);
            body.extend(b"\r\n");
        }
        body.extend(b"--B--\r\n");
        self.raw("multipart/form-data; boundary=B", body)
    }

    pub fn request(self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(self.path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Body::from(self.body)).unwrap()
    }

    pub async fn send(self) -> Answer {
        let router = self.site.router.clone();
        let response = router.oneshot(self.request()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            bytes: bytes.to_vec(),
        }
    }
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
