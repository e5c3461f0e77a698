//! Decoded pictures in the mode of their file, and their conversion to gray and RGB.

use crate::{
    RgbPicture,
    error::{ImagingError, Result, nonzero},
};

/// The pixels of a picture, row by row, channels interleaved, in the mode of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pixels {
    /// One bit a pixel, stored as 0 or 255.
    Bilevel(Vec<u8>),
    /// 8-bit gray.
    Gray8(Vec<u8>),
    /// 8-bit gray and alpha (not premultiplied).
    GrayAlpha8(Vec<u8>),
    /// 8-bit RGB.
    Rgb8(Vec<u8>),
    /// 8-bit RGB and alpha (not premultiplied).
    Rgba8(Vec<u8>),
    /// Palette indices. An index beyond the palette is black.
    Palette8 {
        /// One index a pixel.
        indices: Vec<u8>,
        /// Red, green, blue, alpha of each index, at most 256.
        palette: Vec<[u8; 4]>,
    },
    /// 16-bit gray.
    Gray16(Vec<u16>),
    /// 16-bit gray and alpha.
    GrayAlpha16(Vec<u16>),
    /// 16-bit RGB.
    Rgb16(Vec<u16>),
    /// 16-bit RGB and alpha.
    Rgba16(Vec<u16>),
    /// 8-bit cyan, magenta, yellow, black; 255 is full ink.
    Cmyk8(Vec<u8>),
}

impl Pixels {
    /// Values a pixel.
    pub fn channels(&self) -> usize {
        match self {
            Pixels::Bilevel(_) | Pixels::Gray8(_) | Pixels::Palette8 { .. } | Pixels::Gray16(_) => {
                1
            }
            Pixels::GrayAlpha8(_) | Pixels::GrayAlpha16(_) => 2,
            Pixels::Rgb8(_) | Pixels::Rgb16(_) => 3,
            Pixels::Rgba8(_) | Pixels::Rgba16(_) | Pixels::Cmyk8(_) => 4,
        }
    }

    /// A short name of the mode, for messages.
    pub fn mode(&self) -> &'static str {
        match self {
            Pixels::Bilevel(_) => "bilevel",
            Pixels::Gray8(_) => "8-bit gray",
            Pixels::GrayAlpha8(_) => "8-bit gray with alpha",
            Pixels::Rgb8(_) => "8-bit RGB",
            Pixels::Rgba8(_) => "8-bit RGB with alpha",
            Pixels::Palette8 { .. } => "palette",
            Pixels::Gray16(_) => "16-bit gray",
            Pixels::GrayAlpha16(_) => "16-bit gray with alpha",
            Pixels::Rgb16(_) => "16-bit RGB",
            Pixels::Rgba16(_) => "16-bit RGB with alpha",
            Pixels::Cmyk8(_) => "8-bit CMYK",
        }
    }

    fn values(&self) -> usize {
        match self {
            Pixels::Bilevel(v)
            | Pixels::Gray8(v)
            | Pixels::GrayAlpha8(v)
            | Pixels::Rgb8(v)
            | Pixels::Rgba8(v)
            | Pixels::Cmyk8(v) => v.len(),
            Pixels::Palette8 { indices, .. } => indices.len(),
            Pixels::Gray16(v) | Pixels::GrayAlpha16(v) | Pixels::Rgb16(v) | Pixels::Rgba16(v) => {
                v.len()
            }
        }
    }
}

/// How the stored rows and columns must be turned to show the picture upright (EXIF tag 274).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orientation {
    /// 1: as stored.
    #[default]
    Upright,
    /// 2: mirror left to right.
    MirrorHorizontal,
    /// 3: turn by 180 degrees.
    Rotate180,
    /// 4: mirror top to bottom.
    MirrorVertical,
    /// 5: swap rows and columns.
    Transpose,
    /// 6: turn clockwise by 90 degrees.
    Rotate90,
    /// 7: swap rows and columns, then turn by 180 degrees.
    Transverse,
    /// 8: turn clockwise by 270 degrees.
    Rotate270,
}

impl Orientation {
    /// The orientation of an EXIF value; anything outside 1 to 8 is upright, as viewers do.
    pub fn from_exif(value: u32) -> Self {
        match value {
            2 => Self::MirrorHorizontal,
            3 => Self::Rotate180,
            4 => Self::MirrorVertical,
            5 => Self::Transpose,
            6 => Self::Rotate90,
            7 => Self::Transverse,
            8 => Self::Rotate270,
            _ => Self::Upright,
        }
    }

