//! Scoring images.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use rareclip_core::Verdict;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::accept::negotiate;
use super::answers;
use super::intake::{EncodedImages, images};
use super::problem::{ApiError, Problem};
use super::results::{Picture, picture_response};
use super::state::{Api, Path, Strict};
use crate::model::{ResultRecord, Timings};
use crate::pictures::LONGEST_SIDE;
use crate::{ServiceError, SubmitOptions, Submitted};

/// The header that carries the answer where the body is a map.
const RESULT: HeaderName = HeaderName::from_static("rareclip-result");

/// Where to go on from an answer; null where the image left no trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Links {
    /// The result.
    #[serde(rename = "self")]
    pub own: Option<String>,
    /// The map in colours (PNG).
    pub heatmap: Option<String>,
    /// The map over the picture (PNG).
    pub overlay: Option<String>,
    /// The picture (JPEG).
    pub picture: Option<String>,
    /// The map as numbers (NPY).
    pub map: Option<String>,
    /// The stream.
    pub stream: String,
}

/// What is said of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// The result as it stands in the history; `id` is 0 when it was not recorded.
    #[serde(flatten)]
    pub record: ResultRecord,
    /// The stream.
    pub stream: String,
    /// Whether the result stands in the history.
    pub recorded: bool,
    /// Whether this is the answer that the same idempotency key got before.
    pub replayed: bool,
    /// What its user should know, in words.
    pub notice: Option<String>,
    /// Whether the stream is still warming up, so that there is no verdict yet.
    pub warm_up: bool,
    /// Milliseconds by stage.
    pub timings: Timings,
    /// Where to go on.
    pub links: Links,
}

/// One of several answers: that of an image, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum AnswerOrError {
    /// The image was scored.
    Answer(Box<Answer>),
    /// The image was not scored.
    Error {
        /// Why not.
        error: Problem,
    },
}

/// Answers in the order of the images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Answers {
    /// One for each image.
    pub results: Vec<AnswerOrError>,
}

/// What is said of the images of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Scored {
    /// Of a single image.
    One(Box<Answer>),
    /// Of several.
    Several(Answers),
}

/// How images are scored.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImageQuery {
    /// Whether the stream learns from the images; `false`: a peek that leaves no trace. Missing:
    /// `true`.
    #[param(example = true)]
    update: Option<bool>,
    /// Name of a raw image, up to 512 bytes.
    #[param(example = "cell-0042.png")]
    image: Option<String>,
    /// Milliseconds within which the answer is wanted, 1 to 3600000. Missing: as the service is
    /// set.
    #[param(example = 2000, minimum = 1, maximum = 3_600_000)]
    timeout_ms: Option<u64>,
    /// The form of the anomaly map to answer with instead of JSON: `heatmap` (PNG), `overlay`
    /// (PNG), `npy`, `f32` (32-bit floats, little-endian, row by row).
    #[param(example = "heatmap")]
    map: Option<MapForm>,
}

/// A form of the anomaly map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MapForm {
    /// In colours, PNG.
    Heatmap,
    /// Over the picture, PNG.
    Overlay,
    /// As numbers, NPY.
    Npy,
    /// As numbers, 32-bit floats, little-endian, row by row.
    F32,
}

impl MapForm {
    fn picture(self) -> Picture {
        match self {
            Self::Heatmap => Picture::Heatmap,
            Self::Overlay => Picture::Overlay(0.5),
            Self::Npy => Picture::Npy,
            Self::F32 => Picture::Floats,
        }
    }
}

/// The time that the query allows.
pub(crate) fn deadline(timeout_ms: Option<u64>) -> Result<Option<Duration>, ApiError> {
    match timeout_ms {
        None => Ok(None),
        Some(ms @ 1..=3_600_000) => Ok(Some(Duration::from_millis(ms))),
        Some(ms) => Err(ApiError::invalid(
            "query: timeout_ms",
            format!("found {ms}, wanted 1 to 3600000"),
        )),
    }
}

/// What the answer is to be: JSON (`None`) or a map.
fn form(query: &ImageQuery, headers: &HeaderMap) -> Result<Option<MapForm>, ApiError> {
    if query.map.is_some() {
        return Ok(query.map);
    }
    let offers = [
        "application/json",
        "image/png",
        "application/x-npy",
        "application/octet-stream",
    ];
    match negotiate(headers, &offers) {
        Some(0) => Ok(None),
        Some(1) => Ok(Some(MapForm::Heatmap)),
        Some(2) => Ok(Some(MapForm::Npy)),
        Some(_) => Ok(Some(MapForm::F32)),
        None => Err(not_acceptable(
            "Accept: there are application/json, image/png, application/x-npy and application/octet-stream",
        )),
    }
}

fn not_acceptable(detail: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", detail)
}

