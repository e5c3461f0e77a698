//! One file from a web server to a folder of unfinished files: resumed where it broke off, and
//! checked when it is whole.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use rareclip_checkpoints::sha256_of;

use crate::cache::unfinished;
use crate::progress::{Proof, Step};
use crate::settings::Settings;
use crate::web::{Client, Described, Failure, content_length, content_range};
use crate::{Error, Result};

/// An attempt that brought so many bytes was no failure, however it ended.
const PROGRESS: u64 = 1 << 20;

const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A file to be downloaded.
pub(crate) struct Wanted<'a> {
    /// The artefact it belongs to.
    pub(crate) artefact: &'a str,
    /// What progress and errors call it.
    pub(crate) file: String,
    pub(crate) url: String,
    pub(crate) size: Option<u64>,
    /// The checksum and who says so.
    pub(crate) sha256: Option<(&'a str, Proof)>,
    /// What the server is, and what to do where it cannot be reached.
    pub(crate) place: String,
    pub(crate) advice: String,
}

/// A file that is whole and right, still among the unfinished ones.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) path: PathBuf,
    pub(crate) proof: Proof,
    pub(crate) commit: Option<String>,
}

/// Downloads a file or what is missing of it.
///
/// # Errors
/// [`Error::Unreachable`], [`Error::Denied`], [`Error::NotFound`], [`Error::Status`],
/// [`Error::Cut`] (what came is kept), [`Error::Busy`], [`Error::Size`] and [`Error::Checksum`]
/// (what came is thrown away).
pub(crate) fn download(
    client: &Client,
    settings: &Settings,
    wanted: &Wanted<'_>,
    progress: &mut dyn FnMut(Step),
) -> Result<Arrived> {
    let mut retry = Retry::new(settings, wanted);
    let described = loop {
        match client.describe(&wanted.url) {
            Ok(described) => break described,
            Err(failure) => retry.after(failure, 0, progress)?,
        }
    };
    (retry.answered, retry.failures) = (true, 0);
    agree(wanted, &described)?;
    let mut part = Part::open(settings, wanted, &described)?;
    let size = wanted.size.or(described.size);
    let mut url = described.url.clone();
    loop {
        let before = part.length;
        match fill(client, &url, &mut part, size, wanted, progress) {
            Ok(()) => break,
            Err(failure) => {
                if part.length >= before.saturating_add(PROGRESS) {
                    retry.failures = 0;
                }
                retry.after(failure, part.length, progress)?;
                // The address that a hub redirects to expires.
                if let Ok(again) = client.describe(&wanted.url)
                    && again.etag == described.etag
                {
                    url = again.url;
                }
            }
        }
    }
    progress(Step::Checking);
    part.check(wanted, &described, size)
}

/// What the server says beforehand must not contradict what is known.
fn agree(wanted: &Wanted<'_>, described: &Described) -> Result<()> {
    if let (Some((expected, _)), Some(found)) = (&wanted.sha256, described.sha256())
        && *expected != found
    {
        return Err(Error::Checksum {
            file: wanted.file.clone(),
            expected: (*expected).to_owned(),
            found: found.to_owned(),
        });
    }
    match (wanted.size, described.size) {
        (Some(expected), Some(found)) if expected != found => Err(Error::Size {
            file: wanted.file.clone(),
            expected,
            found,
        }),
        _ => Ok(()),
    }
}

/// One request for what is missing.
fn fill(
    client: &Client,
    url: &str,
    part: &mut Part,
    size: Option<u64>,
    wanted: &Wanted<'_>,
    progress: &mut dyn FnMut(Step),
) -> Result<(), Failure> {
    if size.is_some_and(|size| part.length >= size) {
        return Ok(());
    }
    let response = client.get(url, part.length)?;
    let (first, told) = content_range(response.headers());
    let end = match response.status().as_u16() {
        206 if first == Some(part.length) => told,
        416 if told == Some(part.length) => return Ok(()),
        200 => {
            part.restart().map_err(Failure::Final)?;
            content_length(response.headers())
        }
        _ => {
            part.restart().map_err(Failure::Final)?;
            return Err(Failure::Broken("the server lost its place".into()));
        }
    };
    let end = size.or(end);
    let mut reader = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 17];
    loop {
        progress(Step::Receiving {
            file: wanted.file.clone(),
            received: part.length,
            total: end,
        });
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => part.append(&buffer[..count]).map_err(Failure::Final)?,
            Err(error) => return Err(Failure::Broken(error.to_string())),
        }
        // A server that sends without end must not fill the disk.
        if end.is_some_and(|end| part.length > end) {
            break;
        }
    }
    match end {
        Some(end) if part.length < end => Err(Failure::Broken("the connection was closed".into())),
        _ => Ok(()),
    }
}

