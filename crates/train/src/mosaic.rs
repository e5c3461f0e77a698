//! Four images and their masks as one, two by two: defects at half the size, beside other images.

use std::path::Path;

use ndarray::{Array2, s};
use rareclip_imaging::{
    Filter, Limits, Orientation, Picture, Pixels, Preset, decode_file, mask_marked, resize,
    resize_mask_nearest,
};
use rareclip_pipeline::Original;

use crate::{Error, Result};

/// An image and its masks, as files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files<'f> {
    pub(crate) image: &'f Path,
    /// What the image was told by when the run began.
    pub(crate) key: &'f str,
    /// A pixel above 0 in any of them is a defect.
    pub(crate) masks: &'f [std::path::PathBuf],
}

/// Picture and mask (1 is a defect) of four images in reading order, twice the size of the first;
/// the others are brought to its size.
pub(crate) fn mosaic(
    four: [Files<'_>; 4],
    filter: Filter,
    preset: Preset,
) -> Result<(Picture, Array2<u8>)> {
    let mut size = None;
    let mut colours = Vec::new();
    let mut defects = Array2::<u8>::zeros((0, 0));
    for (place, files) in four.into_iter().enumerate() {
        let picture = Original::read_unchanged(files.image, files.key)?.picture(files.image)?;
        let (width, height) = *size.get_or_insert_with(|| {
            let upright = picture.to_rgb(preset);
            (upright.width(), upright.height())
        });
        if place == 0 {
            colours = vec![0; 3 * 4 * width * height];
            defects = Array2::zeros((2 * height, 2 * width));
        }
        let cell = resize(&picture, width, height, filter, preset);
        let cell = cell.map_err(Error::image(files.image))?;
        let (row, column) = (place / 2 * height, place % 2 * width);
        for (offset, line) in cell.data().chunks_exact(3 * width).enumerate() {
            let start = 3 * ((row + offset) * 2 * width + column);
            colours[start..start + 3 * width].copy_from_slice(line);
        }
        for mask in files.masks {
            let mask = marked(mask, (width, height), preset)?;
            let mut there = defects.slice_mut(s![row..row + height, column..column + width]);
            there.zip_mut_with(&mask, |defect, marked| *defect = (*defect).max(*marked));
        }
    }
    let (height, width) = defects.dim();
    let picture = Picture::new(width, height, Pixels::Rgb8(colours), Orientation::Upright);
    Ok((picture.map_err(Error::image(four[0].image))?, defects))
}

/// A mask at a width and height, 1 where it is above 0.
fn marked(path: &Path, (width, height): (usize, usize), preset: Preset) -> Result<Array2<u8>> {
    let wrong = Error::image(path);
    let picture = decode_file(path, &Limits::default()).map_err(&wrong)?;
    let mask = mask_marked(&picture, preset).mapv(u8::from);
    resize_mask_nearest(mask.view(), height, width).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rareclip_imaging::{RgbPicture, encode_png, encode_png_gray};

    use super::*;

    /// An image of one colour, 6 x 4, and, for an odd number, a mask of its left half.
    fn files(folder: &Path, number: u8) -> (PathBuf, Vec<PathBuf>) {
        let image = folder.join(format!("{number}.png"));
        let picture = RgbPicture::new(6, 4, vec![10 * number; 72]).unwrap();
        std::fs::write(&image, encode_png(&picture).unwrap()).unwrap();
        if number.is_multiple_of(2) {
            return (image, Vec::new());
        }
        let mask = Array2::from_shape_fn((4, 6), |(_, x)| 255 * u8::from(x < 3));
        let path = folder.join(format!("{number}-mask.png"));
        std::fs::write(&path, encode_png_gray(mask.view()).unwrap()).unwrap();
        (image, vec![path])
    }

    fn key(image: &Path) -> String {
        Original::read(image).unwrap().key()
    }

    #[test]
    fn images_and_masks_land_in_the_same_quarter() {
        let folder = tempfile::tempdir().unwrap();
        let all = [1, 2, 3, 4].map(|number| files(folder.path(), number));
        let keys = all.each_ref().map(|(image, _)| key(image));
        let four = [0, 1, 2, 3].map(|at| Files {
            image: &all[at].0,
            key: &keys[at],
            masks: &all[at].1,
        });
        let (picture, mask) = mosaic(four, Filter::Bicubic, Preset::Product).unwrap();
        assert_eq!((picture.width(), picture.height()), (12, 8));
        let rgb = picture.to_rgb(Preset::Product);
        for (y, x) in (0..8).flat_map(|y| (0..12).map(move |x| (y, x))) {
            let quarter = 2 * (y / 4) + x / 6;
            let colour = 10 * (quarter as u8 + 1);
            assert_eq!(rgb.data()[3 * (12 * y + x)..][..3], [colour; 3], "{y} {x}");
            let marked = quarter % 2 == 0 && x % 6 < 3;
            assert_eq!(mask[[y, x]], u8::from(marked), "{y} {x}");
        }
    }

    #[test]
    fn others_are_brought_to_the_size_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let small = files(folder.path(), 1);
        let large = folder.path().join("large.png");
        let picture = RgbPicture::new(12, 2, vec![99; 72]).unwrap();
        std::fs::write(&large, encode_png(&picture).unwrap()).unwrap();
        let mask = folder.path().join("large-mask.png");
        let right = Array2::from_shape_fn((2, 12), |(_, x)| u8::from(x >= 6));
        std::fs::write(&mask, encode_png_gray(right.view()).unwrap()).unwrap();
        let of = |image, key, masks| Files { image, key, masks };
        let masks = [mask];
        let (small_key, large_key) = (key(&small.0), key(&large));
        let first = of(&small.0, &small_key, &small.1);
        let (picture, marked) = mosaic(
            [first, of(&large, &large_key, &masks), first, first],
            Filter::Bicubic,
            Preset::Product,
        )
        .unwrap();
        assert_eq!((picture.width(), picture.height()), (12, 8));
        assert_eq!(picture.to_rgb(Preset::Product).data()[3 * 11], 99);
        assert_eq!(marked.slice(s![..4, 6..9]).sum(), 0);
        assert_eq!(marked.slice(s![..4, 9..]).sum(), 12);
    }
}
