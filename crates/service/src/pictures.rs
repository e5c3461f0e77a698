//! Pictures and maps of results: the latest in memory, chosen ones on disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use ndarray::Array2;
use rareclip_imaging::{
    Limits, MapScale, Preset, RgbPicture, decode_file, encode_jpeg, encode_png, heatmap, npy_f32,
    overlay,
};

use crate::error::ServiceError;

/// Longest side in pixels that a picture is kept at.
pub const LONGEST_SIDE: usize = 1024;
const QUALITY: u8 = 88;
/// Bytes of pictures and maps held in memory.
const RECENT_BYTES: usize = 96 << 20;

/// The picture and the map of a result.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The image, its longest side at most 1024 pixels.
    pub picture: RgbPicture,
    /// The anomaly map `[height, width]` at the detector's input size.
    pub map: Array2<f32>,
    /// The colour scale `(low, high)`.
    pub scale: (f32, f32),
}

fn fault(error: rareclip_imaging::ImagingError) -> ServiceError {
    ServiceError::Internal(format!("picture: {error}"))
}

impl Shown {
    fn map_scale(&self) -> Result<MapScale, ServiceError> {
        MapScale::new(self.scale.0, self.scale.1).map_err(fault)
    }

    /// The map in colours, as PNG.
    ///
    /// # Errors
    /// When the map cannot be drawn.
    pub fn heatmap_png(&self) -> Result<Vec<u8>, ServiceError> {
        let picture = heatmap(self.map.view(), self.map_scale()?).map_err(fault)?;
        encode_png(&picture).map_err(fault)
    }

    /// The map over the picture with the given opacity in [0, 1], as PNG.
    ///
    /// # Errors
    /// When the map cannot be drawn.
    pub fn overlay_png(&self, opacity: f32) -> Result<Vec<u8>, ServiceError> {
        let picture = overlay(&self.picture, self.map.view(), self.map_scale()?, opacity);
        encode_png(&picture.map_err(fault)?).map_err(fault)
    }

    /// The picture as JPEG.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn picture_jpeg(&self) -> Result<Vec<u8>, ServiceError> {
        encode_jpeg(&self.picture, QUALITY).map_err(fault)
    }

    /// The map as an `.npy` file of f32.
    pub fn map_npy(&self) -> Vec<u8> {
        npy_f32(self.map.view())
    }

    /// The map as f32, little-endian, row by row.
    pub fn map_f32(&self) -> Vec<u8> {
        self.map
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    fn bytes(&self) -> usize {
        self.picture.data().len() + 4 * self.map.len()
    }
}

/// A result by stream and id.
pub type Key = (i64, u64);

/// The latest pictures, and the folder of those that are kept.
pub struct Pictures {
    folder: PathBuf,
    recent: Mutex<(LruCache<Key, Arc<Shown>>, usize)>,
}

impl Pictures {
    pub(crate) fn new(data: &Path) -> Self {
        Self {
            folder: data.join("pictures"),
            recent: Mutex::new((LruCache::unbounded(), 0)),
        }
    }

    /// Holds a picture until newer ones need the room.
    pub fn hold(&self, key: Key, shown: Arc<Shown>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.1 += shown.bytes();
        if let Some(old) = recent.0.put(key, shown) {
            recent.1 -= old.bytes();
        }
        while recent.1 > RECENT_BYTES
            && recent.0.len() > 1
            && let Some((_, old)) = recent.0.pop_lru()
        {
            recent.1 -= old.bytes();
        }
    }

    pub(crate) fn held(&self, key: Key) -> Option<Arc<Shown>> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.0.get(&key).cloned()
    }

    fn paths(&self, (stream, id): Key) -> (PathBuf, PathBuf) {
        let folder = self.folder.join(stream.to_string());
        (
            folder.join(format!("{id}.jpg")),
            folder.join(format!("{id}.map")),
        )
    }

    /// Writes a picture and its map; gives the bytes they take. Where one cannot be written,
    /// neither is left.
    pub fn keep(&self, key: Key, shown: &Shown) -> Result<u64, ServiceError> {
        let kept = self.write(key, shown);
        if kept.is_err() {
            // No row will lead to them.
            self.delete(key);
        }
        kept
    }

    fn write(&self, key: Key, shown: &Shown) -> Result<u64, ServiceError> {
        let (picture, map) = self.paths(key);
        let io = |path: &Path, error: std::io::Error| {
            ServiceError::Internal(format!("picture {}: {error}", path.display()))
        };
        if let Some(folder) = picture.parent() {
            std::fs::create_dir_all(folder).map_err(|error| io(folder, error))?;
        }
        let jpeg = shown.picture_jpeg()?;
        std::fs::write(&picture, &jpeg).map_err(|error| io(&picture, error))?;
        let mut bytes = Vec::with_capacity(8 + 4 * shown.map.len());
        for side in shown.map.shape() {
            bytes.extend_from_slice(&u32::try_from(*side).unwrap_or(0).to_le_bytes());
        }
        bytes.extend(shown.map_f32());
        std::fs::write(&map, &bytes).map_err(|error| io(&map, error))?;
        Ok((jpeg.len() + bytes.len()) as u64)
    }

    /// Reads a kept picture.
    pub fn read(&self, key: Key, scale: (f32, f32)) -> Option<Shown> {
        let (picture, map) = self.paths(key);
        let picture = decode_file(&picture, &Limits::default()).ok()?;
        let bytes = std::fs::read(map).ok()?;
        let (head, body) = bytes.split_at_checked(8)?;
        let side = |at: usize| -> Option<usize> {
            let bytes = head.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(u32::from_le_bytes(bytes)).ok()
        };
        let values = body
            .chunks_exact(4)
            .map(|value| f32::from_le_bytes([value[0], value[1], value[2], value[3]]))
            .collect();
        Some(Shown {
            picture: picture.to_rgb(Preset::Product),
            map: Array2::from_shape_vec((side(0)?, side(4)?), values).ok()?,
            scale,
        })
    }

    /// Deletes a kept picture.
    pub fn delete(&self, key: Key) {
        let (picture, map) = self.paths(key);
        for path in [picture, map] {
            if let Err(error) = std::fs::remove_file(&path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "Kept picture not deleted.");
            }
        }
    }

    /// Forgets everything of a stream.
    pub fn forget(&self, stream: i64) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<Key> = recent.0.iter().map(|(key, _)| *key).collect();
        for key in keys.into_iter().filter(|key| key.0 == stream) {
            if let Some(old) = recent.0.pop(&key) {
                recent.1 -= old.bytes();
            }
        }
        drop(recent);
        let folder = self.folder.join(stream.to_string());
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "Kept pictures not deleted.");
        }
    }
}
