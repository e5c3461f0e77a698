//! The OpenAPI document: what the routes say of themselves, and what holds for all of them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Content, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, RefOr,
    ResponseBuilder,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::required;
use super::problem::{ApiError, Problem};
use super::state::Api;
use super::{content, events, examples, health, images, kserve, results, snapshots, streams};

const ABOUT: &str = "Industrial visual anomaly detection: each camera and product is a stream; images are scored in the order they come, and \
the stream learns from them.\n\nErrors are `application/problem+json` (RFC 9457) with a `kind` for programs; under `/v2` they are \
`{\"error\": ...}`. A 429 or 503 says in `Retry-After` after how many seconds to try again. Unknown query parameters and fields are \
refused.\n\nWith API keys set up, requests carry `Authorization: Bearer rareclip_...`; a key has the scope `read`, `score` (read, \
and score images) or `admin` (everything).\n\nWeb pages of other \
origins may use only the routes that need no key; the operator can allow an origin.";

/// The groups of routes, in the order they are explained.
const GROUPS: [(&str, &str); 9] = [
    ("images", "Scoring."),
    ("streams", "One for each camera and product."),
    ("calibration", "From scores to verdicts."),
    (
        "results",
        "The history, its pictures, and what people say of it.",
    ),
    ("events", "What happens, as it happens."),
    ("snapshots", "Keeping and moving what a stream has learned."),
    ("service", "The service itself."),
    (
        "open inference protocol",
        "KServe v2, for clients that speak it already.",
    ),
    ("page", "Files of the web page."),
];

/// The document
///
/// This document, OpenAPI 3.1.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "service",
    responses((status = 200, description = "The document.", body = Object)),
)]
pub(super) async fn document(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let bytes = api.document.get().cloned();
    let bytes = bytes.ok_or_else(|| ApiError::internal("the document is not ready"))?;
    Ok((content::content_type("application/json"), bytes).into_response())
}

/// Every documented route.
pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    let license = LicenseBuilder::new()
        .name("MIT OR Apache-2.0")
        .identifier(Some("MIT OR Apache-2.0"))
        .build();
    let info = InfoBuilder::new()
        .title("rareclip")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(license))
        .build();
    let tags = GROUPS.map(|(name, text)| {
        let tag = TagBuilder::new().name(name).description(Some(text));
        tag.build()
    });
    let head = OpenApiBuilder::new().info(info).tags(Some(tags)).build();
    OpenApiRouter::with_openapi(head)
        .routes(routes!(images::submit))
        .routes(routes!(streams::list, streams::create))
        .routes(routes!(streams::get, streams::delete))
        .routes(routes!(streams::reset))
        .routes(routes!(streams::freeze))
        .routes(routes!(streams::unfreeze))
        .routes(routes!(streams::threshold))
        .routes(routes!(streams::preview))
        .routes(routes!(streams::calibrate))
        .routes(routes!(streams::normals))
        .routes(routes!(results::list))
        .routes(routes!(results::get))
        .routes(routes!(results::feedback))
        .routes(routes!(results::heatmap))
        .routes(routes!(results::overlay))
        .routes(routes!(results::picture))
        .routes(routes!(results::map))
        .routes(routes!(results::scores))
        .routes(routes!(events::of_stream))
        .routes(routes!(events::of_all))
        .routes(routes!(snapshots::take))
        .routes(routes!(snapshots::list))
        .routes(routes!(snapshots::delete))
        .routes(routes!(snapshots::restore))
        .routes(routes!(streams::export))
        .routes(routes!(streams::import))
        .routes(routes!(health::info))
        .routes(routes!(health::detectors))
        .routes(routes!(health::detector))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(document))
        .routes(routes!(kserve::server))
        .routes(routes!(kserve::live))
        .routes(routes!(kserve::ready))
        .routes(routes!(kserve::model))
        .routes(routes!(kserve::model_ready))
        .routes(routes!(kserve::infer))
}