    /// Whether width and height change places.
    pub fn swaps_sides(self) -> bool {
        matches!(
            self,
            Self::Transpose | Self::Rotate90 | Self::Transverse | Self::Rotate270
        )
    }

    /// Turns `width` x `height` interleaved pixels of `C` values; returns data, width, height.
    pub(crate) fn apply<const C: usize, T: Copy>(
        self,
        data: Vec<T>,
        width: usize,
        height: usize,
    ) -> (Vec<T>, usize, usize) {
        if self == Self::Upright {
            return (data, width, height);
        }
        let (out_w, out_h) = if self.swaps_sides() {
            (height, width)
        } else {
            (width, height)
        };
        let mut out = Vec::with_capacity(data.len());
        for y in 0..out_h {
            for x in 0..out_w {
                let (sx, sy) = match self {
                    Self::Upright => (x, y),
                    Self::MirrorHorizontal => (width - 1 - x, y),
                    Self::Rotate180 => (width - 1 - x, height - 1 - y),
                    Self::MirrorVertical => (x, height - 1 - y),
                    Self::Transpose => (y, x),
                    Self::Rotate90 => (y, height - 1 - x),
                    Self::Transverse => (width - 1 - y, height - 1 - x),
                    Self::Rotate270 => (width - 1 - y, x),
                };
                let at = (sy * width + sx) * C;
                out.extend_from_slice(&data[at..at + C]);
            }
        }
        (out, out_w, out_h)
    }
}

/// A decoded picture. Its pixel data always fit its size, which is at least 1 x 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Pixels,
    orientation: Orientation,
    further_images: usize,
}

impl From<RgbPicture> for Picture {
    fn from(rgb: RgbPicture) -> Self {
        Self {
            width: rgb.width(),
            height: rgb.height(),
            pixels: Pixels::Rgb8(rgb.into_data()),
            orientation: Orientation::Upright,
            further_images: 0,
        }
    }
}

impl Picture {
    /// A picture of `width` x `height` stored pixels.
    ///
    /// # Errors
    /// [`ImagingError::ZeroSize`] or [`ImagingError::PixelCount`].
    pub fn new(
        width: usize,
        height: usize,
        pixels: Pixels,
        orientation: Orientation,
    ) -> Result<Self> {
        nonzero("picture", width, height)?;
        let needed = width
            .saturating_mul(height)
            .saturating_mul(pixels.channels());
        let found = pixels.values();
        if found != needed {
            return Err(ImagingError::PixelCount {
                width,
                height,
                needed,
                found,
            });
        }
        Ok(Self {
            width,
            height,
            pixels,
            orientation,
            further_images: 0,
        })
    }

    /// The same picture, from a file that holds `further` images more.
    pub fn with_further_images(mut self, further: usize) -> Self {
        self.further_images = further;
        self
    }

    /// Further images in the file, which were not read: pages of TIFF, frames of an animated PNG or
    /// WebP. Reduced-resolution versions of an image do not count.
    pub fn further_images(&self) -> usize {
        self.further_images
    }

    /// Width in pixels as stored, before the EXIF orientation.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels as stored, before the EXIF orientation.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels in the mode of the file.
    pub fn pixels(&self) -> &Pixels {
        &self.pixels
    }

    /// The pixels, taken out.
    pub fn into_pixels(self) -> Pixels {
        self.pixels
    }

    /// Width and height in pixels after the EXIF orientation.
    pub fn upright_size(&self) -> (usize, usize) {
        match self.orientation.swaps_sides() {
            true => (self.height, self.width),
            false => (self.width, self.height),
        }
    }

    /// The EXIF orientation; upright where the file has none.
    pub fn orientation(&self) -> Orientation {
        self.orientation
    }

    /// 8-bit RGB at the stored size: palette looked up, alpha dropped without a background, CMYK
    /// converted as Pillow does. [`Preset::Product`](crate::Preset) scales 16-bit values to 8 bits
    /// and turns the picture upright; [`Preset::Reference`](crate::Preset) clips 16-bit gray at
    /// 255, keeps the high byte of other 16-bit modes, and ignores the orientation.
    pub fn to_rgb(&self, preset: crate::Preset) -> RgbPicture {
        let (flat, width, height) = self.flatten(preset);
        RgbPicture::trusted(width, height, flat.into_rgb())
    }