/// Counts failures, waits after them and in the end gives up.
struct Retry<'a> {
    settings: &'a Settings,
    wanted: &'a Wanted<'a>,
    failures: u32,
    answered: bool,
}

impl<'a> Retry<'a> {
    fn new(settings: &'a Settings, wanted: &'a Wanted<'a>) -> Self {
        Self {
            settings,
            wanted,
            failures: 0,
            answered: false,
        }
    }

    /// Waits, or gives the error that ends it all.
    fn after(
        &mut self,
        failure: Failure,
        received: u64,
        progress: &mut dyn FnMut(Step),
    ) -> Result<()> {
        let (reason, error) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Status(status) => {
                self.answered = true;
                let url = self.wanted.url.clone();
                (format!("status {status}"), Error::Status { url, status })
            }
            Failure::Broken(detail) => (detail.clone(), self.broken(detail, received)),
        };
        self.failures += 1;
        // A network that is not there at all does not come within seconds.
        let attempts = match self.answered {
            true => self.settings.attempts,
            false => self.settings.attempts.min(2),
        };
        if self.failures >= attempts {
            return Err(error);
        }
        let doubled = self.settings.pause * 2_u32.saturating_pow(self.failures.min(10) - 1);
        let pause = doubled.min(LONGEST_PAUSE);
        progress(Step::Waiting {
            file: self.wanted.file.clone(),
            reason,
            pause,
        });
        std::thread::sleep(pause);
        Ok(())
    }

    fn broken(&self, detail: String, received: u64) -> Error {
        match self.answered {
            true => Error::Cut {
                url: self.wanted.url.clone(),
                attempts: self.failures + 1,
                received,
                detail,
            },
            false => Error::Unreachable {
                place: self.wanted.place.clone(),
                detail,
                advice: self.wanted.advice.clone(),
            },
        }
    }
}

/// An unfinished file, locked while it is open.
struct Part {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Part {
    /// Its name tells the content apart, so that nothing is ever joined to the beginning of another
    /// version.
    fn open(settings: &Settings, wanted: &Wanted<'_>, described: &Described) -> Result<Self> {
        let content = match &wanted.sha256 {
            Some((sha256, _)) => sha256,
            None => described.etag.as_deref().unwrap_or_default(),
        };
        let key = HEXLOWER.encode(&Sha256::digest(format!("{}\n{content}", wanted.url)));
        let (folder, prefix) = unfinished(&settings.cache, wanted.artefact);
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let path = folder.join(format!("{prefix}{}", &key[..16]));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path }),
            Err(TryLockError::Error(error)) => return Err(Error::io(&path)(error)),
        }
        let length = file.seek(SeekFrom::End(0)).map_err(Error::io(&path))?;
        Ok(Self { path, file, length })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|error| Error::io(&self.path)(error))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        self.length = 0;
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .map_err(|error| Error::io(&self.path)(error))
    }

    /// Compares size and checksum; a file that is wrong is removed, for another attempt would keep
    /// its wrong bytes.
    fn check(
        self,
        wanted: &Wanted<'_>,
        described: &Described,
        size: Option<u64>,
    ) -> Result<Arrived> {
        let Self { path, file, length } = self;
        file.sync_all().map_err(Error::io(&path))?;
        let found = sha256_of(&path)?;
        let expected = match &wanted.sha256 {
            Some((expected, proof)) => Some((*expected, *proof)),
            None => described.sha256().map(|expected| (expected, Proof::Hub)),
        };
        let error = if let Some(expected) = size.filter(|size| *size != length) {
            Some(Error::Size {
                file: wanted.file.clone(),
                expected,
                found: length,
            })
        } else {
            expected
                .filter(|(expected, _)| *expected != found)
                .map(|(expected, _)| Error::Checksum {
                    file: wanted.file.clone(),
                    expected: expected.to_owned(),
                    found: found.clone(),
                })
        };
        drop(file);
        if let Some(error) = error {
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
            return Err(error);
        }
        Ok(Arrived {
            path,
            proof: expected.map_or(Proof::None, |(_, proof)| proof),
            commit: described.commit.clone(),
        })
    }
}
