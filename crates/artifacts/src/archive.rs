//! Archives that data sets come in.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Component, Path};

use tar::{Archive, EntryType};

use crate::cache::RECORD;
use crate::{Error, Result};

/// A tar is made of blocks of this size, and ends with zeros of at least one.
const BLOCK: usize = 512;

/// Unpacks the files of a tar below `to` and gives their paths there, `/`-separated, in the
/// archive's order.
///
/// # Errors
/// [`Error::UnsafeMember`] for a path that leads elsewhere, a link or a device; [`Error::Damaged`]
/// for a tar that is cut off, has a broken header or holds no file; [`Error::Io`]. What was
/// unpacked before stays in `to`.
pub(crate) fn unpack_tar(tar: &Path, to: &Path) -> Result<Vec<String>> {
    let mut file = File::open(tar).map_err(Error::io(tar))?;
    ends(&mut file, tar)?;
    let broken = |error: std::io::Error| Error::damaged(tar, error);
    let mut archive = Archive::new(BufReader::with_capacity(1 << 20, file));
    let mut unpacked = Vec::new();
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let refused = |what| Error::UnsafeMember {
            path: tar.to_owned(),
            member: name.clone(),
            what,
        };
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Directory | EntryType::XGlobalHeader => continue,
            EntryType::Symlink | EntryType::Link => return Err(refused("a link")),
            _ => return Err(refused("neither a file nor a folder")),
        }
        let relative = inside(&name).map_err(refused)?;
        let path = to.join(&relative);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
        }
        let size = entry.size();
        let written = write(&mut entry, &path, tar)?;
        if written != size {
            let detail = format!("`{name}` ends after {written} of {size} bytes");
            return Err(Error::damaged(tar, detail));
        }
        unpacked.push(relative);
    }
    match unpacked.is_empty() {
        true => Err(Error::damaged(tar, "it holds no file")),
        false => Ok(unpacked),
    }
}

/// Refuses a tar without zeros at its end: cut off between two members, it could not be told from a
/// whole one.
fn ends(file: &mut File, tar: &Path) -> Result<()> {
    let length = file.metadata().map_err(Error::io(tar))?.len();
    let mut last = [1; BLOCK];
    let whole = length.is_multiple_of(BLOCK as u64) && length >= 2 * BLOCK as u64;
    if whole {
        file.seek(SeekFrom::End(-(BLOCK as i64)))
            .and_then(|_| file.read_exact(&mut last))
            .map_err(Error::io(tar))?;
    }
    if last.iter().any(|byte| *byte != 0) {
        let detail = format!("after {length} bytes it has no end of a tar");
        return Err(Error::damaged(tar, detail));
    }
    file.rewind().map_err(Error::io(tar))
}

/// The path of a member without `.`, or what is wrong with it.
fn inside(name: &str) -> Result<String, &'static str> {
    let mut parts = Vec::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str().ok_or("no text")?),
            Component::CurDir => {}
            Component::ParentDir => return Err("a path with `..`"),
            Component::RootDir | Component::Prefix(_) => return Err("an absolute path"),
        }
    }
    match parts.as_slice() {
        [] => Err("a file without a name"),
        [RECORD] => Err("a name that the cache keeps for itself"),
        _ => Ok(parts.join("/")),
    }
}

/// Copies a member and gives how many bytes came. What cannot be read is the tar's fault, what
/// cannot be written the disk's.
fn write(member: &mut dyn Read, path: &Path, tar: &Path) -> Result<u64> {
    use std::io::Write;
    let mut file = File::create(path).map_err(Error::io(path))?;
    let (mut written, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        let count = match member.read(&mut buffer) {
            Ok(0) => return Ok(written),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(Error::damaged(tar, error));
            }
            Err(error) => return Err(Error::io(tar)(error)),
        };
        file.write_all(&buffer[..count]).map_err(Error::io(path))?;
        written += count as u64;
    }
}
