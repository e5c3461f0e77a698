//! Samples that are not unsigned integers of up to 16 bits.

use std::io::{Read, Seek};

use tiff::{
    ColorType,
    decoder::{Decoder, DecodingResult, ifd::Value},
    tags::Tag,
};

use super::error::FORMAT;
use crate::{
    codec::common::{corrupt, unsupported},
    error::Result,
};

/// SampleFormat of unsigned integers, the default.
pub(super) const UNSIGNED: u16 = 1;
/// PhotometricInterpretation of gray with 0 for white, which the decoder turns round by the width
/// of the samples.
const WHITE_IS_ZERO: u16 = 0;

/// The values that mean black and white in samples of any format.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    low: f64,
    high: f64,
}

/// The stated range of a page whose samples are signed, floating-point or wider than 16 bits;
/// `None` for others, whose range is that of their bits.
///
/// # Errors
/// Where such a page states no range.
pub(super) fn range<R: Read + Seek>(
    decoder: &mut Decoder<R>,
    colour: ColorType,
) -> Result<Option<Range>> {
    let formats = decoder.find_tag_unsigned_vec::<u16>(Tag::SampleFormat);
    let formats = formats.ok().flatten().unwrap_or_default();
    let format = formats.first().copied().unwrap_or(UNSIGNED);
    if format == UNSIGNED && colour.bit_depth() <= 16 {
        return Ok(None);
    }
    let what = describe(colour, format);
    if !(1..=3).contains(&format) {
        return Err(unsupported(FORMAT, what));
    }
    let photometric = decoder.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation);
    if matches!(photometric, Ok(Some(WHITE_IS_ZERO))) {
        return Err(unsupported(FORMAT, format!("{what} with 0 for white")));
    }
    let mut stated = |tag: Tag| {
        let value = decoder.find_tag(tag).ok().flatten()?;
        numbers(value).into_iter().reduce(match tag {
            Tag::SMinSampleValue => f64::min,
            _ => f64::max,
        })
    };
    let (low, high) = (stated(Tag::SMinSampleValue), stated(Tag::SMaxSampleValue));
    match (low, high) {
        (Some(low), Some(high)) if low < high && (high - low).is_finite() => {
            Ok(Some(Range { low, high }))
        }
        (Some(low), Some(high)) => Err(corrupt(
            FORMAT,
            format!("SMinSampleValue {low} is not below SMaxSampleValue {high}"),
        )),
        _ => Err(unsupported(
            FORMAT,
            format!("{what} without a stated range (tags SMinSampleValue and SMaxSampleValue)"),
        )),
    }
}

/// A colour type and sample format in words, such as "gray of 16-bit signed integers (SampleFormat
/// 2)".
pub(super) fn describe(colour: ColorType, format: u16) -> String {
    let name = match colour {
        ColorType::Gray(_) => "gray".to_owned(),
        ColorType::GrayA(_) => "gray with alpha".to_owned(),
        ColorType::RGB(_) => "RGB".to_owned(),
        ColorType::RGBA(_) => "RGB with alpha".to_owned(),
        ColorType::CMYK(_) => "CMYK".to_owned(),
        ColorType::CMYKA(_) => "CMYK with alpha".to_owned(),
        ColorType::YCbCr(_) => "YCbCr".to_owned(),
        ColorType::Lab(_) => "CIE L*a*b*".to_owned(),
        other => format!("{} channels", other.num_samples()),
    };
    let samples = match format {
        UNSIGNED => "unsigned integers",
        2 => "signed integers",
        3 => "floating-point numbers",
        4 => "undefined samples",
        5 => "complex integers",
        6 => "complex floating-point numbers",
        _ => "unknown samples",
    };
    format!(
        "{name} of {}-bit {samples} (SampleFormat {format})",
        colour.bit_depth()
    )
}

/// The same colours in 16 bits.
pub(super) fn sixteen_bits(colour: ColorType) -> ColorType {
    match colour {
        ColorType::Gray(_) => ColorType::Gray(16),
        ColorType::GrayA(_) => ColorType::GrayA(16),
        ColorType::RGB(_) => ColorType::RGB(16),
        ColorType::RGBA(_) => ColorType::RGBA(16),
        ColorType::Multiband { num_samples, .. } => ColorType::Multiband {
            bit_depth: 16,
            num_samples,
        },
        other => other,
    }
}

impl Range {
    /// Samples as 16-bit ones: `low` becomes 0, `high` 65535, what lies outside is clipped.
    ///
    /// # Errors
    /// Where a sample is not a number.
    pub(super) fn apply(self, data: DecodingResult) -> Result<DecodingResult> {
        use DecodingResult::{F16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64};
        let scaled = match data {
            U8(v) => self.each(v, f64::from),
            U16(v) => self.each(v, f64::from),
            U32(v) => self.each(v, f64::from),
            U64(v) => self.each(v, |v| v as f64),
            I8(v) => self.each(v, f64::from),
            I16(v) => self.each(v, f64::from),
            I32(v) => self.each(v, f64::from),
            I64(v) => self.each(v, |v| v as f64),
            F16(v) => self.each(v, f64::from),
            F32(v) => self.each(v, f64::from),
            F64(v) => self.each(v, |v| v),
        };
        scaled.map(U16).ok_or_else(|| {
            unsupported(
                FORMAT,
                "floating-point samples (SampleFormat 3), one of which is not a number",
            )
        })
    }

    fn each<T>(self, samples: Vec<T>, value: impl Fn(T) -> f64) -> Option<Vec<u16>> {
        let scale = 65_535.0 / (self.high - self.low);
        let scaled = |sample| {
            let value: f64 = value(sample);
            let white = ((value - self.low) * scale).round().clamp(0.0, 65_535.0);
            (!value.is_nan()).then_some(white as u16)
        };
        samples.into_iter().map(scaled).collect()
    }
}

/// The numbers of a tag.
fn numbers(value: Value) -> Vec<f64> {
    match value {
        Value::List(values) => values.into_iter().flat_map(numbers).collect(),
        Value::Byte(v) => vec![v.into()],
        Value::Short(v) => vec![v.into()],
        Value::Unsigned(v) => vec![v.into()],
        Value::UnsignedBig(v) => vec![v as f64],
        Value::SignedByte(v) => vec![v.into()],
        Value::SignedShort(v) => vec![v.into()],
        Value::Signed(v) => vec![v.into()],
        Value::SignedBig(v) => vec![v as f64],
        Value::Float(v) => vec![v.into()],
        Value::Double(v) => vec![v],
        _ => Vec::new(),
    }
}
