//! The chain of directories of a TIFF or BigTIFF file: which page is the image.

use std::collections::HashSet;

use super::error::FORMAT;
use crate::{
    Orientation,
    codec::common::{corrupt, unsupported},
    error::Result,
};

/// Directories that are followed at most. A chain that goes on is not counted to its end.
const MAX_PAGES: usize = 65_536;
/// Entries of a directory that are read at most; the format has fewer than 300 tags.
const MAX_ENTRIES: u64 = 4096;

const NEW_SUBFILE_TYPE: u16 = 254;
const SUBFILE_TYPE: u16 = 255;
const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const PHOTOMETRIC: u16 = 262;
const ORIENTATION: u16 = 274;

const PALETTE: u32 = 3;
const GRAY: u8 = 1;

/// One directory of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Page {
    offset: u64,
    pub(super) width: u32,
    pub(super) height: u32,
    orientation: u32,
    /// A smaller version of another page, or its transparency mask.
    auxiliary: bool,
    /// Position of the photometric interpretation, where that is a palette.
    palette_at: Option<usize>,
}

impl Page {
    pub(super) fn has_palette(&self) -> bool {
        self.palette_at.is_some()
    }

    pub(super) fn orientation(&self) -> Orientation {
        Orientation::from_exif(self.orientation)
    }
}

/// The page that is the image, and how many others are.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) chosen: Page,
    /// Further pages that are images themselves.
    pub(super) further: usize,
    first: u64,
}

/// Reads integers of a file in its byte order.
struct Reader<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    big: bool,
}

impl Pages {
    /// Follows the chain of directories.
    ///
    /// # Errors
    /// Where the first directory lies outside the file, or no page is an image at full resolution.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let reader = Reader {
            bytes,
            big_endian: bytes.first() == Some(&b'M'),
            big: matches!(bytes, [b'I', _, 43, ..] | [b'M', _, _, 43, ..]),
        };
        let lost = || corrupt(FORMAT, "the first directory lies outside the file");
        let first = reader
            .offset(if reader.big { 8 } else { 4 })
            .ok_or_else(lost)?;
        let (mut chosen, mut further) = (None, 0);
        let (mut seen, mut next) = (HashSet::new(), first);
        while next != 0 && seen.len() < MAX_PAGES && seen.insert(next) {
            let Some((page, following)) = reader.page(next) else {
                if seen.len() == 1 {
                    return Err(lost());
                }
                break;
            };
            next = following;
            match chosen {
                _ if page.auxiliary => {}
                None => chosen = Some(page),
                Some(_) => further += 1,
            }
        }
        if seen.is_empty() {
            return Err(lost());
        }
        let chosen = chosen.ok_or_else(|| {
            unsupported(
                FORMAT,
                "every page is a reduced-resolution version or a mask (NewSubfileType), \
                 the page at full resolution is missing",
            )
        })?;
        Ok(Self {
            chosen,
            further,
            first,
        })
    }

    /// The file with the chosen page as its first one, palette indices as gray values; `None` where
    /// the file is so already.
    pub(super) fn rearranged(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.chosen.offset == self.first && self.chosen.palette_at.is_none() {
            return None;
        }
        let big_endian = bytes.first() == Some(&b'M');
        let big = bytes.get(if big_endian { 3 } else { 2 }) == Some(&43);
        let mut file = bytes.to_vec();
        if big {
            let offset = match big_endian {
                true => self.chosen.offset.to_be_bytes(),
                false => self.chosen.offset.to_le_bytes(),
            };
            file.get_mut(8..16)?.copy_from_slice(&offset);
        } else {
            let offset = u32::try_from(self.chosen.offset).ok()?;
            let offset = match big_endian {
                true => offset.to_be_bytes(),
                false => offset.to_le_bytes(),
            };
            file.get_mut(4..8)?.copy_from_slice(&offset);
        }
        if let Some(at) = self.chosen.palette_at {
            *file.get_mut(at + usize::from(big_endian))? = GRAY;
        }
        Some(file)
    }
}

impl Reader<'_> {
    fn u16(&self, at: usize) -> Option<u16> {
        let raw = *self.bytes.get(at..)?.first_chunk()?;
        Some(match self.big_endian {
            true => u16::from_be_bytes(raw),
            false => u16::from_le_bytes(raw),
        })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let raw = *self.bytes.get(at..)?.first_chunk()?;
        Some(match self.big_endian {
            true => u32::from_be_bytes(raw),
            false => u32::from_le_bytes(raw),
        })
    }

    fn u64(&self, at: usize) -> Option<u64> {
        let raw = *self.bytes.get(at..)?.first_chunk()?;
        Some(match self.big_endian {
            true => u64::from_be_bytes(raw),
            false => u64::from_le_bytes(raw),
        })
    }

    /// An offset or a number of entries: 8 bytes in BigTIFF.
    fn offset(&self, at: usize) -> Option<u64> {
        match self.big {
            true => self.u64(at),
            false => self.u32(at).map(u64::from),
        }
    }

    /// An integer that stands in the entry itself: BYTE, SHORT, LONG or LONG8.
    fn integer(&self, kind: u16, at: usize) -> Option<u32> {
        match kind {
            1 => self.bytes.get(at).map(|&v| v.into()),
            3 => self.u16(at).map(u32::from),
            4 | 13 => self.u32(at),
            16 => u32::try_from(self.u64(at)?).ok(),
            _ => None,
        }
    }

    /// The directory at `offset` and the offset of the one that follows, 0 for none.
    fn page(&self, offset: u64) -> Option<(Page, u64)> {
        let start = usize::try_from(offset).ok()?;
        let (count, head, entry, value) = match self.big {
            true => (self.u64(start)?, 8, 20, 12),
            false => (u64::from(self.u16(start)?), 2, 12, 8),
        };
        if count > MAX_ENTRIES {
            return None;
        }
        let mut page = Page {
            offset,
            orientation: 1,
            ..Page::default()
        };
        let first = start.checked_add(head)?;
        for at in (0..count as usize).map(|i| first.saturating_add(entry * i)) {
            let (tag, kind) = (self.u16(at)?, self.u16(at + 2)?);
            let Some(found) = self.integer(kind, at + value) else {
                continue;
            };
            match tag {
                // Bit 0: a reduced-resolution version; bit 2: a transparency mask.
                NEW_SUBFILE_TYPE => page.auxiliary |= found & 0b101 != 0,
                // The old tag: 1 full resolution, 2 reduced, 3 a page of several.
                SUBFILE_TYPE => page.auxiliary |= found == 2,
                WIDTH => page.width = found,
                HEIGHT => page.height = found,
                ORIENTATION => page.orientation = found,
                PHOTOMETRIC if found == PALETTE => page.palette_at = Some(at + value),
                _ => {}
            }
        }
        let end = first.checked_add(entry * count as usize)?;
        // A file cut off behind its last directory has no further page.
        Some((page, self.offset(end).unwrap_or(0)))
    }
}
