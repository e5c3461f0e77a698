//! The errors of this crate.

use std::{fmt, path::PathBuf};

/// An image file format that this crate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG: baseline, extended or progressive.
    Jpeg,
    /// Windows bitmap.
    Bmp,
    /// Tagged Image File Format and BigTIFF; the first page at full resolution.
    Tiff,
    /// WebP; the first frame.
    WebP,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Png => "PNG",
            Format::Jpeg => "JPEG",
            Format::Bmp => "BMP",
            Format::Tiff => "TIFF",
            Format::WebP => "WebP",
        })
    }
}

/// What can go wrong with an image, a map or a file of either.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImagingError {
    /// There are no bytes at all.
    #[error("the image is empty (0 bytes); check that the upload or copy was completed")]
    Empty,
    /// The first bytes belong to no known format.
    #[error(
        "unknown image format (file starts with {start:02x?}); use PNG, JPEG, BMP, TIFF or WebP"
    )]
    UnknownFormat {
        /// The first bytes of the file, at most eight.
        start: Vec<u8>,
    },
    /// The file is damaged or cut off.
    #[error("corrupt or truncated {format} image: {reason}; write the file again")]
    Corrupt {
        /// The format its first bytes announce.
        format: Format,
        /// What the decoder found.
        reason: String,
    },
    /// The picture or file is larger than [`Limits`](crate::Limits) allows.
    #[error("{what} is {found}, allowed are {allowed}; shrink the image or raise the limit")]
    TooLarge {
        /// The measured quantity, with its unit.
        what: &'static str,
        /// Its value in this image.
        found: u64,
        /// The largest value allowed.
        allowed: u64,
    },
    /// A valid file in a mode that is not supported.
    #[error(
        "unsupported kind of {format} image: {what}; convert it to unsigned 8-bit or 16-bit gray or RGB"
    )]
    Unsupported {
        /// The format of the file.
        format: Format,
        /// The mode.
        what: String,
    },
    /// A file could not be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file was read, but holds no usable image.
    #[error("{path}: {source}", path = path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<ImagingError>,
    },
    /// Pixel data do not fit the stated size.
    #[error("a {width} x {height} picture needs {needed} values, {found} were given")]
    PixelCount {
        /// Stated width in pixels.
        width: usize,
        /// Stated height in pixels.
        height: usize,
        /// Number of values of such a picture.
        needed: usize,
        /// Number of values given.
        found: usize,
    },
    /// A width, height or map side of zero.
    #[error("{what} is {width} x {height}; both sides must be at least 1")]
    ZeroSize {
        /// The picture, map or target.
        what: &'static str,
        /// Its width.
        width: usize,
        /// Its height.
        height: usize,
    },
    /// A blur kernel that does not exist.
    #[error(
        "blur kernel of {kernel} taps with sigma {sigma}: \
         the number of taps must be odd and sigma positive and finite"
    )]
    BlurKernel {
        /// Number of taps.
        kernel: usize,
        /// Standard deviation in pixels.
        sigma: f32,
    },
    /// A colour scale without extent.
    #[error("map scale {low}..{high}: both ends must be finite and low below high")]
    Scale {
        /// Lower end.
        low: f32,
        /// Upper end.
        high: f32,
    },
    /// An image could not be written.
    #[error("cannot encode a {format} image: {reason}")]
    Encode {
        /// Target format.
        format: Format,
        /// What the encoder said.
        reason: String,
    },
}

pub(crate) type Result<T> = std::result::Result<T, ImagingError>;

pub(crate) fn nonzero(what: &'static str, width: usize, height: usize) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(ImagingError::ZeroSize {
            what,
            width,
            height,
        });
    }
    Ok(())
}
