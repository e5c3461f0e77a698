//! API keys: 256 random bits each, kept as their SHA-256 only.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;
use rand::TryRngCore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What every key begins with, so that scanners for leaked secrets can find it.
const PREFIX: &str = "rareclip_";

/// What a key allows; each scope includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Look at streams, results and metrics.
    Read,
    /// Score images too.
    Score,
    /// Everything: create, change and delete streams.
    Admin,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Score => "score",
            Self::Admin => "admin",
        })
    }
}

impl std::str::FromStr for Scope {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text {
            "read" => Ok(Self::Read),
            "score" => Ok(Self::Score),
            "admin" => Ok(Self::Admin),
            _ => Err(KeyError::Scope(text.into())),
        }
    }
}

/// Why keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file of the keys.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not one of keys.
    #[error("{path}: not a file of keys ({problem}); delete it and add the keys anew")]
    Damaged {
        /// The file of the keys.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// There is a key of that name.
    #[error("there is a key `{0}` already; revoke it first, or choose another name")]
    Exists(String),
    /// There is no key of that name.
    #[error("there is no key `{0}`; `rareclip keys list` names those there are")]
    Unknown(String),
    /// The name is not one a key may have.
    #[error("`{0}` cannot be the name of a key: 1 to 64 letters, digits, `-`, `_` or `.`")]
    Name(String),
    /// No such scope.
    #[error("`{0}` is not a scope; there are read, score and admin")]
    Scope(String),
    /// The system gives no random numbers.
    #[error("no random numbers from the system: {0}")]
    Random(String),
}

/// A key as it is listed; the secret itself is not kept anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyInfo {
    /// Its name, for lists and revoking.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// When it was made (RFC 3339, UTC).
    pub created_at: String,
    /// SHA-256 of the secret, 64 hexadecimal digits.
    pub sha256: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    keys: Vec<KeyInfo>,
}

/// What tells one version of the file from the next without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

#[derive(Debug)]
struct Held {
    stamp: Option<Stamp>,
    keys: Vec<KeyInfo>,
    /// Once there was a key, access does not become open again by the last one being revoked.
    locked: bool,
    readable: bool,
}

/// The keys in a file, read again whenever the file has changed: what `rareclip keys` does to the
/// file holds for a running service at once.
#[derive(Debug)]
pub struct KeyRing {
    path: PathBuf,
    held: Mutex<Held>,
}

impl KeyRing {
    /// The keys in the file `path`; no file means no keys.
    ///
    /// # Errors
    /// [`KeyError::Io`] or [`KeyError::Damaged`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, KeyError> {
        let path = path.into();
        let stamp = stamp(&path);
        let keys = read(&path)?;
        let locked = !keys.is_empty();
        Ok(Self {
            path,
            held: Mutex::new(Held {
                stamp,
                keys,
                locked,
                readable: true,
            }),
        })
    }

    /// Makes a key and returns its secret, which cannot be had again.
    ///
    /// # Errors
    /// [`KeyError`]: the name is taken or not allowed, or the file cannot be written.
    pub fn add(&self, name: &str, scope: Scope) -> Result<String, KeyError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !(1..=64).contains(&name.len()) || !name.chars().all(allowed) {
            return Err(KeyError::Name(name.into()));
        }
        let (mut keys, exclusive) = self.change()?;
        if keys.iter().any(|key| key.name == name) {
            return Err(KeyError::Exists(name.into()));
        }
        let mut bits = [0; 32];
        rand::rngs::OsRng
            .try_fill_bytes(&mut bits)
            .map_err(|e| KeyError::Random(e.to_string()))?;
        let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bits));
        keys.push(KeyInfo {
            name: name.into(),
            scope,
            created_at: jiff::Timestamp::now().to_string(),
            sha256: digest(&secret),
        });
        self.write(keys, exclusive)?;
        Ok(secret)
    }

    /// The keys, in the order they were added.
    pub fn list(&self) -> Vec<KeyInfo> {
        let mut held = self.lock();
        self.refresh(&mut held);
        held.keys.clone()
    }

    /// Takes a key away.
    ///
    /// # Errors
    /// [`KeyError`]: there is no such key, or the file cannot be written.
    pub fn revoke(&self, name: &str) -> Result<(), KeyError> {
        let (mut keys, exclusive) = self.change()?;
        let before = keys.len();
        keys.retain(|key| key.name != name);
        if keys.len() == before {
            return Err(KeyError::Unknown(name.into()));
        }
        self.write(keys, exclusive)
    }

    /// What the secret allows; `None` if it is no key, or if the file cannot be read at present.
    pub fn check(&self, secret: &str) -> Option<Scope> {
        if !secret.starts_with(PREFIX) || secret.len() > 128 {
            return None;
        }
        let sought = digest(secret);
        let mut held = self.lock();
        self.refresh(&mut held);
        // Digests are compared, never secrets: timing tells nothing about 256 random bits.
        let found = held.keys.iter().find(|key| key.sha256 == sought);
        found.map(|key| key.scope)
    }

    /// Whether there has been no key since the ring was opened, so that access may be open.
    pub fn is_open(&self) -> bool {
        let mut held = self.lock();
        self.refresh(&mut held);
        !held.locked && held.readable
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refresh(&self, held: &mut Held) {
        let now = stamp(&self.path);
        if now == held.stamp && held.readable {
            return;
        }
        match read(&self.path) {
            Ok(keys) => {
                held.locked |= !keys.is_empty();
                held.keys = keys;
                held.readable = true;
            }
            Err(problem) => {
                // Without a list that can be trusted no key is valid: a revoked one must not come
                // back.
                if held.readable || now != held.stamp {
                    tracing::error!(%problem, "keys cannot be read; every key is refused until they can");
                }
                held.keys.clear();
                held.readable = false;
            }
        }
        held.stamp = now;
    }

    /// The keys in the file, which only the caller may change until it drops the lock: neither
    /// another process nor another thread loses a change to this one.
    fn change(&self) -> Result<(Vec<KeyInfo>, Exclusive), KeyError> {
        // Before the mutex of this ring: a caller that waits for another process must not delay
        // requests.
        let exclusive = Exclusive::of(&self.path)?;
        Ok((read(&self.path)?, exclusive))
    }

    fn write(&self, keys: Vec<KeyInfo>, exclusive: Exclusive) -> Result<(), KeyError> {
        let io = |source| KeyError::Io {
            path: self.path.clone(),
            source,
        };
        let file = File { keys };
        let text = serde_json::to_vec_pretty(&file).map_err(|e| io(io::Error::other(e)))?;
        replace(&self.path, &text).map_err(io)?;
        let mut held = self.lock();
        held.locked |= !file.keys.is_empty();
        held.keys = file.keys;
        held.readable = true;
        held.stamp = stamp(&self.path);
        // Only now: another change in between would be taken for this one.
        drop(exclusive);
        Ok(())
    }
}

