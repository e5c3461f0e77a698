use std::collections::BTreeSet;

use serde_json::Value;

use crate::client::Site;

async fn document(site: &Site) -> Value {
    site.get("/openapi.json").await.is(200).json()
}

/// Method, path and operation of every route of the document.
fn operations(document: &Value) -> Vec<(&'static str, String, &Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "put", "post", "delete"] {
            if let Some(operation) = item.get(method) {
                let upper = ["GET", "PUT", "POST", "DELETE"];
                let method = upper.into_iter().find(|m| m.eq_ignore_ascii_case(method));
                found.push((method.unwrap(), path.clone(), operation));
            }
        }
    }
    found
}

fn filled(path: &str) -> String {
    path.replace("{name}", "x")
        .replace("{id}", "1")
        .replace("{model}", "x")
}

#[tokio::test]
async fn it_is_openapi_3_1() {
    let site = Site::open().await;
    let document = document(&site).await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn every_documented_route_is_served_and_no_other_method_on_its_path() {
    let site = Site::open().await;
    let document = document(&site).await;
    let operations = operations(&document);
    assert!(operations.len() > 60, "{}", operations.len());
    for (method, path, _) in &operations {
        if path.ends_with("/events") && !path.contains("{name}") {
            continue;
        }
        let answer = site.call(method, filled(path)).send().await;
        assert_ne!(answer.status, 405, "{method} {path}");
        assert!(
            !answer.text().contains("there is no route"),
            "{method} {path}"
        );
    }
    let paths: BTreeSet<&String> = operations.iter().map(|(_, path, _)| path).collect();
    for path in paths {
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
            if !operations.iter().any(|(m, p, _)| m == &method && p == path) {
                let answer = site.call(method, filled(path)).send().await;
                assert_eq!(answer.status, 405, "{method} {path} is not in the document");
            }
        }
    }
}

#[tokio::test]
async fn every_route_in_the_sources_is_in_the_document() {
    let site = Site::open().await;
    let document = document(&site).await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    let mut routes = BTreeSet::new();
    for file in walk(&folder) {
        let text = std::fs::read_to_string(file).unwrap();
        let quoted = text.split("path = \"").skip(1);
        routes.extend(
            quoted
                .filter_map(|rest| rest.split('"').next())
                .map(str::to_owned),
        );
    }
    assert!(routes.len() > 35, "{routes:?}");
    for route in routes {
        assert!(document["paths"].get(&route).is_some(), "{route}");
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

#[tokio::test]
async fn every_route_and_parameter_is_described_and_has_an_example() {
    let site = Site::open().await;
    let document = document(&site).await;
    let mut missing = Vec::new();
    for (method, path, operation) in operations(&document) {
        if operation["summary"].as_str().is_none_or(str::is_empty) {
            missing.push(format!("{method} {path}: summary"));
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = &parameter["name"];
            if parameter["description"].as_str().is_none_or(str::is_empty) {
                missing.push(format!("{method} {path}: description of {name}"));
            }
            if parameter.get("example").is_none() {
                missing.push(format!("{method} {path}: example of {name}"));
            }
        }
        if path.contains('{') {
            for part in path.split(['{', '}']).skip(1).step_by(2) {
                let parameters = operation["parameters"].as_array().unwrap();
                if !parameters
                    .iter()
                    .any(|p| p["in"] == "path" && p["name"] == part)
                {
                    missing.push(format!("{method} {path}: parameter {part}"));
                }
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[tokio::test]
async fn every_schema_and_field_is_described_and_has_an_example() {
    let site = Site::open().await;
    let document = document(&site).await;
    let mut missing = Vec::new();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert!(schemas.len() > 30);
    for (name, schema) in schemas {
        if schema.get("description").is_none() {
            missing.push(format!("{name}: description"));
        }
        if schema.get("examples").is_none() {
            missing.push(format!("{name}: example"));
        }
        for (field, value) in schema["properties"].as_object().into_iter().flatten() {
            let described = value.get("description").is_some()
                || value["oneOf"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|one| one.get("description").is_some()));
            if !described {
                missing.push(format!("{name}.{field}: description"));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    fn check(document: &Value, value: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(to)) = fields.get("$ref") {
                    let pointer = to.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{to}");
                }
                fields.values().for_each(|v| check(document, v));
            }
            Value::Array(list) => list.iter().for_each(|v| check(document, v)),
            _ => {}
        }
    }
    let site = Site::open().await;
    let document = document(&site).await;
    check(&document, &document);
}

#[tokio::test]
async fn routes_that_need_a_key_say_its_scope() {
    let site = Site::open().await;
    let document = document(&site).await;
    for (method, path, operation) in operations(&document) {
        let public = ["/", "/docs", "/openapi.json", "/livez", "/readyz"].contains(&path.as_str())
            || ["/page/", "/docs/", "/v2/health/"]
                .iter()
                .any(|p| path.starts_with(p));
        assert_eq!(
            operation.get("security").is_none(),
            public,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn the_pages_are_served_whole_with_tags_and_without_foreign_hosts() {
    let site = Site::open().await;
    for (page, base) in [("/", "/"), ("/docs", "/")] {
        let answer = site.get(page).await.is(200);
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        let html = answer.text();
        assert!(
            !html.contains("http://") && !html.contains("https://"),
            "{page}"
        );
        for quoted in html
            .split(['"'])
            .filter(|w| w.ends_with(".js") || w.ends_with(".css") || w.ends_with(".svg"))
        {
            site.get(format!("{base}{quoted}")).await.is(200);
        }
        assert!(
            !html.contains("<script>") && !html.contains("style="),
            "{page}"
        );
    }
    let tag = site.get("/page/main.js").await.header("etag").to_owned();
    let again = site
        .call("GET", "/page/main.js")
        .header("if-none-match", &tag);
    let again = again.send().await.is(304);
    assert!(again.bytes.is_empty());
    assert_eq!(again.header("etag"), tag);
}

#[tokio::test]
async fn files_are_described_as_files_and_not_as_lists_of_numbers() {
    let site = Site::open().await;
    let document = document(&site).await;
    let images = &document["paths"]["/v1/streams/{name}/images"]["post"];
    let body = &images["requestBody"]["content"];
    assert_eq!(body["image/*"], serde_json::json!({}));
    let form = &body["multipart/form-data"]["schema"]["properties"]["file"];
    assert_eq!(
        form["items"]["contentMediaType"],
        "application/octet-stream"
    );
    let answers = &images["responses"]["200"]["content"];
    assert_eq!(answers["image/png"], serde_json::json!({}));
    assert!(answers["application/json"]["schema"].is_object());
}
