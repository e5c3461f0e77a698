//! Image files that are read once for their key and their pixels.

use std::path::Path;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use rareclip_imaging::{InputRecipe, Limits, Picture, decode};
use sha2::{Digest, Sha256};

use crate::{Error, Input, Result, Source};

/// An image file as it is on disk.
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

    /// What a backbone takes; `image` is the path, for messages.
    ///
    /// # Errors
    /// [`Error::Image`].
    pub fn prepare(&self, image: &Path, recipe: &InputRecipe) -> Result<Input> {
        let name = image.display().to_string();
        let source = Source::Bytes {
            name: &name,
            bytes: &self.bytes,
        };
        let mut input = source
            .prepare(recipe, &Limits::default())
            .map_err(Error::image(image))?;
        input.time += self.time;
        Ok(input)
    }

    /// The decoded picture, for compositions of several; `image` is the path, for messages.
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