impl KeyRing {
    /// SHA-256 and scope of the key with this secret; `None` where [`check`](Self::check) returns
    /// `None`.
    pub(crate) fn identify(&self, secret: &str) -> Option<(String, Scope)> {
        let scope = self.check(secret)?;
        Some((digest(secret), scope))
    }

    /// The scope that the key with this SHA-256 has now; `None` if it was revoked, or if the file
    /// cannot be read.
    pub(crate) fn scope_of(&self, sha256: &str) -> Option<Scope> {
        let keys = self.list();
        let found = keys.iter().find(|key| key.sha256 == sha256);
        found.map(|key| key.scope)
    }
}

/// The right to change a file of keys, held until it is dropped or the process ends.
#[derive(Debug)]
struct Exclusive {
    /// The lock is on this file beside the keys, since theirs is replaced by every change.
    _lock: fs::File,
}

impl Exclusive {
    /// Waits until nothing else changes the file `path`.
    fn of(path: &Path) -> Result<Self, KeyError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let beside = PathBuf::from(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let locked = fs::create_dir_all(folder_of(path))
            .and_then(|()| options.open(&beside))
            .and_then(|file| file.lock().map(|()| file));
        match locked {
            Ok(file) => Ok(Self { _lock: file }),
            Err(source) => Err(KeyError::Io {
                path: beside,
                source,
            }),
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn digest(secret: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(secret.as_bytes()))
}

fn read(path: &Path) -> Result<Vec<KeyInfo>, KeyError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice::<File>(&bytes)
            .map(|file| file.keys)
            .map_err(|e| KeyError::Damaged {
                path: path.into(),
                problem: e.to_string(),
            }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(KeyError::Io {
            path: path.into(),
            source,
        }),
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&meta);
    #[cfg(not(unix))]
    let inode = 0;
    Some(Stamp {
        modified: meta.modified().ok(),
        bytes: meta.len(),
        inode,
    })
}

/// Writes a file that only its owner may read, whole or not at all, also when the power fails.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    // Made for its owner alone.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    // The new name is on disk only with the folder.
    #[cfg(unix)]
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> (tempfile::TempDir, KeyRing) {
        let folder = tempfile::tempdir().unwrap();
        let ring = KeyRing::open(folder.path().join("keys.json")).unwrap();
        (folder, ring)
    }

