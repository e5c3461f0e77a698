//! Kept features by position, for methods that compare images with each other.

use std::borrow::Cow;
use std::sync::OnceLock;

use rareclip_core::{BoxError, FeatureSource, Features};

use crate::{EncodeTime, Error, FeatureStore, Result};

/// Images of a [`FeatureStore`] by position, read when they are asked for: a set may be larger than
/// memory.
pub struct StoredImages<'s> {
    store: &'s FeatureStore,
    images: Vec<Stored>,
    stopped: &'s (dyn Fn() -> bool + Sync),
}

struct Stored {
    key: String,
    file_bytes: Option<u64>,
    /// How long it took to encode, once it was read.
    time: OnceLock<EncodeTime>,
}

impl<'s> StoredImages<'s> {
    /// No images yet. `stopped` is asked whenever features are read as a [`FeatureSource`]: a
    /// method that compares all images reads them again and again, and can be stopped nowhere else.
    pub fn new(store: &'s FeatureStore, stopped: &'s (dyn Fn() -> bool + Sync)) -> Self {
        Self {
            store,
            images: Vec::new(),
            stopped,
        }
    }

    /// Adds the image that the store holds under `key`; `file_bytes` is the size of its file, where
    /// known.
    pub fn push(&mut self, key: impl Into<String>, file_bytes: Option<u64>) {
        self.images.push(Stored {
            key: key.into(),
            file_bytes,
            time: OnceLock::new(),
        });
    }

    /// How long the images that were read so far took to encode.
    pub fn encode_times(&self) -> impl Iterator<Item = EncodeTime> {
        self.images
            .iter()
            .filter_map(|image| image.time.get().copied())
    }

    /// The features of the image at a position, and how long they took.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], and those of [`FeatureStore::read`].
    pub fn read(&self, at: usize) -> Result<(Features, EncodeTime)> {
        let image = self.images.get(at).ok_or(Error::OutOfRange {
            at,
            images: self.images.len(),
        })?;
        let (mut features, time) = self.store.read(&image.key)?;
        features.file_bytes = image.file_bytes;
        image.time.get_or_init(|| time);
        Ok((features, time))
    }
}

impl FeatureSource for StoredImages<'_> {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn get(&self, at: usize) -> Result<Cow<'_, Features>, BoxError> {
        if (self.stopped)() {
            return Err("stopped".into());
        }
        Ok(Cow::Owned(self.read(at)?.0))
    }
}