    /// 8-bit gray as stored, `width * height` values: `0.299 R + 0.587 G + 0.114 B` with Pillow's
    /// 16-bit weights; 16-bit gray is clipped at 255; alpha and orientation are ignored.
    pub fn to_gray(&self) -> Vec<u8> {
        match self.flatten_stored(crate::Preset::Reference) {
            Flat::Gray(gray) => gray,
            Flat::Rgb(rgb) => rgb.as_chunks::<3>().0.iter().map(luma).collect(),
        }
    }

    /// Whether each stored pixel has a colour channel above 0, at the full width of its bits.
    /// Palettes are looked up, alpha is ignored.
    pub(crate) fn above_zero(&self) -> Vec<bool> {
        fn any<T: Copy + Into<u16>>(v: &[T], channels: usize, colours: usize) -> Vec<bool> {
            v.chunks_exact(channels)
                .map(|pixel| pixel[..colours].iter().any(|&v| v.into() > 0))
                .collect()
        }
        match &self.pixels {
            Pixels::Bilevel(v) | Pixels::Gray8(v) => any(v, 1, 1),
            Pixels::GrayAlpha8(v) => any(v, 2, 1),
            Pixels::Rgb8(v) => any(v, 3, 3),
            Pixels::Rgba8(v) => any(v, 4, 3),
            Pixels::Palette8 { indices, palette } => any(&look_up(indices, palette), 3, 3),
            Pixels::Gray16(v) => any(v, 1, 1),
            Pixels::GrayAlpha16(v) => any(v, 2, 1),
            Pixels::Rgb16(v) => any(v, 3, 3),
            Pixels::Rgba16(v) => any(v, 4, 3),
            Pixels::Cmyk8(v) => any(&cmyk_to_rgb(v), 3, 3),
        }
    }

    /// Gray stays one channel, since resampling one channel equals resampling three copies of it.
    pub(crate) fn flatten(&self, preset: crate::Preset) -> (Flat, usize, usize) {
        let flat = self.flatten_stored(preset);
        if preset == crate::Preset::Reference {
            return (flat, self.width, self.height);
        }
        match flat {
            Flat::Gray(v) => {
                let (v, w, h) = self.orientation.apply::<1, _>(v, self.width, self.height);
                (Flat::Gray(v), w, h)
            }
            Flat::Rgb(v) => {
                let (v, w, h) = self.orientation.apply::<3, _>(v, self.width, self.height);
                (Flat::Rgb(v), w, h)
            }
        }
    }

    fn flatten_stored(&self, preset: crate::Preset) -> Flat {
        let narrow: fn(u16) -> u8 = match preset {
            crate::Preset::Reference => high_byte,
            crate::Preset::Product => scale_to_8,
        };
        match &self.pixels {
            Pixels::Bilevel(v) | Pixels::Gray8(v) => Flat::Gray(v.clone()),
            Pixels::GrayAlpha8(v) => Flat::Gray(v.iter().copied().step_by(2).collect()),
            Pixels::Rgb8(v) => Flat::Rgb(v.clone()),
            Pixels::Rgba8(v) => Flat::Rgb(drop_fourth(v)),
            Pixels::Palette8 { indices, palette } => Flat::Rgb(look_up(indices, palette)),
            Pixels::Gray16(v) => Flat::Gray(match preset {
                crate::Preset::Reference => v.iter().copied().map(clip_to_8).collect(),
                crate::Preset::Product => v.iter().copied().map(scale_to_8).collect(),
            }),
            Pixels::GrayAlpha16(v) => {
                Flat::Gray(v.iter().copied().step_by(2).map(narrow).collect())
            }
            Pixels::Rgb16(v) => Flat::Rgb(v.iter().copied().map(narrow).collect()),
            Pixels::Rgba16(v) => Flat::Rgb(
                v.as_chunks::<4>()
                    .0
                    .iter()
                    .flat_map(|p| [p[0], p[1], p[2]])
                    .map(narrow)
                    .collect(),
            ),
            Pixels::Cmyk8(v) => Flat::Rgb(cmyk_to_rgb(v)),
        }
    }
}

/// One or three 8-bit channels.
pub(crate) enum Flat {
    Gray(Vec<u8>),
    Rgb(Vec<u8>),
}

