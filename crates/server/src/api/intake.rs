//! Images as they come: raw, multipart or base64 in JSON, one or many.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::multipart::MultipartRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{Allowance, media_type, parsed, read, unsupported};
use super::counted::{self, too_many};
use super::problem::ApiError;
use super::state::Api;
use crate::Submission;
use rareclip_service::budget::Held;
use rareclip_service::text;

const WANTED: &str = "an image (image/*, application/octet-stream), multipart/form-data, or application/json with base64";

/// Base64 in the standard alphabet; clients differ in padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An image in a JSON body.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EncodedImage {
    /// The image as the client names it, up to 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The file (PNG, JPEG, TIFF, BMP, WebP) in base64, or as a `data:` URI.
    pub data: String,
    /// Idempotency key, 1 to 200 characters: the same key again gets the first answer again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Images in a JSON body: either `images`, or the fields of a single one.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EncodedImages {
    /// Several images, in order.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "counted::images"
    )]
    pub images: Option<Vec<EncodedImage>>,
    /// Name of a single image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// A single image in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Idempotency key of a single image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Images of one request, and the room that they take as long as they are worked on.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) images: Vec<Submission>,
    pub(crate) held: Held,
}

/// Reads the images of a request. `name` is that of a raw image.
pub(crate) async fn images(
    api: &Arc<Api>,
    request: Request,
    name: Option<String>,
) -> Result<Intake, ApiError> {
    let (parts, body) = request.into_parts();
    let kind = media_type(&parts.headers);
    let raw = kind.starts_with("image/") || kind == "application/octet-stream";
    if !raw && kind != "multipart/form-data" && kind != "application/json" {
        return Err(unsupported(&kind, WANTED));
    }
    // A body that has to be taken apart is there twice for a while.
    let allowance = Allowance {
        bytes: api.service.settings().max_body_bytes,
        weight: if raw { 1 } else { 2 },
    };
    let key = idempotency_key(&parts.headers)?;
    let (bytes, held) = read(api, &parts.headers, body, allowance).await?;
    let max = api.service.settings().max_queue;
    let mut images = match kind.as_str() {
        "multipart/form-data" => {
            // The form is taken apart by code that waits for its body, which is all there.
            let runtime = tokio::runtime::Handle::current();
            let read = move |bytes: &Bytes| {
                let form = multipart(parts, bytes.clone(), max);
                runtime.block_on(form)
            };
            tokio::task::spawn_blocking(move || read(&bytes))
                .await
                .map_err(|error| ApiError::internal(error.to_string()))??
        }
        "application/json" => parsed(bytes, move |bytes| json(bytes, max)).await?,
        _ => vec![submission(name, bytes, None, "body")?],
    };
    spread_key(&mut images, key);
    Ok(Intake { images, held })
}

/// Image `i` of a batch gets `KEY/i`, so that a batch sent again is answered image by image.
pub(crate) fn spread_key(images: &mut [Submission], key: Option<String>) {
    let Some(key) = key else {
        return;
    };
    let single = images.len() == 1;
    for (position, image) in images.iter_mut().enumerate() {
        image.key.get_or_insert_with(|| match single {
            true => key.clone(),
            false => format!("{key}/{position}"),
        });
    }
}

pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let bad = || {
        ApiError::invalid(
            "Idempotency-Key",
            "wanted 1 to 200 visible ASCII characters",
        )
    };
    let text = value.to_str().map_err(|_| bad())?;
    if !(1..=200).contains(&text.len()) {
        return Err(bad());
    }
    Ok(Some(text.to_owned()))
}

/// Checks what can be said of an image without decoding it.
pub(crate) fn submission(
    name: Option<String>,
    bytes: Bytes,
    key: Option<String>,
    place: &str,
) -> Result<Submission, ApiError> {
    if bytes.is_empty() {
        return Err(ApiError::invalid(
            place,
            "the image is empty; send the file itself",
        ));
    }
    text::IMAGE.maybe(&format!("{place}: image"), name.as_ref())?;
    text::KEY.maybe(&format!("{place}: key"), key.as_ref())?;
    Ok(Submission { name, bytes, key })
}

/// The images of a JSON body, at most `max`.
pub(crate) fn json(bytes: &[u8], max: usize) -> Result<Vec<Submission>, ApiError> {
    encoded(counted::parse(bytes, max)?, max)
}