/// Adds what holds for every route: errors, keys, examples.
pub(super) fn complete(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme("key", bearer);
    let problem = <Problem as utoipa::PartialSchema>::schema();
    components.schemas.insert("Problem".into(), problem);
    // Parameters do not bring their schemas along.
    let forms = <images::MapForm as utoipa::PartialSchema>::schema();
    components.schemas.insert("MapForm".into(), forms);
    for (name, schema) in &mut components.schemas {
        if let RefOr::T(schema) = schema {
            flatten(schema);
        }
        if let (RefOr::T(schema), Some(example)) = (schema, examples::of(name)) {
            give_example(schema, example);
        }
    }
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            let open_inference = path.starts_with("/v2");
            if let Some(RefOr::T(body)) = &mut operation.request_body {
                plain_files(&mut body.content);
            }
            for response in operation.responses.responses.values_mut() {
                if let RefOr::T(response) = response {
                    plain_files(&mut response.content);
                }
            }
            operation
                .responses
                .responses
                .insert("default".into(), RefOr::T(error(open_inference)));
            if let Some(scope) = required(&method, path) {
                let needs = SecurityRequirement::new("key", [scope.to_string()]);
                operation.security = Some(vec![needs]);
                let text = operation.description.take().unwrap_or_default();
                let text = format!("{text}\n\nScope: `{scope}`.");
                operation.description = Some(text.trim_start().to_owned());
            }
        }
    }
}

/// A file is not described by a schema; the files of a form are, by how they are sent.
fn plain_files<'a>(content: impl IntoIterator<Item = (&'a String, &'a mut RefOr<Content>)>) {
    for (kind, content) in content {
        let RefOr::T(content) = content else {
            continue;
        };
        if kind == "multipart/form-data" {
            let file = ObjectBuilder::new()
                .schema_type(Type::String)
                .content_media_type("application/octet-stream");
            let files = ArrayBuilder::new().items(file);
            let form = ObjectBuilder::new()
                .description(Some("Any field names; every part is a file."))
                .property("file", files);
            content.schema = Some(form.into());
        } else if !kind.contains("json") && !kind.starts_with("text/") {
            content.schema = None;
        }
    }
}

/// The operations of a path by method.
pub(super) fn operations(item: &mut PathItem) -> Vec<(Method, &mut Operation)> {
    let found = [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::DELETE, &mut item.delete),
    ];
    found
        .into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
        .collect()
}

fn error(open_inference: bool) -> utoipa::openapi::Response {
    let (kind, content) = match open_inference {
        true => {
            let example =
                serde_json::json!({"error": "inputs[0].datatype: found `FP32`, wanted `BYTES`"});
            (
                "application/json",
                ContentBuilder::new().example(Some(example)).build(),
            )
        }
        false => {
            let schema = Ref::from_schema_name("Problem");
            let content = ContentBuilder::new().schema(Some(schema)).build();
            ("application/problem+json", content)
        }
    };
    ResponseBuilder::new()
        .description("Why it was not done.")
        .content(kind, content)
        .build()
}

/// Makes one object of an object and those that are flattened into it: programs that read the
/// document, and people, then find every field in one place.
fn flatten(schema: &mut Schema) {
    let Schema::AllOf(all) = schema else { return };
    let objects: Option<Vec<_>> = all
        .items
        .iter()
        .map(|item| match item {
            RefOr::T(Schema::Object(object)) => Some(object.clone()),
            _ => None,
        })
        .collect();
    let Some(objects) = objects else { return };
    let mut whole = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(all.description.clone())
        .build();
    for object in objects {
        whole.properties.extend(object.properties);
        whole.required.extend(object.required);
        whole.description = whole.description.or(object.description);
    }
    *schema = Schema::Object(whole);
}

fn give_example(schema: &mut Schema, example: serde_json::Value) {
    match schema {
        Schema::Object(object) => object.examples = vec![example],
        Schema::OneOf(one_of) => one_of.examples = vec![example],
        Schema::AllOf(all_of) => all_of.examples = vec![example],
        Schema::AnyOf(any_of) => any_of.examples = vec![example],
        _ => {}
    }
}
