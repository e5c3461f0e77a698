//! Reading folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::natural::natural_cmp;
use super::{GOOD, Layout, Sample};
use crate::EvalError;

/// Name of the folder of masks.
pub(super) const GROUND_TRUTH: &str = "ground_truth";

const IMAGE_EXTENSIONS: [&str; 7] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp"];

/// The visible entries of one folder, in natural order.
pub(super) struct Listing {
    pub(super) folders: Vec<String>,
    pub(super) images: Vec<String>,
}

impl Listing {
    pub(super) fn read(path: &Path) -> Result<Self, EvalError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| EvalError::Io { path, source }
        };
        let (mut folders, mut images) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(path).map_err(failed(path))? {
            let entry = entry.map_err(failed(path))?.path();
            let Some(name) = entry.file_name().and_then(|name| name.to_str()) else {
                let source = std::io::Error::new(
                    std::io::ErrorKind::InvalidData,
                    "the name is not valid UTF-8; rename it",
                );
                return Err(EvalError::Io {
                    path: entry,
                    source,
                });
            };
            // macOS leaves `__MACOSX` in archives.
            if name.starts_with('.') || name == "__MACOSX" {
                continue;
            }
            if std::fs::metadata(&entry).map_err(failed(&entry))?.is_dir() {
                folders.push(name.to_owned());
            } else if is_image(&entry) {
                images.push(name.to_owned());
            }
        }
        folders.sort_by(|a, b| natural_cmp(a, b));
        images.sort_by(|a, b| natural_cmp(a, b));
        Ok(Self { folders, images })
    }

    pub(super) fn has_folder(&self, name: &str) -> bool {
        self.folders.iter().any(|folder| folder == name)
    }
}

fn is_image(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| {
            IMAGE_EXTENSIONS
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        })
}

/// Whether a folder of this name holds normal images.
pub(super) fn is_normal(folder: &str) -> bool {
    [GOOD, "ok", "normal"]
        .iter()
        .any(|name| folder.eq_ignore_ascii_case(name))
}

/// One class folder: `path` on disk, `id` relative to the root of the data set.
pub(super) struct ClassFolder<'a> {
    pub(super) path: PathBuf,
    pub(super) id: String,
    pub(super) name: &'a str,
    /// The folder `ground_truth`, if the data set has masks.
    pub(super) ground_truth: Option<&'a Path>,
    pub(super) layout: Layout,
}

impl ClassFolder<'_> {
    /// Appends the samples of the folder, which must hold images and no folders.
    pub(super) fn read_into(&self, samples: &mut Vec<Sample>) -> Result<(), EvalError> {
        let listing = Listing::read(&self.path)?;
        if let Some(folder) = listing.folders.first() {
            return Err(self
                .layout
                .error(self.path.join(folder), "a folder where images should be"));
        }
        if listing.images.is_empty() {
            return Err(self.layout.error(&self.path, "no images in this folder"));
        }
        let normal = is_normal(self.name);
        let masks = match self.ground_truth.filter(|_| !normal) {
            Some(ground_truth) => Some(self.masks(&ground_truth.join(self.name))?),
            None => None,
        };
        for image in listing.images {
            let path = self.path.join(&image);
            let mask = match &masks {
                Some(masks) => Some(self.mask_of(&path, masks)?),
                None => None,
            };
            samples.push(Sample {
                id: format!("{}/{image}", self.id),
                path,
                label: Some(!normal),
                kind: if normal {
                    GOOD.to_owned()
                } else {
                    self.name.to_owned()
                },
                mask,
            });
        }
        Ok(())
    }

    /// File stem to path of every mask in `folder`.
    fn masks(&self, folder: &Path) -> Result<BTreeMap<String, PathBuf>, EvalError> {
        if !folder.is_dir() {
            let problem = format!(
                "this folder with the masks of {} is missing",
                self.path.display()
            );
            return Err(self.layout.error(folder, problem));
        }
        let images = Listing::read(folder)?.images;
        Ok(images
            .into_iter()
            .map(|name| (stem(&name).to_owned(), folder.join(name)))
            .collect())
    }

    fn mask_of(
        &self,
        image: &Path,
        masks: &BTreeMap<String, PathBuf>,
    ) -> Result<PathBuf, EvalError> {
        let name = image
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let stem = stem(name);
        masks
            .get(&format!("{stem}_mask"))
            .or_else(|| masks.get(stem))
            .cloned()
            .ok_or_else(|| {
                let folder = self
                    .ground_truth
                    .map(|folder| folder.join(self.name))
                    .unwrap_or_default();
                let problem = format!(
                    "no mask {stem}_mask.png or {stem}.png in {}",
                    folder.display()
                );
                self.layout.error(image, problem)
            })
    }
}

fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}