impl Flat {
    pub(crate) fn into_rgb(self) -> Vec<u8> {
        match self {
            Flat::Gray(v) => v.iter().flat_map(|&g| [g; 3]).collect(),
            Flat::Rgb(v) => v,
        }
    }
}

pub(crate) fn high_byte(v: u16) -> u8 {
    (v >> 8) as u8
}

pub(crate) fn clip_to_8(v: u16) -> u8 {
    v.min(255) as u8
}

fn scale_to_8(v: u16) -> u8 {
    ((u32::from(v) * 255 + 32_767) / 65_535) as u8
}

fn luma(p: &[u8; 3]) -> u8 {
    let [r, g, b] = p.map(u32::from);
    ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
}

pub(crate) fn drop_fourth(v: &[u8]) -> Vec<u8> {
    v.as_chunks::<4>()
        .0
        .iter()
        .flat_map(|p| [p[0], p[1], p[2]])
        .collect()
}

pub(crate) fn look_up(indices: &[u8], palette: &[[u8; 4]]) -> Vec<u8> {
    let mut table = [[0u8; 3]; 256];
    for (entry, colour) in table.iter_mut().zip(palette) {
        *entry = [colour[0], colour[1], colour[2]];
    }
    indices
        .iter()
        .flat_map(|&i| table[usize::from(i)])
        .collect()
}

/// `round(a * b / 255)` in integers.
pub(crate) fn mul_div_255(a: u8, b: u8) -> u8 {
    let t = u32::from(a) * u32::from(b) + 128;
    (((t >> 8) + t) >> 8) as u8
}

pub(crate) fn cmyk_to_rgb(v: &[u8]) -> Vec<u8> {
    v.as_chunks::<4>()
        .0
        .iter()
        .flat_map(|&[c, m, y, k]| {
            let white = 255 - k;
            [c, m, y].map(|ink| white.saturating_sub(mul_div_255(ink, white)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    fn turned(exif: u32) -> (Vec<u8>, usize, usize) {
        // 1 2 3
        // 4 5 6
        Orientation::from_exif(exif).apply::<1, _>(vec![1, 2, 3, 4, 5, 6], 3, 2)
    }

    #[test]
    fn every_exif_orientation_turns_as_defined() {
        assert_eq!(turned(1), (vec![1, 2, 3, 4, 5, 6], 3, 2));
        assert_eq!(turned(2), (vec![3, 2, 1, 6, 5, 4], 3, 2));
        assert_eq!(turned(3), (vec![6, 5, 4, 3, 2, 1], 3, 2));
        assert_eq!(turned(4), (vec![4, 5, 6, 1, 2, 3], 3, 2));
        assert_eq!(turned(5), (vec![1, 4, 2, 5, 3, 6], 2, 3));
        assert_eq!(turned(6), (vec![4, 1, 5, 2, 6, 3], 2, 3));
        assert_eq!(turned(7), (vec![6, 3, 5, 2, 4, 1], 2, 3));
        assert_eq!(turned(8), (vec![3, 6, 2, 5, 1, 4], 2, 3));
        assert_eq!(Orientation::from_exif(9), Orientation::Upright);
    }

    #[test]
    fn sixteen_bit_gray_is_scaled_by_product_and_clipped_by_reference() {
        let picture = Picture::new(
            3,
            1,
            Pixels::Gray16(vec![100, 0x8080, 0xffff]),
            Orientation::Upright,
        )
        .unwrap();
        assert_eq!(
            picture.to_rgb(Preset::Product).data(),
            [0, 0, 0, 128, 128, 128, 255, 255, 255]
        );
        assert_eq!(
            picture.to_rgb(Preset::Reference).data(),
            [100, 100, 100, 255, 255, 255, 255, 255, 255]
        );
    }

    #[test]
    fn cmyk_inks_subtract_from_white() {
        assert_eq!(
            cmyk_to_rgb(&[0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255]),
            [255, 255, 255, 0, 255, 255, 0, 0, 0]
        );
    }

    #[test]
    fn index_beyond_the_palette_is_black() {
        assert_eq!(look_up(&[0, 1], &[[9, 8, 7, 255]]), [9, 8, 7, 0, 0, 0]);
    }

    #[test]
    fn data_of_the_wrong_length_are_refused() {
        let error = Picture::new(2, 2, Pixels::Rgb8(vec![0; 11]), Orientation::Upright);
        assert!(matches!(
            error,
            Err(ImagingError::PixelCount {
                needed: 12,
                found: 11,
                ..
            })
        ));
    }
}
