//! The pictures of the gallery: thumbnails of images, and of what the maps say over them.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;

use anyhow::{Context, ensure};
use ndarray::{Array2, Array3, ArrayView2, Axis};
use ndarray_npy::ReadNpyExt;
use rareclip_bench::{Plan, Run};
use rareclip_datasets::{PixelTruth, Sample};
use rareclip_imaging::{
    ImagingError, Limits, MapScale, Preset, RgbPicture, contour, decode_file, encode_jpeg,
    mask_binary, overlay, thumbnail,
};
use tracing::debug;

/// Longer side of a thumbnail in pixels.
const SIDE: usize = 160;
const QUALITY: u8 = 75;
/// How strongly the heatmap covers the picture.
const OPACITY: f32 = 0.5;
/// The outline of a defect, R G B: cyan, which the heatmap does not have.
const OUTLINE: [u8; 3] = [0, 229, 255];
/// The shares of pixels of normal maps below the darkest and the brightest colour.
const PERCENTILES: (f64, f64) = (0.005, 0.995);

/// An image as JPEG bytes, and with its map over it.
pub(super) struct Pair {
    /// The image alone.
    pub(super) image: Vec<u8>,
    /// With the heatmap and the outline of the defect; `None` where no map was kept.
    pub(super) overlay: Option<Vec<u8>>,
    /// Whether the outline of a defect is on it.
    pub(super) outlined: bool,
}

/// A thumbnail and the mask at its size, where there is one.
struct Small {
    picture: RgbPicture,
    mask: Option<Array2<f32>>,
}

/// The images of the data set, each read once however many detectors picture it.
pub(super) struct Album<'a> {
    plan: &'a Plan,
    samples: HashMap<&'a str, &'a Sample>,
    small: HashMap<(String, Preset), Result<Small, String>>,
}

/// The kept maps of a run, and the scale at which all of them are shown.
pub(super) struct Maps {
    maps: Array3<f32>,
    /// The map values of the darkest and the brightest colour.
    pub(super) scale: MapScale,
}

impl Maps {
    /// The maps that the benchmark kept of a run.
    ///
    /// # Errors
    /// When the file is not there, as for runs of image scores alone, or does not belong to the
    /// run.
    fn read(plan: &Plan, run: &Run) -> anyhow::Result<Self> {
        let path = plan.maps_file(&run.detector, &run.category, run.seed);
        let context = || path.display().to_string();
        let file = File::open(&path).with_context(context)?;
        let maps = Array3::<f32>::read_npy(BufReader::new(file)).with_context(context)?;
        ensure!(
            maps.dim().0 == run.images.len() && !maps.is_empty(),
            "{}: holds {:?} maps for {} images",
            path.display(),
            maps.dim(),
            run.images.len()
        );
        let scale = scale_of(&maps, run);
        Ok(Self { maps, scale })
    }

    fn map(&self, at: usize) -> Option<ArrayView2<'_, f32>> {
        (at < self.maps.dim().0).then(|| self.maps.index_axis(Axis(0), at))
    }
}

/// The percentiles of the maps of normal images, of all images where none is known to be normal.
fn scale_of(maps: &Array3<f32>, run: &Run) -> MapScale {
    let any_normal = run.images.iter().any(|image| image.label == Some(false));
    let chosen = maps.outer_iter().zip(&run.images);
    let mut values: Vec<f32> = chosen
        .filter(|(_, image)| !any_normal || image.label == Some(false))
        .flat_map(|(map, _)| map.to_owned().into_iter())
        .filter(|value| value.is_finite())
        .collect();
    let mut at = |share: f64| {
        let place = ((values.len().saturating_sub(1)) as f64 * share).round() as usize;
        if values.is_empty() {
            return 0.0;
        }
        *values.select_nth_unstable_by(place, f32::total_cmp).1
    };
    let (low, high) = (at(PERCENTILES.0), at(PERCENTILES.1));
    MapScale::new(low, high).unwrap_or_else(|_| MapScale::of_map(ndarray::array![[low]].view()))
}

impl<'a> Album<'a> {
    /// The images of `plan`.
    pub(super) fn new(plan: &'a Plan) -> Self {
        let tests = plan
            .dataset
            .categories
            .iter()
            .flat_map(|category| &category.test);
        Self {
            plan,
            samples: tests.map(|sample| (sample.id.as_str(), sample)).collect(),
            small: HashMap::new(),
        }
    }

    /// The maps of a run; `None` where none were kept.
    pub(super) fn maps(&self, run: &Run) -> Option<Maps> {
        Maps::read(self.plan, run)
            .inspect_err(|error| debug!("no overlays of {}: {error:#}", run.detector))
            .ok()
    }

    /// Forgets the images read so far; those of another category are others.
    pub(super) fn next_category(&mut self) {
        self.small.clear();
    }

    /// The image with this id and its map, at place `at` of the stream. `preset` is how the
    /// detector read the image, so that map and picture agree about what is up.
    ///
    /// # Errors
    /// What is wrong with the image or its mask, in words.
    pub(super) fn pair(
        &mut self,
        id: &str,
        preset: Preset,
        maps: Option<&Maps>,
        at: usize,
    ) -> Result<Pair, String> {
        let samples = &self.samples;
        let small = self
            .small
            .entry((id.to_owned(), preset))
            .or_insert_with(|| match samples.get(id) {
                Some(sample) => small(sample, preset).map_err(|error| format!("{error:#}")),
                None => Err("the image is not in the data set".to_owned()),
            });
        let small = small.as_ref().map_err(Clone::clone)?;
        let map = maps.and_then(|maps| Some((maps.map(at)?, maps.scale)));
        drawn(small, map).map_err(|error| error.to_string())
    }
}

fn small(sample: &Sample, preset: Preset) -> anyhow::Result<Small> {
    let limits = Limits::default();
    let picture = decode_file(&sample.path, &limits).context("image")?;
    let picture = thumbnail(&picture.to_rgb(preset), SIDE);
    let mut union: Option<Array2<f32>> = None;
    if let PixelTruth::Masks(files) = sample.pixel_truth() {
        for path in files {
            let mask = decode_file(path, &limits).context("mask")?;
            let mask = mask_binary(&mask, SIDE, preset)?.mapv(f32::from);
            match &mut union {
                Some(union) => union.zip_mut_with(&mask, |all, one| *all = all.max(*one)),
                None => union = Some(mask),
            }
        }
    }
    Ok(Small {
        picture,
        mask: union,
    })
}

fn drawn(
    small: &Small,
    map: Option<(ArrayView2<'_, f32>, MapScale)>,
) -> Result<Pair, ImagingError> {
    let overlay = map
        .map(|(map, scale)| {
            let mut picture = overlay(&small.picture, map, scale, OPACITY)?;
            if let Some(mask) = &small.mask {
                picture = contour(&picture, mask.view(), 0.5, OUTLINE, 1)?;
            }
            encode_jpeg(&picture, QUALITY)
        })
        .transpose()?;
    Ok(Pair {
        image: encode_jpeg(&small.picture, QUALITY)?,
        outlined: overlay.is_some() && small.mask.is_some(),
        overlay,
    })
}
