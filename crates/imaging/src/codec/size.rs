//! Sizes of image files from their headers.

use std::{
    fs::File,
    io::{BufReader, Read, Seek},
    path::Path,
};

use image::{ImageDecoder, ImageFormat, ImageReader};

use super::{common::corrupt, detect_format, tiff};
use crate::{
    Limits, Orientation,
    error::{Format, ImagingError, Result},
};

/// Width and height in pixels of the image in a file once it is turned upright by its EXIF
/// orientation. Only headers are read, so the pixels may still turn out to be damaged.
///
/// # Errors
/// [`ImagingError::Read`] where the file cannot be read, else [`ImagingError::InFile`] around the
/// reason why its header is not that of an image.
pub fn upright_size(path: &Path, limits: &Limits) -> Result<(usize, usize)> {
    let unreadable = |source| ImagingError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut start = Vec::new();
    let mut first = (&mut file).take(12);
    first.read_to_end(&mut start).map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    let size = match detect_format(&start) {
        _ if start.is_empty() => Err(ImagingError::Empty),
        None => {
            start.truncate(8);
            Err(ImagingError::UnknownFormat { start })
        }
        Some(Format::Tiff) => {
            let length = file.metadata().map_err(unreadable)?.len();
            limits.check_file(length).and_then(|()| {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).map_err(unreadable)?;
                tiff::size(&bytes)
            })
        }
        Some(format) => header(BufReader::new(file), format),
    };
    let (width, height, orientation) = size.map_err(|source| match source {
        ImagingError::Read { .. } => source,
        source => ImagingError::InFile {
            path: path.to_owned(),
            source: Box::new(source),
        },
    })?;
    let (width, height) = (width as usize, height as usize);
    Ok(match orientation.swaps_sides() {
        true => (height, width),
        false => (width, height),
    })
}

fn header(file: BufReader<File>, format: Format) -> Result<(u32, u32, Orientation)> {
    let known = match format {
        Format::Png => ImageFormat::Png,
        Format::Jpeg => ImageFormat::Jpeg,
        Format::Bmp => ImageFormat::Bmp,
        Format::Tiff => ImageFormat::Tiff,
        Format::WebP => ImageFormat::WebP,
    };
    let mut reader = ImageReader::with_format(file, known);
    reader.no_limits();
    let mut decoder = reader.into_decoder().map_err(|e| corrupt(format, e))?;
    let (width, height) = decoder.dimensions();
    let orientation = decoder.orientation().map(|o| o.to_exif());
    Ok((
        width,
        height,
        Orientation::from_exif(orientation.unwrap_or(1).into()),
    ))
}
