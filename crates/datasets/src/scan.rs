//! Reading folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::natural::natural_cmp;
use super::{GOOD, Kind, Mask, Sample};
use crate::DatasetError;

const IMAGE_EXTENSIONS: [&str; 8] = ["png", "jpg", "jpeg", "jfif", "bmp", "tif", "tiff", "webp"];

/// The visible entries of one folder, in natural order.
pub(super) struct Listing {
    pub(super) folders: Vec<String>,
    pub(super) images: Vec<String>,
}

impl Listing {
    pub(super) fn read(path: &Path) -> Result<Self, DatasetError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DatasetError::Io { path, source }
        };
        let (mut folders, mut images) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(path).map_err(failed(path))? {
            let entry = entry.map_err(failed(path))?.path();
            let Some(name) = entry.file_name().and_then(|name| name.to_str()) else {
                let source = std::io::Error::new(
                    std::io::ErrorKind::InvalidData,
                    "the name is not valid UTF-8; rename it",
                );
                return Err(DatasetError::Io {
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

/// The name of a folder, looking through `.` and links; empty for the root of the file system.
pub(super) fn name_of(folder: &Path) -> String {
    let real = folder.canonicalize().ok();
    let name = real.as_deref().unwrap_or(folder).file_name();
    name.map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

pub(super) fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// One class folder: `path` on disk, `id` relative to the root of the data set.
pub(super) struct ClassFolder<'a> {
    pub(super) path: PathBuf,
    pub(super) id: String,
    pub(super) name: &'a str,
    /// The masks, if the data set has any.
    pub(super) masks: Option<&'a Masks<'a>>,
    pub(super) kind: Kind,
}

impl ClassFolder<'_> {
    /// Appends the samples of the folder, which must hold images and no folders.
    pub(super) fn read_into(&self, samples: &mut Vec<Sample>) -> Result<(), DatasetError> {
        let listing = Listing::read(&self.path)?;
        if let Some(folder) = listing.folders.first() {
            return Err(self
                .kind
                .error(self.path.join(folder), "a folder where images should be"));
        }
        if listing.images.is_empty() {
            return Err(self.kind.error(&self.path, "no images in this folder"));
        }
        let normal = is_normal(self.name);
        let mut masks = match self.masks.filter(|_| !normal) {
            Some(masks) => Some(masks.of_class(self)?),
            None => None,
        };
        for image in listing.images {
            let path = self.path.join(&image);
            let id = format!("{}/{image}", self.id);
            let mut sample = Sample::new(id, path, (!normal).then_some(self.name));
            if let Some(masks) = &mut masks {
                sample.mask = masks.take(&sample.path, stem(&image))?;
            }
            samples.push(sample);
        }
        masks.map_or(Ok(()), ClassMasks::nothing_left)
    }
}

/// The folder of masks: a folder for each class.
pub(super) struct Masks<'a> {
    pub(super) folder: &'a Path,
    /// Whether each image has a folder of masks rather than a file.
    pub(super) several: bool,
}

impl Masks<'_> {
    fn of_class(&self, class: &ClassFolder<'_>) -> Result<ClassMasks, DatasetError> {
        let folder = self.folder.join(class.name);
        if !folder.is_dir() {
            let problem = format!(
                "this folder with the masks of {} is missing",
                class.path.display()
            );
            return Err(class.kind.error(folder, problem));
        }
        let listing = Listing::read(&folder)?;
        let (wanted, out_of_place, problem) = if self.several {
            let problem = "a mask outside the folders named like the images";
            (listing.folders, listing.images, problem)
        } else {
            let problem = "a folder where masks should be";
            (listing.images, listing.folders, problem)
        };
        if let Some(name) = out_of_place.first() {
            return Err(class.kind.error(folder.join(name), problem));
        }
        let key = |name: &str| {
            if self.several {
                name.to_owned()
            } else {
                stem(name).to_owned()
            }
        };
        Ok(ClassMasks {
            left: wanted
                .iter()
                .map(|name| (key(name), folder.join(name)))
                .collect(),
            images: class.path.clone(),
            folder,
            several: self.several,
            kind: class.kind,
        })
    }

    /// Refuses masks of classes that have no images. Folders for normal classes may lie about,
    /// empty masks in them.
    pub(super) fn of_known_classes(
        &self,
        classes: &[String],
        test: &Path,
        kind: Kind,
    ) -> Result<(), DatasetError> {
        let listing = Listing::read(self.folder)?;
        let unknown = |folder: &&String| !is_normal(folder) && !classes.contains(folder);
        match listing.folders.iter().find(unknown) {
            None => Ok(()),
            Some(folder) => {
                let images = test.join(folder);
                let problem = format!("masks, but there are no images {}", images.display());
                Err(kind.error(self.folder.join(folder), problem))
            }
        }
    }
}

/// The masks of one class that no image has taken yet, by name (files without their ending).
struct ClassMasks {
    left: BTreeMap<String, PathBuf>,
    images: PathBuf,
    folder: PathBuf,
    several: bool,
    kind: Kind,
}

impl ClassMasks {
    fn take(&mut self, image: &Path, stem: &str) -> Result<Mask, DatasetError> {
        let with_suffix = format!("{stem}_mask");
        let key = if !self.several && self.left.contains_key(&with_suffix) {
            with_suffix.as_str()
        } else {
            stem
        };
        let Some(path) = self.left.remove(key) else {
            let wanted = if self.several {
                format!("folder {stem}/")
            } else {
                format!("mask {stem}_mask.png or {stem}.png")
            };
            let problem = format!("no {wanted} in {}", self.folder.display());
            return Err(self.kind.error(image, problem));
        };
        if !self.several {
            return Ok(Mask::File(path));
        }
        let files = Listing::read(&path)?.images;
        if files.is_empty() {
            return Err(self.kind.error(path, "no masks in this folder"));
        }
        Ok(Mask::Merged(
            files.iter().map(|file| path.join(file)).collect(),
        ))
    }

    fn nothing_left(self) -> Result<(), DatasetError> {
        let mut left: Vec<&PathBuf> = self.left.values().collect();
        left.sort_by(|a, b| natural_cmp(&a.to_string_lossy(), &b.to_string_lossy()));
        left.first().map_or(Ok(()), |mask| {
            let problem = format!("a mask without an image in {}", self.images.display());
            Err(self.kind.error(mask.as_path(), problem))
        })
    }
}