/// The images of a JSON body.
fn encoded(body: EncodedImages, max: usize) -> Result<Vec<Submission>, ApiError> {
    let (list, single) = match (body.images, body.data) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid(
                "body",
                "either `images` or `data`, not both",
            ));
        }
        (None, None) => {
            return Err(ApiError::invalid(
                "body",
                "missing field `images` (a list), or `data` (a single image)",
            ));
        }
        (Some(list), None) => {
            if body.image.is_some() || body.key.is_some() {
                let problem = "`image` and `key` stand beside each `data`, not beside `images`";
                return Err(ApiError::invalid("body", problem));
            }
            (list, false)
        }
        (None, Some(data)) => {
            let (image, key) = (body.image, body.key);
            (vec![EncodedImage { image, data, key }], true)
        }
    };
    if list.is_empty() {
        return Err(ApiError::invalid("images", "no image in it"));
    }
    if list.len() > max {
        return Err(too_many(max));
    }
    list.into_iter()
        .enumerate()
        .map(|(position, image)| {
            let place = match single {
                true => "data".to_owned(),
                false => format!("images[{position}].data"),
            };
            let bytes = decode_base64(&image.data)
                .map_err(|e| ApiError::invalid(place.clone(), format!("not base64: {e}")))?;
            submission(image.image, bytes, image.key, &place)
        })
        .collect()
}

/// Decodes base64 as clients send it: in the standard or the URL-safe alphabet, with or without
/// padding and line breaks, or as a `data:` URI.
///
/// # Errors
/// What is wrong with the text, in words.
pub(crate) fn decode_base64(text: &str) -> Result<Bytes, String> {
    let text = match text.strip_prefix("data:") {
        None => text,
        Some(uri) => match uri.split_once(',') {
            Some((kind, data)) if kind.ends_with(";base64") => data,
            _ => return Err("a data: URI without `;base64,`".into()),
        },
    };
    // Most clients send the plain form, which is decoded without a copy.
    match BASE64.decode(text) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => {
            let plain: Vec<u8> = text.bytes().filter_map(plain_letter).collect();
            if plain == text.as_bytes() {
                return Err(error.to_string());
            }
            let decoded = BASE64.decode(plain).map(Bytes::from);
            decoded.map_err(|error| error.to_string())
        }
    }
}

/// A letter of base64 in the standard alphabet; `None` for white space.
fn plain_letter(letter: u8) -> Option<u8> {
    match letter {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        letter if letter.is_ascii_whitespace() => None,
        letter => Some(letter),
    }
}

