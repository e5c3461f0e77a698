//! Images to examples: features from the backbone, kept or not, and masks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use ndarray::Array2;
use rareclip_core::{Backbone, Features};
use rareclip_datasets::PixelTruth;
use rareclip_datasets::masks::{self, Pixels};
use rareclip_imaging::{Picture, mask_binary};
use rareclip_pipeline::{FeatureStore, Input, Original, encode};
use sha2::{Digest, Sha256};

use crate::mosaic::{Files, mosaic};
use crate::selection::Item;
use crate::{Error, Example, Result};

/// What becomes of the features of an image, which stay the same while the layers learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeatureUse {
    /// They are kept in this folder, f32, a file an image; the same folder serves every run and
    /// `rareclip bench`.
    Cache(PathBuf),
    /// The backbone runs anew in every epoch.
    Recompute,
}

/// The source of examples.
pub(crate) struct Source<'a> {
    backbone: &'a dyn Backbone,
    cache: Option<FeatureStore>,
    /// The sha256 of every image by its path.
    keys: BTreeMap<&'a Path, String>,
}

impl<'a> Source<'a> {
    /// The source of `items`, whose files are read once for their hashes.
    pub(crate) fn new(
        backbone: &'a dyn Backbone,
        identity: &serde_json::Value,
        kept: &FeatureUse,
        items: impl Iterator<Item = Item<'a>>,
    ) -> Result<Self> {
        let mut keys = BTreeMap::new();
        for item in items {
            let path = item.sample.path.as_path();
            keys.insert(path, Original::read(path)?.key());
        }
        let cache = match kept {
            FeatureUse::Cache(root) => Some(FeatureStore::new(root, identity, backbone.spec())),
            FeatureUse::Recompute => None,
        };
        Ok(Self {
            backbone,
            cache,
            keys,
        })
    }

    fn key(&self, item: &Item<'_>) -> &str {
        self.keys
            .get(item.sample.path.as_path())
            .map_or("", String::as_str)
    }

    /// What tells these images and their truth from others: a sha256 over names, labels, image and
    /// mask files.
    pub(crate) fn fingerprint(&self, items: &[Item<'_>]) -> Result<String> {
        let mut hasher = Sha256::new();
        for item in items {
            let sample = item.sample;
            hasher.update(format!("{:?}", (item.category, &sample.id, sample.label)));
            hasher.update(self.key(item));
            if let PixelTruth::Masks(files) = sample.pixel_truth() {
                for file in files {
                    hasher.update(Original::read(file)?.key());
                }
            }
        }
        Ok(HEXLOWER.encode(&hasher.finalize()))
    }

    /// Whether the features of an image are kept already.
    pub(crate) fn keeps(&self, item: &Item<'_>) -> bool {
        let cache = self.cache.as_ref();
        cache.is_some_and(|cache| cache.holds(self.key(item)))
    }

    /// Makes sure that the features of an image are kept, where they are to be.
    pub(crate) fn prepare(&self, item: &Item<'_>) -> Result<()> {
        let Some(cache) = &self.cache else {
            return Ok(());
        };
        let (path, key) = (&item.sample.path, self.key(item));
        let kept = cache.ensure(self.backbone, path, key, None);
        kept.map_err(|error| match error {
            rareclip_pipeline::Error::Io { source, path }
                if source.kind() == std::io::ErrorKind::StorageFull =>
            {
                Error::DiskFull { path }
            }
            other => other.into(),
        })
    }

    /// The features of an image.
    pub(crate) fn features(&self, item: &Item<'_>) -> Result<Features> {
        let Some(cache) = &self.cache else {
            let path = &item.sample.path;
            let original = Original::read_unchanged(path, self.key(item))?;
            let input = original.prepare(path, &self.backbone.spec().input)?;
            return self.encode(&input, path);
        };
        self.prepare(item)?;
        Ok(cache.read(self.key(item))?.0)
    }

    /// An image and its mask.
    pub(crate) fn example(&self, item: &Item<'_>) -> Result<Example> {
        let input = &self.backbone.spec().input;
        let side = input.side;
        Ok(Example {
            features: self.features(item)?,
            mask: match masks::pixels(item.sample, side, side, input.preset)? {
                Pixels::Mask(mask) => mask.mapv(u8::from),
                Pixels::Normal => Array2::zeros((side, side)),
                Pixels::Unknown => {
                    return Err(Error::NoMask {
                        path: item.sample.path.clone(),
                    });
                }
            },
        })
    }

    /// Four images as one, in reading order.
    pub(crate) fn mosaic(&self, four: [&Item<'_>; 4]) -> Result<Example> {
        let input = &self.backbone.spec().input;
        let files = four.map(|item| Files {
            image: &item.sample.path,
            key: self.key(item),
            masks: match item.sample.pixel_truth() {
                PixelTruth::Masks(files) => files,
                PixelTruth::Normal | PixelTruth::Unknown => &[],
            },
        });
        let (picture, marked) = mosaic(files, input.filter, input.preset)?;
        let wrong = Error::image(files[0].image);
        let (height, width) = marked.dim();
        let mask = Picture::new(
            width,
            height,
            rareclip_imaging::Pixels::Gray8(marked.into_iter().collect()),
            rareclip_imaging::Orientation::Upright,
        );
        let mask = mask.and_then(|mask| mask_binary(&mask, input.side, input.preset));
        let composed = Input::of(picture, input);
        Ok(Example {
            features: self.encode(&composed.map_err(&wrong)?, files[0].image)?,
            mask: mask.map_err(&wrong)?,
        })
    }

    fn encode(&self, input: &Input, path: &Path) -> Result<Features> {
        let encoded = encode(self.backbone, input).map_err(|source| Error::Backbone {
            path: path.to_owned(),
            source,
        })?;
        Ok(encoded.features)
    }
}
