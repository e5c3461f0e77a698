//! Features on disk, so that every backbone runs once per image.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use ndarray::{Array1, Array2};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::patches::row_major;
use rareclip_core::{Backbone, Features, write_whole_in_folder};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};

use tempfile::TempDir;

use crate::{EncodeTime, Error, Original, Result, encode};

const EMBEDDING: &str = "embedding";
const BLOCK: &str = "block.";
const WINDOW: &str = "window.";

/// Name, values and shape of a tensor in a file.
type Entry<'t> = (String, Cow<'t, [f32]>, Vec<usize>);

/// The features of one backbone, a safetensors file an image.
///
/// A file is named by the sha256 of the image's bytes, its folder by what decides the features:
/// weights, options, blocks. An f32 image of 1369 patches and four blocks of width 1024 takes 22
/// MB.
#[derive(Debug, Clone)]
pub struct FeatureStore {
    folder: PathBuf,
    spec: BackboneSpec,
    /// The folder around a temporary store, removed with the last copy of the store.
    _temporary: Option<Arc<TempDir>>,
}

impl FeatureStore {
    /// The store below `root` for a backbone; `identity` is all of its config that decides the
    /// features.
    pub fn new(root: &Path, identity: &serde_json::Value, spec: &BackboneSpec) -> Self {
        let blocks: Vec<usize> = spec.blocks.iter().map(|(block, _)| *block).collect();
        let mut hasher = Sha256::new();
        hasher.update(identity.to_string());
        hasher.update(&spec.weights);
        hasher.update(format!("{blocks:?}"));
        Self {
            folder: root.join(HEXLOWER.encode(&hasher.finalize()[..12])),
            spec: spec.clone(),
            _temporary: None,
        }
    }

    /// An empty store in a new folder below `place`, removed with the store.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be made.
    pub fn temporary(place: &Path, spec: &BackboneSpec) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(".features-")
            .tempdir_in(place)
            .map_err(Error::io(place))?;
        Ok(Self {
            folder: folder.path().to_owned(),
            spec: spec.clone(),
            _temporary: Some(Arc::new(folder)),
        })
    }

    fn file_of(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.safetensors"))
    }

    /// Whether there are features under this key.
    pub fn holds(&self, key: &str) -> bool {
        self.file_of(key).exists()
    }

    /// Makes sure that the features of `image` are there; `original` is its file where that was
    /// read already.
    ///
    /// # Errors
    /// When the image cannot be read or does not have the key any more, the backbone fails or the
    /// store cannot be written.
    pub fn ensure(
        &self,
        backbone: &dyn Backbone,
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
        let input = original.prepare(image, &self.spec.input)?;
        let encoded = encode(backbone, &input).map_err(Error::backbone(image))?;
        self.store(key, &encoded.features, encoded.time)
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
        write_whole_in_folder(&path, &bytes).map_err(Error::io(&path))
    }

    /// The features of the image with this key.
    ///
    /// # Errors
    /// [`Error::Io`] when they are not there, [`Error::Damaged`] when the file is not what it
    /// should be.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ndarray::{ArrayView4, array};
    use rareclip_core::{BoxError, FeatureSource, Grid};
    use rareclip_imaging::{InputRecipe, RgbPicture, encode_png};

    use super::*;
    use crate::StoredImages;

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
        let store = FeatureStore::new(folder.path(), &serde_json::Value::Null, backbone.spec());
        let path = image(folder.path(), 9);
        let original = Original::read(&path).unwrap();
        assert_eq!(original.size(), std::fs::metadata(&path).unwrap().len());
        std::fs::remove_file(&path).unwrap();
        let key = original.key();
        store
            .ensure(&backbone, &path, &key, Some(&original))
            .unwrap();
        // Nor is it once its features are there.
        store.ensure(&backbone, &path, &key, None).unwrap();
        let other = store.ensure(&backbone, &path, "other", None);
        assert!(matches!(other, Err(Error::Io { .. })), "{other:?}");
    }

    #[test]
    fn the_times_of_encoding_come_with_the_first_reading() {
        let folder = tempfile::tempdir().unwrap();
        let backbone = mean();
        let store = FeatureStore::new(folder.path(), &serde_json::Value::Null, backbone.spec());
        let features = backbone.encode(ndarray::Array4::ones((1, 3, 4, 4)).view());
        let time = |at: u64| EncodeTime {
            decode: Duration::from_millis(at),
            backbone: Duration::from_millis(10 * at),
        };
        for at in [1, 2] {
            let features = &features.as_ref().unwrap()[0];
            store.store(&at.to_string(), features, time(at)).unwrap();
        }
        let mut images = StoredImages::new(&store, &|| false);
        images.push("1", Some(100));
        images.push("2", Some(200));
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

    #[test]
    fn a_method_that_reads_features_again_and_again_can_be_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let backbone = mean();
        let store = FeatureStore::temporary(folder.path(), backbone.spec()).unwrap();
        let path = image(folder.path(), 3);
        let key = Original::read(&path).unwrap().key();
        store.ensure(&backbone, &path, &key, None).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let stopped = || stop.load(std::sync::atomic::Ordering::Relaxed);
        let mut images = StoredImages::new(&store, &stopped);
        images.push(key, None);
        assert!(images.get(0).is_ok());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(images.get(0).is_err());
    }

    #[test]
    fn a_temporary_store_goes_with_its_last_copy() {
        let folder = tempfile::tempdir().unwrap();
        let store = FeatureStore::temporary(folder.path(), mean().spec()).unwrap();
        let copy = store.clone();
        drop(store);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(copy);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