/// Every file of a form, its filename the name.
async fn multipart(parts: Parts, body: Bytes, max: usize) -> Result<Vec<Submission>, ApiError> {
    let mut request = Request::from_parts(parts, Body::from(body));
    // The size was checked on the way in, by a limit of our own.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|e: MultipartRejection| ApiError::invalid("Content-Type", e.body_text()))?;
    let broken = |e: axum::extract::multipart::MultipartError| {
        ApiError::invalid("body", format!("not a multipart form: {}", e.body_text()))
    };
    let mut images = Vec::new();
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let field_name = text::repeated(field.name().unwrap_or_default());
        let place = format!("part {} `{field_name}`", images.len());
        let Some(name) = field.file_name().map(str::to_owned) else {
            let problem = "not a file (it has no filename); options go into the query";
            return Err(ApiError::invalid(place, problem));
        };
        if images.len() == max {
            return Err(too_many(max));
        }
        let bytes = field.bytes().await.map_err(broken)?;
        let name = (!name.is_empty()).then_some(name);
        images.push(submission(name, bytes, None, &place)?);
    }
    if images.is_empty() {
        return Err(ApiError::invalid("body", "no file in the form"));
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> Result<Vec<Submission>, ApiError> {
        super::json(text.as_bytes(), 3)
    }

    fn form(boundary: &str, body: Vec<u8>) -> Result<Vec<Submission>, ApiError> {
        let kind = format!("multipart/form-data; boundary={boundary}");
        let request = Request::builder().header("content-type", kind);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(multipart(parts, body.into(), 3))
    }

    #[test]
    fn base64_is_read_with_and_without_padding() {
        for data in ["QUI=", "QUI"] {
            let images =
                json(&format!(r#"{{"data":"{data}","image":"a.png","key":"k"}}"#)).unwrap();
            assert_eq!(&images[0].bytes[..], b"AB");
            assert_eq!(images[0].name.as_deref(), Some("a.png"));
            assert_eq!(images[0].key.as_deref(), Some("k"));
        }
    }

    #[test]
    fn what_is_wrong_with_a_json_body_is_named() {
        let cases = [
            (
                r#"{"images":[{"data":"QUI="},{"data":"*"}]}"#,
                "images[1].data: not base64",
            ),
            (r#"{"images":[{}]}"#, "missing field `data`"),
            (r#"{"images":[]}"#, "images: no image"),
            (r#"{}"#, "missing field `images`"),
            (r#"{"data":"QUI=","images":[]}"#, "not both"),
            (
                r#"{"data":"QUI=","update":false}"#,
                "unknown field `update`",
            ),
            (r#"{"data":""}"#, "data: the image is empty"),
            (
                r#"{"data":"QUI=","image":"a\u0000"}"#,
                "control character U+0000",
            ),
            (r#"{"data":"QUI=","key":""}"#, "1 to 200 characters"),
            (
                r#"{"images":[{"data":"QQ"},{"data":"QQ"},{"data":"QQ"},{"data":"QQ"}]}"#,
                "more than 3 images",
            ),
        ];
        for (body, said) in cases {
            let detail = json(body).unwrap_err().problem().detail.clone();
            assert!(detail.contains(said), "{body}: {detail}");
        }
    }

    #[test]
    fn every_file_of_a_form_is_an_image_named_by_its_filename() {
        let body = "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.png\"\r\n\r\nAB\r\n--B\r\n\
                    Content-Disposition: form-data; name=\"f\"; filename=\"b.png\"\r\n\r\nC\r\n--B--\r\n";
        let images = form("B", body.into()).unwrap();
        let names: Vec<_> = images.iter().map(|i| i.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["a.png", "b.png"]);
        assert_eq!(&images[0].bytes[..], b"AB");
    }

    #[test]
    fn a_form_field_that_is_no_file_is_refused() {
        let body =
            "--B\r\nContent-Disposition: form-data; name=\"update\"\r\n\r\nfalse\r\n--B--\r\n";
        let detail = form("B", body.into()).unwrap_err().problem().detail.clone();
        assert!(detail.contains("part 0 `update`: not a file"), "{detail}");
    }

    #[test]
    fn a_key_of_a_batch_is_numbered_and_own_keys_stay() {
        let mut images = json(r#"{"images":[{"data":"QQ"},{"data":"QQ","key":"own"}]}"#).unwrap();
        spread_key(&mut images, Some("k".into()));
        let keys: Vec<_> = images.iter().map(|i| i.key.as_deref().unwrap()).collect();
        assert_eq!(keys, ["k/0", "own"]);
        let mut single = json(r#"{"data":"QQ"}"#).unwrap();
        spread_key(&mut single, Some("k".into()));
        assert_eq!(single[0].key.as_deref(), Some("k"));
    }

    proptest! {
        #[test]
        fn any_json_body_gets_images_or_an_error(body in ".{0,200}") {
            if let Ok(images) = json(&body) {
                prop_assert!((1..=3).contains(&images.len()));
            }
        }

        #[test]
        fn base64_of_any_bytes_comes_back(bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
            let data = BASE64.encode(&bytes);
            let images = json(&format!(r#"{{"data":"{data}"}}"#)).unwrap();
            prop_assert_eq!(&images[0].bytes[..], &bytes[..]);
        }

        #[test]
        fn any_multipart_body_gets_images_or_an_error(
            pieces in proptest::collection::vec(prop_oneof![
                Just(b"--B\r\n".to_vec()),
                Just(b"--B--".to_vec()),
                Just(b"Content-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\n".to_vec()),
                Just(b"Content-Disposition: \r\n".to_vec()),
                Just(b"\r\n".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..20),
            ], 0..12),
        ) {
            if let Ok(images) = form("B", pieces.concat()) {
                prop_assert!((1..=3).contains(&images.len()));
            }
        }
    }
}
