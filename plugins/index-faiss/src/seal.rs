//! Seals of saved engines, so that faiss reads only what this user's programs wrote.
//!
//! faiss checks little of the bytes that it reads as an index: bytes made by someone else can reach
//! outside its memory. A checksum does not help, because whoever makes bytes also makes their
//! checksum. A seal is an HMAC-SHA256 under a key that stays on the machine: a state without it,
//! for example one imported from elsewhere, has its engine built again from its vectors.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a key: a block of SHA-256, which HMAC takes unchanged.
const LENGTH: usize = 64;

type Key = [u8; LENGTH];

/// The seal of `parts` in hexadecimal; `None` if this user has no key and none can be written.
pub(crate) fn seal(parts: &[&[u8]]) -> Option<String> {
    own_key().map(|key| HEXLOWER.encode(&mac(key, parts).finalize().into_bytes()))
}

/// Whether `seal` is the seal of `parts`. The comparison takes the same time wherever they differ.
pub(crate) fn is_sealed(seal: &str, parts: &[&[u8]]) -> bool {
    let (Some(key), Ok(seal)) = (own_key(), HEXLOWER.decode(seal.as_bytes())) else {
        return false;
    };
    mac(key, parts).verify_slice(&seal).is_ok()
}

fn mac(key: &Key, parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new(key.into());
    for part in parts {
        // The length keeps a byte from moving between two parts.
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    mac
}

/// The key of this user, read or made once per process.
fn own_key() -> Option<&'static Key> {
    static KEY: OnceLock<Option<Key>> = OnceLock::new();
    KEY.get_or_init(|| read_or_make(&key_file()?)).as_ref()
}

/// `RARECLIP_STATE_KEY`, or `state-key` in the cache folder.
fn key_file() -> Option<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(file) = set("RARECLIP_STATE_KEY") {
        return Some(file);
    }
    let home = || std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    let user = || {
        if cfg!(windows) {
            set("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            home().map(|home| home.join("Library/Caches"))
        } else {
            set("XDG_CACHE_HOME").or_else(|| home().map(|home| home.join(".cache")))
        }
    };
    let cache = set("RARECLIP_CACHE").or_else(|| user().map(|folder| folder.join("rareclip")));
    cache.map(|folder| folder.join("state-key"))
}

fn read_or_make(file: &Path) -> Option<Key> {
    match File::open(file) {
        Ok(file) => read(file),
        Err(error) if error.kind() == ErrorKind::NotFound => make(file),
        Err(_) => None,
    }
}

/// A key of exactly [`LENGTH`] bytes.
fn read(file: File) -> Option<Key> {
    let mut bytes = Vec::with_capacity(LENGTH + 1);
    file.take(LENGTH as u64 + 1).read_to_end(&mut bytes).ok()?;
    bytes.try_into().ok()
}

/// Writes a new key whole, readable by the user alone. Of two processes, the first wins.
fn make(file: &Path) -> Option<Key> {
    let folder = file.parent()?;
    std::fs::create_dir_all(folder).ok()?;
    let mut key = [0; LENGTH];
    getrandom::fill(&mut key).ok()?;
    let draft = folder.join(format!(".state-key-{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&draft).and_then(|mut draft| {
        draft.write_all(&key)?;
        draft.sync_all()
    });
    // A link, unlike a rename, does not replace the key of another process.
    let kept = written.and_then(|()| std::fs::hard_link(&draft, file));
    let _ = std::fs::remove_file(&draft);
    match kept {
        Ok(()) => Some(key),
        Err(_) => read(File::open(file).ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cache/state-key");
        let key = read_or_make(&file).unwrap();
        assert_eq!(read_or_make(&file), Some(key));
        assert_ne!(key, [0; LENGTH]);
        let left: Vec<_> = std::fs::read_dir(file.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    #[cfg(unix)]
    fn only_the_user_can_read_the_key() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state-key");
        read_or_make(&file).unwrap();
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_not_a_key_gives_none_and_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state-key");
        for wrong in [&b"short"[..], &[7; LENGTH + 1]] {
            std::fs::write(&file, wrong).unwrap();
            assert_eq!(read_or_make(&file), None);
            assert_eq!(std::fs::read(&file).unwrap(), wrong);
        }
    }

    #[test]
    fn a_seal_fits_its_own_parts_alone() {
        let seal = seal(&[b"ab", b"c"]).unwrap();
        assert!(is_sealed(&seal, &[b"ab", b"c"]));
        assert!(!is_sealed(&seal, &[b"a", b"bc"]));
        assert!(!is_sealed("", &[b"ab", b"c"]));
        assert!(!is_sealed("not hexadecimal", &[b"ab", b"c"]));
        let others = HEXLOWER.encode(&mac(&[1; LENGTH], &[b"ab", b"c"]).finalize().into_bytes());
        assert!(!is_sealed(&others, &[b"ab", b"c"]));
    }
}