/// Score images
///
/// Scores one image or several, in order, and by default lets the stream learn from them. A single
/// image is answered by an `Answer`, several by `Answers`. Nothing is scored where there is no room
/// for all of them (429 with `Retry-After`). With an `Idempotency-Key` the same image sent again
/// gets the first answer again; image i of a batch has the key `KEY/i`. A client that hangs up
/// takes its images back as far as the stream has not begun to learn from them.
#[utoipa::path(
    post,
    path = "/v1/streams/{name}/images",
    tag = "images",
    params(
        ("name" = String, Path, description = "The stream.", example = "line-1"),
        ImageQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 200 visible ASCII characters.", example = "2026-11-24-cell-0042"),
        ("Accept" = Option<String>, Header, description = "`image/png`, `application/x-npy` or `application/octet-stream`: answer with the anomaly map, the Answer in the header `Rareclip-Result`. One image only.", example = "application/json"),
    ),
    request_body(
        description = "The image file itself, a form of files, or JSON with base64.",
        content(
            (Vec<u8> = "image/*"),
            (Vec<u8> = "application/octet-stream"),
            (String = "multipart/form-data"),
            (EncodedImages = "application/json"),
        ),
    ),
    responses(
        (status = 200, description = "Scored.", content(
            (Scored = "application/json"),
            (Vec<u8> = "image/png"),
            (Vec<u8> = "application/x-npy"),
            (Vec<u8> = "application/octet-stream"),
        )),
    ),
)]
pub(crate) async fn submit(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Strict(query): Strict<ImageQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let form = form(&query, request.headers())?;
    let deadline = deadline(query.timeout_ms)?;
    let intake = images(&api, request, query.image).await?;
    if form.is_some() && intake.images.len() > 1 {
        return Err(not_acceptable(
            "a map can be the answer to one image only; send the images one at a time, or ask for JSON and follow `links.map`",
        ));
    }
    let reserved = form.map(|_| {
        let side = api.service.image_side(&name);
        let bytes = 2 * LONGEST_SIDE * LONGEST_SIDE * 3 + 12 * side * side;
        answers::reserve(&api, bytes, "ask for JSON and follow `links.map`")
    });
    let reserved = reserved.transpose()?;
    let several = intake.images.len() > 1;
    let options = SubmitOptions {
        update: query.update.unwrap_or(true),
        deadline,
        keep_shown: form.is_some(),
    };
    let outcomes = api.service.submit(&name, intake.images, options).await?;
    drop(intake.held);
    if several {
        let each = |outcome: Result<Submitted, ServiceError>| match outcome {
            Ok(submitted) => AnswerOrError::Answer(Box::new(answer(&name, submitted))),
            Err(error) => AnswerOrError::Error {
                error: ApiError::from(error).problem().clone(),
            },
        };
        let results = outcomes.into_iter().map(each).collect();
        return Ok(axum::Json(Scored::Several(Answers { results })).into_response());
    }
    let outcome = outcomes.into_iter().next();
    let mut submitted =
        outcome.ok_or_else(|| ApiError::internal("an image without an answer"))??;
    let Some(form) = form else {
        let one = Scored::One(Box::new(answer(&name, submitted)));
        return Ok(axum::Json(one).into_response());
    };
    let shown = match submitted.shown.take() {
        Some(shown) => shown,
        // An answer given again has no picture at hand; the history may.
        None => api.service.shown(&name, submitted.record.id).await?,
    };
    let mut response = picture_response(&api, shown, form.picture()).await?;
    let result = ascii_json(&answer(&name, submitted))?;
    response.headers_mut().insert(RESULT, result);
    if let Some(reserved) = reserved {
        response.extensions_mut().insert(reserved);
    }
    Ok(response)
}

pub(crate) fn answer(stream: &str, submitted: Submitted) -> Answer {
    let base = format!("/v1/streams/{stream}");
    let id = submitted.record.id;
    let link = |tail: &str| {
        submitted
            .recorded
            .then(|| format!("{base}/results/{id}{tail}"))
    };
    let links = Links {
        own: link(""),
        heatmap: link("/heatmap"),
        overlay: link("/overlay"),
        picture: link("/picture"),
        map: link("/map"),
        stream: base.clone(),
    };
    Answer {
        stream: stream.to_owned(),
        recorded: submitted.recorded,
        replayed: submitted.replayed,
        notice: submitted.notice,
        warm_up: submitted.record.result.verdict == Verdict::Uncalibrated,
        timings: submitted.timings,
        links,
        record: submitted.record,
    }
}

/// JSON that fits into a header: everything beyond ASCII escaped.
fn ascii_json(answer: &Answer) -> Result<HeaderValue, ApiError> {
    let json = serde_json::to_string(answer).map_err(|e| ApiError::internal(e.to_string()))?;
    HeaderValue::from_str(&ascii(&json)).map_err(|e| ApiError::internal(e.to_string()))
}

fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        // DEL may not stand in a header, though JSON allows it.
        if c.is_ascii() && c != '\u{7f}' {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn json_in_a_header_is_visible_ascii_and_means_the_same(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let header = ascii(&json);
            prop_assert!(HeaderValue::from_str(&header).is_ok());
            prop_assert!(header.is_ascii());
            prop_assert_eq!(serde_json::from_str::<String>(&header).unwrap(), text);
        }
    }

    #[test]
    fn a_deadline_is_1_ms_to_1_h() {
        assert_eq!(deadline(Some(5)).unwrap(), Some(Duration::from_millis(5)));
        assert!(deadline(None).unwrap().is_none());
        assert!(deadline(Some(0)).is_err());
        assert!(deadline(Some(3_600_001)).is_err());
    }
}
