//! Bodies that arrive compressed: `Content-Encoding: gzip`.

use std::io::Read;

use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use super::problem::ApiError;
use rareclip_service::budget::{Budget, Held};

/// Bytes that are decompressed between two looks at the limits.
const PIECE: usize = 64 << 10;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
}

/// The encoding that `headers` name.
///
/// # Errors
/// 415 for any but gzip.
pub(crate) fn of(headers: &HeaderMap) -> Result<Encoding, ApiError> {
    let mut encoding = Encoding::Identity;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let text = value.to_str().unwrap_or("?").trim().to_ascii_lowercase();
        encoding = match (encoding, text.as_str()) {
            (one, "identity" | "") => one,
            (Encoding::Identity, "gzip" | "x-gzip") => Encoding::Gzip,
            _ => {
                let found = rareclip_service::text::repeated(&text);
                let detail = format!(
                    "Content-Encoding: found {found}, expected gzip. Compress with gzip, or send the body as it is"
                );
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                return Err(ApiError::new(status, "content-encoding", detail));
            }
        };
    }
    Ok(encoding)
}

/// Why a body cannot be decompressed.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The bytes are not gzip, or are cut short.
    Damaged(String),
    /// The body has more bytes than are allowed.
    TooLarge,
    /// There is no room for it now.
    NoRoom,
}

/// Decompresses a body of at most `limit` bytes. `held` grows with it, by `weight` bytes per byte.
pub(crate) fn decompressed(
    compressed: &Bytes,
    limit: usize,
    weight: usize,
    budget: &Budget,
    held: &mut Held,
) -> Result<Bytes, Refused> {
    let mut decoder = MultiGzDecoder::new(&compressed[..]);
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let before = bytes.len();
        let mut piece = (&mut decoder).take(PIECE as u64);
        let read = piece.read_to_end(&mut bytes);
        read.map_err(|error| Refused::Damaged(error.to_string()))?;
        if bytes.len() > limit {
            return Err(Refused::TooLarge);
        }
        let room = bytes.len().saturating_mul(weight);
        if !budget.grow(held, room.saturating_add(compressed.len())) {
            return Err(Refused::NoRoom);
        }
        if bytes.len() == before {
            return Ok(bytes.into());
        }
    }
}
