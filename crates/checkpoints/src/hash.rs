//! Hashing files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The sha256 of a file in hexadecimal.
///
/// # Errors
/// [`Error::Io`].
pub fn sha256_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(Error::io(path))? {
            0 => return Ok(HEXLOWER.encode(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}
