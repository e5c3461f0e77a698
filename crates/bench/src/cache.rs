//! Features on disk, so that every backbone runs once per image.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use ndarray::{Array1, Array2};
use rareclip_core::backbone::{BackboneSpec, encode_one};
use rareclip_core::patches::row_major;
use rareclip_core::{Backbone, BoxError, FeatureSource, Features, write_whole};
use rareclip_imaging::{Limits, Picture, decode};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

const EMBEDDING: &str = "embedding";
const BLOCK: &str = "block.";
const WINDOW: &str = "window.";

/// Name, values and shape of a tensor in a file.
type Entry<'t> = (String, Cow<'t, [f32]>, Vec<usize>);

/// The features of one backbone, a safetensors file an image.
///
/// A file is named by the sha256 of the image's bytes, its folder by what decides the features: weights, options, blocks. An f32
/// image of 1369 patches and four blocks of width 1024 takes 22 MB.
#[derive(Debug, Clone)]
pub struct FeatureCache {
    folder: PathBuf,
    spec: BackboneSpec,
}

/// How long an image took before its features were there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncodeTime {
    /// Reading, decoding and resizing.
    pub decode: Duration,
    /// The backbone.
    pub backbone: Duration,
}

/// An image file as it is on disk, read once for its key and its pixels.
#[derive(Debug, Clone)]
pub struct Original {
    bytes: Vec<u8>,
    time: Duration,
}

impl Original {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(image: &Path) -> Result<Self> {
        let start = Instant::now();
        let bytes = std::fs::read(image).map_err(Error::io(image))?;
        Ok(Self {
            bytes,
            time: start.elapsed(),
        })
    }

    /// Reads the file, which had `key` before.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Changed`] where it has another now.
    pub fn read_unchanged(image: &Path, key: &str) -> Result<Self> {
        let original = Self::read(image)?;
        if original.key() == key {
            return Ok(original);
        }
        Err(Error::Changed {
            path: image.to_owned(),
        })
    }

    /// The decoded image; `image` is its path.
    ///
    /// # Errors
    /// [`Error::Image`].
    pub fn picture(&self, image: &Path) -> Result<Picture> {
        decode(&self.bytes, &Limits::default()).map_err(Error::image(image))
    }

    /// The key of the image: the sha256 of its bytes in hexadecimal.
    pub fn key(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(&self.bytes))
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
}

impl FeatureCache {
    /// The cache below `root` for a backbone; `identity` is all of its config that decides the features.
    pub fn new(root: &Path, identity: &serde_json::Value, spec: &BackboneSpec) -> Self {
        let blocks: Vec<usize> = spec.blocks.iter().map(|(block, _)| *block).collect();
        let mut hasher = Sha256::new();
        hasher.update(identity.to_string());
        hasher.update(&spec.weights);
        hasher.update(format!("{blocks:?}"));
        Self {
            folder: root.join(HEXLOWER.encode(&hasher.finalize()[..12])),
            spec: spec.clone(),
        }
    }

    fn file_of(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.safetensors"))
    }

    /// Whether there are features under this key.
    pub fn holds(&self, key: &str) -> bool {
        self.file_of(key).exists()
    }

    /// Makes sure that the features of `image` are there; `original` is its file where that was read already.
    ///
    /// # Errors
    /// When the image cannot be read or does not have the key any more, the backbone fails or the cache cannot be written.
    pub fn ensure(
        &self,
        backbone: &dyn Backbone,
        label: &str,
        image: &Path,
        key: &str,
        original: Option<&Original>,
    ) -> Result<()> {
        if self.holds(key) {
            return Ok(());
        }
        let read;
        let original = match original {
            Some(original) => original,
            None => {
                read = Original::read_unchanged(image, key)?;
                &read
            }
        };
        let start = Instant::now();
        let picture = original.picture(image)?;
        let tensor = self.spec.input.tensor(&picture);
        let tensor = tensor.map_err(Error::image(image))?;
        let decode = original.time + start.elapsed();
        let start = Instant::now();
        let failed = |source: BoxError| Error::Detector {
            detector: label.to_owned(),
            source: rareclip_core::Error::Component {
                slot: rareclip_core::Slot::Backbone,
                name: image.display().to_string(),
                source,
            },
        };
        let features = encode_one(backbone, tensor.view()).map_err(failed)?;
        let times = EncodeTime {
            decode,
            backbone: start.elapsed(),
        };
        self.store(key, &features, times)
    }

