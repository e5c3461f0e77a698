//! JPEG.

use std::io::Cursor;

use zune_core::{colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

use super::{corrupt, exif_orientation, unsupported};
use crate::{
    Limits, Picture, Pixels,
    error::{Format, Result},
};

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    let options = DecoderOptions::default()
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(bytes), options);
    decoder
        .decode_headers()
        .map_err(|e| corrupt(Format::Jpeg, e))?;
    let (Some(info), Some(source)) = (decoder.info(), decoder.input_colorspace()) else {
        return Err(corrupt(Format::Jpeg, "no frame header"));
    };
    // A progressive picture keeps 16-bit coefficients of all components besides the pixels.
    limits.check_picture(
        info.width.into(),
        info.height.into(),
        3 * u64::from(info.components),
    )?;
    check_complete(bytes)?;
    let target = match source {
        ColorSpace::Luma | ColorSpace::CMYK | ColorSpace::YCCK => source,
        ColorSpace::YCbCr | ColorSpace::RGB => ColorSpace::RGB,
        other => return Err(unsupported(Format::Jpeg, format!("colours {other:?}"))),
    };
    let orientation = exif_orientation(decoder.exif().map(Vec::as_slice));
    decoder.set_options(options.jpeg_set_out_colorspace(target));
    let mut data = decoder.decode().map_err(|e| corrupt(Format::Jpeg, e))?;
    let pixels = match target {
        ColorSpace::Luma => Pixels::Gray8(data),
        ColorSpace::RGB => Pixels::Rgb8(data),
        _ => {
            if target == ColorSpace::YCCK {
                ycc_to_rgb(&mut data);
            }
            // By Adobe's convention the file stores 255 for no ink.
            data.iter_mut().for_each(|v| *v = 255 - *v);
            Pixels::Cmyk8(data)
        }
    };
    Picture::new(info.width.into(), info.height.into(), pixels, orientation)
        .map_err(|e| corrupt(Format::Jpeg, e))
}

/// Turns the first three of four channels from luma and chroma into red, green, blue.
fn ycc_to_rgb(data: &mut [u8]) {
    for pixel in data.as_chunks_mut::<4>().0 {
        let [y, cb, cr] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
        let (cb, cr) = (cb - 128.0, cr - 128.0);
        let rgb = [
            y + 1.402 * cr,
            y - 0.344_136_3 * cb - 0.714_136_3 * cr,
            y + 1.772 * cb,
        ];
        for (value, colour) in pixel.iter_mut().zip(rgb) {
            *value = colour.round() as u8;
        }
    }
}

/// The decoder fills what is missing of a cut-off file with gray; an inspection must not see that.
/// A complete file has an end marker behind its last scan.
fn check_complete(bytes: &[u8]) -> Result<()> {
    let truncated = || corrupt(Format::Jpeg, "the file ends before its end-of-image marker");
    let mut at = 2;
    let mut in_scan = false;
    loop {
        let offset = bytes[at..]
            .iter()
            .position(|&b| b == 0xff)
            .ok_or_else(truncated)?;
        at += offset + 1;
        match bytes.get(at).ok_or_else(truncated)? {
            0xd9 if in_scan => return Ok(()),
            // A stuffed zero, fill byte, restart marker or marker without a length.
            0x00 | 0x01 | 0xd0..=0xd9 => at += 1,
            0xff => {}
            marker => {
                let length = bytes.get(at + 1..at + 3).ok_or_else(truncated)?;
                let length = u16::from_be_bytes([length[0], length[1]]);
                in_scan |= *marker == 0xda;
                at += 1 + usize::from(length);
                if at >= bytes.len() {
                    return Err(truncated());
                }
            }
        }
    }
}
