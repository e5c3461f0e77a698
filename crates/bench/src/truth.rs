//! What the metrics compare the maps of an image with.

use std::path::{Path, PathBuf};

use rareclip_datasets::masks::{Pixels, pixels, read, resized};
use rareclip_datasets::{PixelTruth, Sample, Saturation};
use rareclip_imaging::{Preset, mask_marked};
use rareclip_metrics::SaturatedRegion;

use crate::{Error, Result};

/// What the metrics compare the maps of an image with.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// Its pixels.
    pub pixels: Pixels,
    /// Its defects, each with the share that saturates it; `None` where the data set says nothing
    /// of that.
    pub regions: Option<Vec<SaturatedRegion>>,
}

impl Truth {
    /// Of an image of whose pixels nothing is known.
    pub const UNKNOWN: Self = Self {
        pixels: Pixels::Unknown,
        regions: None,
    };

    /// Of `sample`, at `side` as [`pixels`] does it; its mask files one by one where the category
    /// has `saturations`.
    ///
    /// # Errors
    /// Those of [`pixels`], and [`Error::NoSaturation`] for a mask of a defect that is not among
    /// `saturations`.
    pub fn of(
        sample: &Sample,
        saturations: &[Saturation],
        map_side: usize,
        side: usize,
        preset: Preset,
    ) -> Result<Self> {
        let regions = match sample.pixel_truth() {
            PixelTruth::Unknown => None,
            _ if saturations.is_empty() => None,
            PixelTruth::Normal => Some(Vec::new()),
            PixelTruth::Masks(files) => {
                let region = |file: &PathBuf| region(file, saturations, map_side, side, preset);
                Some(files.iter().map(region).collect::<Result<_>>()?)
            }
        };
        Ok(Self {
            pixels: pixels(sample, map_side, side, preset)?,
            regions,
        })
    }
}

/// The defect that one file marks. Its value in the file says which defect it is, its pixels there
/// how many saturate it.
fn region(
    file: &Path,
    saturations: &[Saturation],
    map_side: usize,
    side: usize,
    preset: Preset,
) -> Result<SaturatedRegion> {
    let picture = read(file)?;
    // The largest of any channel: class ids may stand in one of them.
    let colours = picture.to_rgb(Preset::Reference);
    let value = colours.data().iter().copied().max().unwrap_or(0);
    let marked = mask_marked(&picture, preset);
    let area = marked.iter().filter(|marked| **marked).count() as u64;
    let saturation = saturations
        .iter()
        .find(|saturation| saturation.pixel_value == value)
        .ok_or_else(|| Error::NoSaturation {
            path: file.to_owned(),
            value,
        })?;
    Ok(SaturatedRegion {
        mask: resized(marked.view(), file, map_side, side)?,
        share: saturation.share(area),
    })
}

#[cfg(test)]
mod tests {
    use rareclip_datasets::{Dataset, Kind, Spec};

    use rareclip_imaging::Preset;

    use super::{Pixels, Truth};
    use crate::Error;

    /// A category of MVTec LOCO: a good image, and one with two defects of 8 and 4 of 64 pixels, of
    /// values 254 and 253.
    fn loco(config: Option<&str>) -> (tempfile::TempDir, Dataset) {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, value: u8, rows: std::ops::Range<usize>, columns: usize| {
            let pixels = ndarray::Array2::from_shape_fn((8, 8), |(row, column)| {
                value * u8::from(rows.contains(&row) && column < columns)
            });
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let png = rareclip_imaging::encode_png_gray(pixels.view()).unwrap();
            std::fs::write(path, png).unwrap();
        };
        write("train/good/0.png", 90, 0..8, 8);
        write("test/good/0.png", 90, 0..8, 8);
        write("test/logical_anomalies/0.png", 90, 0..8, 8);
        write("ground_truth/logical_anomalies/0/000.png", 254, 0..2, 4);
        write("ground_truth/logical_anomalies/0/001.png", 253, 6..7, 4);
        if let Some(config) = config {
            std::fs::write(root.path().join("defects_config.json"), config).unwrap();
        }
        let spec = Spec::new(Some(Kind::MvtecLoco), root.path());
        let dataset = Dataset::open(&spec).unwrap();
        (root, dataset)
    }

    fn truth(dataset: &Dataset, image: usize, side: usize) -> Result<Truth, Error> {
        let category = &dataset.categories[0];
        Truth::of(
            &category.test[image],
            &category.saturations,
            8,
            side,
            Preset::Product,
        )
    }

    const CONFIG: &str = r#"[
        {"defect_name": "a", "pixel_value": 254, "saturation_threshold": 2, "relative_saturation": false},
        {"defect_name": "b", "pixel_value": 253, "saturation_threshold": 0.5, "relative_saturation": true}
    ]"#;

    #[test]
    fn each_mask_of_loco_is_a_region_that_saturates_as_its_value_says() {
        let (_root, dataset) = loco(Some(CONFIG));
        // At half the side 2 pixels of 8 are still a quarter.
        for (side, pixels) in [(8, [8, 4]), (4, [2, 2])] {
            let found = truth(&dataset, 1, side).unwrap();
            let regions = found.regions.unwrap();
            let shares: Vec<f64> = regions.iter().map(|region| region.share).collect();
            assert_eq!(shares, [0.25, 0.5]);
            let areas = regions
                .iter()
                .map(|region| region.mask.iter().filter(|defect| **defect).count());
            assert_eq!(areas.collect::<Vec<_>>(), pixels);
        }
        let normal = truth(&dataset, 0, 8).unwrap();
        assert_eq!(
            (normal.pixels, normal.regions),
            (Pixels::Normal, Some(Vec::new()))
        );
    }

    #[test]
    fn without_a_config_nothing_is_known_of_saturation() {
        let (_root, dataset) = loco(None);
        let found = truth(&dataset, 1, 8).unwrap();
        assert!(matches!(found.pixels, Pixels::Mask(_)) && found.regions.is_none());
        assert_eq!(truth(&dataset, 0, 8).unwrap().regions, None);
    }

    #[test]
    fn a_mask_of_a_defect_without_saturation_is_named() {
        let (_root, dataset) = loco(Some(&CONFIG.replace("253", "252")));
        let error = truth(&dataset, 1, 8).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("001.png") && text.contains("253"), "{text}");
    }
}