    /// Keeps features under a key: a name that is fit for a file.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn store(&self, key: &str, features: &Features, times: EncodeTime) -> Result<()> {
        fn entry<'t>(kind: &str, (number, array): (&usize, &'t Array2<f32>)) -> Entry<'t> {
            let values = row_major(&array.view());
            (format!("{kind}{number}"), values, array.shape().to_vec())
        }
        let standard: Vec<Entry<'_>> = features
            .tokens
            .iter()
            .map(|tokens| entry(BLOCK, tokens))
            .chain(
                features
                    .windows
                    .iter()
                    .map(|windows| entry(WINDOW, windows)),
            )
            .chain([(
                EMBEDDING.to_owned(),
                Cow::Owned(features.embedding.to_vec()),
                vec![features.embedding.len()],
            )])
            .collect();
        let path = self.file_of(key);
        let views: Result<Vec<_>> = standard
            .iter()
            .map(|(name, values, shape)| {
                TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values))
                    .map(|view| (name.as_str(), view))
                    .map_err(|error| Error::damaged(&path, error))
            })
            .collect();
        let seconds = |time: Duration| time.as_secs_f64().to_string();
        let about = HashMap::from([
            ("decode_seconds".to_owned(), seconds(times.decode)),
            ("backbone_seconds".to_owned(), seconds(times.backbone)),
        ]);
        let bytes = safetensors::serialize(views?, Some(about))
            .map_err(|error| Error::damaged(&path, error))?;
        keep(&path, &bytes)
    }

    /// The features of the image with this key.
    ///
    /// # Errors
    /// [`Error::Io`] when they are not there, [`Error::Damaged`] when the file is not what it should be.
    pub fn read(&self, key: &str) -> Result<(Features, EncodeTime)> {
        let path = self.file_of(key);
        let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
        let wrong = |error: safetensors::SafeTensorError| Error::damaged(&path, error);
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(wrong)?;
        let time = |name: &str| {
            let text = metadata
                .metadata()
                .as_ref()
                .and_then(|about| about.get(name));
            let seconds = text.and_then(|text| text.parse::<f64>().ok());
            seconds
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .ok_or_else(|| Error::damaged(&path, format!("no `{name}`")))
        };
        let times = EncodeTime {
            decode: time("decode_seconds")?,
            backbone: time("backbone_seconds")?,
        };
        let file = SafeTensors::deserialize(&bytes).map_err(wrong)?;
        let floats = |name: &str, shape: &[usize]| {
            let view = file.tensor(name).map_err(wrong)?;
            if view.dtype() != Dtype::F32 || view.shape() != shape {
                let found = view.shape();
                return Err(Error::damaged(
                    &path,
                    format!("`{name}` has shape {found:?}, expected {shape:?}"),
                ));
            }
            Ok(bytemuck::pod_collect_to_vec::<u8, f32>(view.data()))
        };
        let patches = self.spec.grid.patches();
        let mut tokens = std::collections::BTreeMap::new();
        for &(block, width) in &self.spec.blocks {
            let values = floats(&format!("{BLOCK}{block}"), &[patches, width])?;
            let array = Array2::from_shape_vec((patches, width), values)
                .map_err(|error| Error::damaged(&path, error))?;
            tokens.insert(block, array);
        }
        let embedding = Array1::from_vec(floats(EMBEDDING, &[self.spec.embedding_width])?);
        let mut features = Features::new(self.spec.grid, tokens, embedding);
        for (name, view) in file.iter() {
            let Some(side) = name.strip_prefix(WINDOW).and_then(|side| side.parse().ok()) else {
                continue;
            };
            let shape = (
                view.shape().first().copied().unwrap_or(0),
                self.spec.embedding_width,
            );
            let array = Array2::from_shape_vec(shape, floats(name, &[shape.0, shape.1])?)
                .map_err(|error| Error::damaged(&path, error))?;
            features.windows.insert(side, array);
        }
        Ok((features, times))
    }
}

/// Images of a category by position, read from the cache when they are asked for.
pub(crate) struct Cached<'a> {
    cache: &'a FeatureCache,
    /// Key and file size of each image.
    images: Vec<(&'a str, u64)>,
    /// How long each took to encode, once it was read.
    times: Vec<OnceLock<EncodeTime>>,
}

