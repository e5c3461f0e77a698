//! Errors of TIFF files.

use tiff::TiffError;

use crate::{
    Limits,
    codec::common::{corrupt, unsupported},
    error::{Format, ImagingError},
};

/// The format, for errors.
pub(super) const FORMAT: Format = Format::Tiff;

/// Returns the error of the decoder as one of this crate.
pub(super) fn failed(limits: &Limits) -> impl Fn(TiffError) -> ImagingError {
    let allowed = limits.max_decoder_bytes;
    move |error| match error {
        TiffError::UnsupportedError(e) => unsupported(FORMAT, e),
        TiffError::LimitsExceeded => ImagingError::TooLarge {
            what: "memory for decoding in bytes (at least)",
            found: allowed.saturating_add(1),
            allowed,
        },
        other => corrupt(FORMAT, other),
    }
}