    #[test]
    fn a_key_has_256_random_bits_and_only_its_digest_is_kept() {
        let (folder, ring) = ring();
        let secret = ring.add("line-1", Scope::Score).unwrap();
        let bits = URL_SAFE_NO_PAD
            .decode(secret.strip_prefix("rareclip_").unwrap())
            .unwrap();
        assert_eq!(bits.len(), 32);
        let file = fs::read_to_string(folder.path().join("keys.json")).unwrap();
        assert!(!file.contains(&secret[9..]));
        assert_eq!(ring.check(&secret), Some(Scope::Score));
        assert_eq!(ring.check(&format!("{secret}x")), None);
    }

    #[test]
    fn sha256_is_written_as_hexadecimal_digits() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest("abc"), abc);
    }

    #[test]
    #[cfg(unix)]
    fn only_the_owner_can_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, ring) = ring();
        ring.add("a", Scope::Read).unwrap();
        let mode = fs::metadata(folder.path().join("keys.json")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    #[cfg(unix)]
    fn the_lock_is_for_the_owner_alone_and_survives_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, ring) = ring();
        ring.add("a", Scope::Read).unwrap();
        let mode = fs::metadata(folder.path().join("keys.json.lock")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        fs::remove_file(folder.path().join("keys.json")).unwrap();
        ring.add("b", Scope::Read).unwrap();
        assert_eq!(ring.list().len(), 1);
    }

    /// Every thread adds keys of its own and revokes keys that were there; `ring` gives the ring
    /// that a thread works with.
    fn from_many_threads(path: &Path, ring: impl Fn() -> std::sync::Arc<KeyRing> + Sync) {
        const THREADS: usize = 8;
        const EACH: usize = 6;
        let old = |thread, number| format!("old-{thread}-{number}");
        let first = KeyRing::open(path).unwrap();
        for (thread, number) in (0..THREADS).flat_map(|t| (0..EACH).map(move |n| (t, n))) {
            first.add(&old(thread, number), Scope::Read).unwrap();
        }
        let ring = &ring;
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    let ring = ring();
                    for number in 0..EACH {
                        let secret = ring.add(&format!("new-{thread}-{number}"), Scope::Score);
                        ring.revoke(&old(thread, number)).unwrap();
                        assert_eq!(ring.check(&secret.unwrap()), Some(Scope::Score));
                    }
                });
            }
        });
        for ring in [ring(), std::sync::Arc::new(first)] {
            let mut names: Vec<String> = ring.list().into_iter().map(|key| key.name).collect();
            names.sort();
            let all = (0..THREADS).flat_map(|t| (0..EACH).map(move |n| format!("new-{t}-{n}")));
            assert_eq!(names, all.collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_change_is_lost_among_many_threads_with_a_ring_each() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let own = || std::sync::Arc::new(KeyRing::open(&path).unwrap());
        from_many_threads(&path, own);
    }

    #[test]
    fn no_change_is_lost_among_many_threads_with_one_ring() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let shared = std::sync::Arc::new(KeyRing::open(&path).unwrap());
        from_many_threads(&path, || std::sync::Arc::clone(&shared));
    }

    #[test]
    fn another_process_adds_and_revokes_while_the_ring_is_open() {
        let (folder, ring) = ring();
        let other = KeyRing::open(folder.path().join("keys.json")).unwrap();
        let secret = other.add("a", Scope::Admin).unwrap();
        assert_eq!(ring.check(&secret), Some(Scope::Admin));
        ring.add("b", Scope::Read).unwrap();
        other.revoke("a").unwrap();
        assert_eq!(ring.check(&secret), None);
        assert_eq!(ring.list().len(), 1);
    }

    #[test]
    fn revoking_the_last_key_does_not_open_the_door() {
        let (_folder, ring) = ring();
        assert!(ring.is_open());
        ring.add("a", Scope::Admin).unwrap();
        ring.revoke("a").unwrap();
        assert!(ring.list().is_empty());
        assert!(!ring.is_open());
    }

    #[test]
    fn a_damaged_file_refuses_every_key_until_it_is_mended() {
        let (folder, ring) = ring();
        let path = folder.path().join("keys.json");
        let secret = ring.add("a", Scope::Admin).unwrap();
        let good = fs::read(&path).unwrap();
        fs::write(&path, b"{").unwrap();
        assert_eq!(ring.check(&secret), None);
        assert!(!ring.is_open());
        assert!(matches!(
            KeyRing::open(&path),
            Err(KeyError::Damaged { .. })
        ));
        fs::write(&path, good).unwrap();
        assert_eq!(ring.check(&secret), Some(Scope::Admin));
    }

    #[test]
    fn names_are_unique_and_plain() {
        let (_folder, ring) = ring();
        ring.add("a", Scope::Read).unwrap();
        assert!(matches!(
            ring.add("a", Scope::Read),
            Err(KeyError::Exists(_))
        ));
        assert!(matches!(
            ring.add("a b", Scope::Read),
            Err(KeyError::Name(_))
        ));
        assert!(matches!(ring.revoke("z"), Err(KeyError::Unknown(_))));
    }
}