impl<'a> Cached<'a> {
    /// Images by key and file size.
    pub(crate) fn new(cache: &'a FeatureCache, images: Vec<(&'a str, u64)>) -> Self {
        Self {
            cache,
            times: images.iter().map(|_| OnceLock::new()).collect(),
            images,
        }
    }

    /// How long the images that were read so far took to encode.
    pub(crate) fn encode_times(&self) -> impl Iterator<Item = EncodeTime> {
        self.times.iter().filter_map(|time| time.get().copied())
    }

    pub(crate) fn read(&self, at: usize) -> Result<(Features, EncodeTime)> {
        let Some(&(key, bytes)) = self.images.get(at) else {
            return Err(Error::Incomparable(format!(
                "no image {at}: there are {}",
                self.images.len()
            )));
        };
        let (mut features, times) = self.cache.read(key)?;
        features.file_bytes = Some(bytes);
        self.times[at].get_or_init(|| times);
        Ok((features, times))
    }
}

impl FeatureSource for Cached<'_> {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn get(&self, at: usize) -> Result<Cow<'_, Features>, BoxError> {
        Ok(Cow::Owned(self.read(at)?.0))
    }
}

/// Writes a file whole or not at all, in a folder that may have to be made.
pub(crate) fn keep(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    write_whole(path, bytes).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ndarray::{ArrayView4, array};
    use rareclip_core::Grid;
    use rareclip_imaging::{InputRecipe, RgbPicture, encode_png};

    use super::*;

    /// The mean of an image as its one patch.
    struct Mean(BackboneSpec);

    impl Backbone for Mean {
        fn spec(&self) -> &BackboneSpec {
            &self.0
        }

        fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>, BoxError> {
            let mean = images.mean().unwrap();
            let tokens = BTreeMap::from([(1, array![[mean]])]);
            Ok(vec![Features::new(self.0.grid, tokens, array![1.0])])
        }
    }

    fn mean() -> Mean {
        Mean(BackboneSpec {
            input: InputRecipe::imagenet(4),
            grid: Grid {
                rows: 1,
                columns: 1,
            },
            blocks: vec![(1, 1)],
            embedding_width: 1,
            weights: "none".into(),
        })
    }

    fn image(folder: &Path, value: u8) -> PathBuf {
        let path = folder.join(format!("{value}.png"));
        let picture = RgbPicture::new(4, 4, vec![value; 48]).unwrap();
        std::fs::write(&path, encode_png(&picture).unwrap()).unwrap();
        path
    }

    #[test]
    fn an_image_that_was_read_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let backbone = mean();
        let cache = FeatureCache::new(folder.path(), &serde_json::Value::Null, backbone.spec());
        let path = image(folder.path(), 9);
        let original = Original::read(&path).unwrap();
        assert_eq!(original.size(), std::fs::metadata(&path).unwrap().len());
        std::fs::remove_file(&path).unwrap();
        let key = original.key();
        cache
            .ensure(&backbone, "mean", &path, &key, Some(&original))
            .unwrap();
        // Nor is it once its features are there.
        cache.ensure(&backbone, "mean", &path, &key, None).unwrap();
        let other = cache.ensure(&backbone, "mean", &path, "other", None);
        assert!(matches!(other, Err(Error::Io { .. })), "{other:?}");
    }

    #[test]
    fn the_times_of_encoding_come_with_the_first_reading() {
        let folder = tempfile::tempdir().unwrap();
        let backbone = mean();
        let cache = FeatureCache::new(folder.path(), &serde_json::Value::Null, backbone.spec());
        let features = backbone.encode(ndarray::Array4::ones((1, 3, 4, 4)).view());
        let time = |at: u64| EncodeTime {
            decode: Duration::from_millis(at),
            backbone: Duration::from_millis(10 * at),
        };
        for at in [1, 2] {
            let features = &features.as_ref().unwrap()[0];
            cache.store(&at.to_string(), features, time(at)).unwrap();
        }
        let images = Cached::new(&cache, vec![("1", 100), ("2", 200)]);
        assert_eq!(images.encode_times().count(), 0);
        assert_eq!(images.get(1).unwrap().file_bytes, Some(200));
        assert_eq!(images.encode_times().collect::<Vec<_>>(), [time(2)]);
        images.get(1).unwrap();
        images.get(0).unwrap();
        assert_eq!(
            images.encode_times().collect::<Vec<_>>(),
            [time(1), time(2)]
        );
    }
}
