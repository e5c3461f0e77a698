//! From staged files to the cache: all of them, or none.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use rareclip_checkpoints::{convert, dinov2, sha256_of};

use crate::cache::{LOCAL, RECORD, locate_in};
use crate::catalogue::{Artefact, Conversion, Convert, Origin, Source};
use crate::installed::{Record, Recorded};
use crate::progress::{Proof, Step};
use crate::settings::Settings;
use crate::{Error, Result, archive};

/// Checked files of an artefact in a folder beside the cache's own, which vanishes with this unless
/// they are installed.
#[derive(Debug)]
pub(crate) struct Staged<'a> {
    folder: TempDir,
    version: String,
    pub(crate) source: Option<&'a Source>,
    pub(crate) wheel: Option<String>,
    pub(crate) commit: Option<String>,
    /// Where they came from no source: the file that the name stands for.
    pub(crate) primary: Option<String>,
    /// Where they came from no source: the name of the file that was given.
    pub(crate) given: Option<String>,
    pub(crate) convert: Option<Convert>,
    /// By their path in the folder.
    pub(crate) files: Vec<(String, Proof)>,
}

impl<'a> Staged<'a> {
    /// An empty folder for the folder `version` of an artefact.
    pub(crate) fn new(settings: &Settings, version: &str) -> Result<Self> {
        let root = &settings.cache;
        let folder = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(root)
            .map_err(Error::io(root))?;
        Ok(Self {
            folder,
            version: version.to_owned(),
            source: None,
            wheel: None,
            commit: None,
            primary: None,
            given: None,
            convert: None,
            files: Vec::new(),
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Moves a file of the cache folder in.
    pub(crate) fn take(&mut self, from: &Path, name: &str, proof: Proof) -> Result<()> {
        let to = self.place(name)?;
        std::fs::rename(from, &to).map_err(Error::io(from))?;
        self.files.push((name.to_owned(), proof));
        Ok(())
    }

    /// Copies a file in and gives its path.
    pub(crate) fn copy(&mut self, from: &Path, name: &str, proof: Proof) -> Result<PathBuf> {
        let to = self.place(name)?;
        std::fs::copy(from, &to).map_err(Error::io(from))?;
        self.files.push((name.to_owned(), proof));
        Ok(to)
    }

    /// Whether the file that is to be called `name` is an archive whose content is wanted.
    pub(crate) fn is_archive(&self, name: &str) -> bool {
        let archive = self.source.and_then(Source::archive);
        self.convert.is_some() && archive.is_some_and(|item| item.target() == name)
    }

    /// Unpacks an archive from where it lies, so that there is never a second copy of it.
    pub(crate) fn unpack(
        &mut self,
        from: &Path,
        name: &str,
        proof: Proof,
        progress: &mut dyn FnMut(Step),
    ) -> Result<()> {
        progress(Step::Unpacking {
            archive: name.to_owned(),
            sha256: sha256_of(from)?,
            proof,
        });
        let proof = match proof {
            Proof::None => Proof::None,
            _ => Proof::Converted,
        };
        let unpacked = archive::unpack_tar(from, self.folder())?;
        let files = unpacked.into_iter().map(|file| (file, proof));
        self.files.extend(files);
        self.convert = None;
        Ok(())
    }

    fn place(&self, name: &str) -> Result<PathBuf> {
        let to = self.folder().join(name);
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
        }
        Ok(to)
    }

    /// Takes over what the record of another folder says of where its files came from.
    pub(crate) fn follow(&mut self, source: Option<&'a Source>, record: Record) {
        self.source = source;
        self.wheel = record.wheel;
        self.commit = record.commit;
        self.primary = record.primary;
        self.given = record.given;
    }

    /// Converts the files that have to be, so that the folder is what the artefact's name stands
    /// for.
    fn convert(&mut self, artefact: &Artefact) -> Result<()> {
        let Some(Convert { from, to, how, .. }) = self.convert.take() else {
            return Ok(());
        };
        let proof =
            self.files
                .iter()
                .find(|(name, _)| *name == from)
                .map_or(Proof::None, |(_, proof)| match proof {
                    Proof::None => Proof::None,
                    _ => Proof::Converted,
                });
        let (source, target) = (self.folder().join(&from), self.folder().join(&to));
        match how {
            Conversion::Dinov2FromOnnx => {
                let metadata = self.metadata(artefact, &from);
                let metadata: Vec<_> = metadata
                    .iter()
                    .map(|(key, value)| (*key, value.as_str()))
                    .collect();
                dinov2::export(&source, &target, &metadata)?;
            }
            Conversion::ToSafetensors => {
                convert::to_safetensors(&source, &target)?;
                std::fs::remove_file(&source).map_err(Error::io(&source))?;
                self.files.retain(|(name, _)| *name != from);
            }
            // Unpacked from where it lay, or the files came without their archive.
            Conversion::UnpackTar => return Ok(()),
        }
        self.files.push((to, proof));
        Ok(())
    }

    /// What is written into a converted file about where it came from.
    fn metadata(&self, artefact: &Artefact, from: &str) -> Vec<(&'static str, String)> {
        let origin = match self.source {
            Some(source) => match &source.origin {
                Origin::Pip(wheel) => format!("{} {}, {from}", wheel.package, source.version),
                _ => format!("{}, {from}", source.place()),
            },
            None => from.to_owned(),
        };
        let note = self.source.and_then(|source| source.note.as_ref());
        let licence = self.source.map(|source| source.licence(artefact));
        vec![
            ("source", origin),
            ("licence", licence.unwrap_or(&artefact.licence).to_owned()),
            ("upstream", artefact.upstream.clone()),
            ("note", note.unwrap_or(&artefact.summary).clone()),
        ]
    }
}

/// Converts what has to be converted, writes the record, moves the folder into place and removes
/// what other sources left.
pub(crate) fn install(
    artefact: &Artefact,
    mut staged: Staged<'_>,
    settings: &Settings,
    progress: &mut dyn FnMut(Step),
) -> Result<PathBuf> {
    progress(Step::Installing);
    staged.convert(artefact)?;
    let mut record = Record {
        wheel: staged.wheel.take(),
        commit: staged.commit.take(),
        primary: staged.primary.take(),
        given: staged.given.take(),
        files: Default::default(),
    };
    for (name, proof) in &staged.files {
        let path = staged.folder().join(name);
        let size = std::fs::metadata(&path).map_err(Error::io(&path))?.len();
        let sha256 = sha256_of(&path)?;
        progress(Step::Installed {
            file: name.clone(),
            sha256: sha256.clone(),
            proof: *proof,
        });
        record.files.insert(name.clone(), Recorded { size, sha256 });
    }
    // Wherever the files came from: a source's folder holds what the catalogue pins for it.
    if let Some(source) = staged.source
        && let Some(problem) = crate::pins::misfit(&record, source)
    {
        return Err(Error::NotPinned {
            name: artefact.name.clone(),
            version: staged.version.clone(),
            problem,
        });
    }
    let path = staged.folder().join(RECORD);
    let text = serde_json::to_vec_pretty(&record).map_err(|error| Error::damaged(&path, error))?;
    std::fs::write(&path, text).map_err(Error::io(&path))?;
    let parent = settings.cache.join(&artefact.name);
    let folder = parent.join(&staged.version);
    let version = staged.version;
    move_into_place(staged.folder, &folder)?;
    remove_others(artefact, &parent, &version, progress)?;
    locate_in(&settings.cache, artefact).ok_or_else(|| Error::NotFetched {
        name: artefact.name.clone(),
        cache: settings.cache.clone(),
    })
}

fn move_into_place(scratch: TempDir, folder: &Path) -> Result<()> {
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(scratch.path(), open).map_err(Error::io(scratch.path()))?;
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(Error::io(folder))?;
    }
    match std::fs::rename(scratch.path(), folder) {
        Ok(()) => {
            // Nothing is left to be removed.
            let _ = scratch.keep();
            Ok(())
        }
        // Another process was faster.
        Err(_) if folder.exists() => Ok(()),
        Err(error) => Err(Error::io(folder)(error)),
    }
}

/// A name stands for one source at a time. Folders that this catalogue does not know belong to
/// another version of the program.
fn remove_others(
    artefact: &Artefact,
    parent: &Path,
    version: &str,
    progress: &mut dyn FnMut(Step),
) -> Result<()> {
    let known = artefact
        .sources
        .iter()
        .map(|source| source.version.as_str());
    let mut others: Vec<&str> = known
        .chain([LOCAL])
        .filter(|other| *other != version)
        .collect();
    others.dedup();
    for other in others {
        let folder = parent.join(other);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(Error::io(&folder))?;
            progress(Step::Replaced {
                version: other.to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::{Path, PathBuf};

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use rareclip_checkpoints::sha256_of;

    use crate::cache::{locate_in, verify_in};
    use crate::catalogue::{Artefact, Item, Kind, Origin, Pinned, Source, Wheel};
    use crate::settings::Settings;
    use crate::{Choice, Error, Result};

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
        let member = |path: &str, to: &str, sha256| Item {
            path: path.into(),
            to: Some(to.into()),
            size: None,
            sha256,
        };
        let members = vec![
            member("pkg/one.bin", "one.bin", Some(sha256_of(&first).unwrap())),
            member("pkg/d/", "folder/", None),
        ];
        let pinned = Pinned {
            name: "thing.whl".into(),
            size: std::fs::metadata(&wheel).unwrap().len(),
            sha256: sha256_of(&wheel).unwrap(),
        };
        let source = Source {
            name: "pip".into(),
            version: "1".into(),
            os: None,
            arch: None,
            licence: None,
            note: None,
            primary: None,
            convert: None,
            origin: Origin::Pip(Wheel {
                package: "thing".into(),
                arguments: Vec::new(),
                wheel: pinned,
                members,
            }),
        };
        let artefact = Artefact {
            name: "thing".into(),
            kind: Kind::Dataset,
            summary: String::new(),
            licence: String::new(),
            upstream: String::new(),
            by_hand: None,
            sources: vec![source],
        };
        (artefact, wheel)
    }

    fn wheel_of(artefact: &mut Artefact) -> &mut Wheel {
        match &mut artefact.sources[0].origin {
            Origin::Pip(wheel) => wheel,
            other => panic!("{other:?}"),
        }
    }

    fn install(root: &Path, artefact: &Artefact, wheel: &Path) -> Result<PathBuf> {
        let settings = Settings::new(root.to_owned());
        crate::pull(
            artefact,
            &Choice::Path(wheel.to_owned()),
            &settings,
            &mut |_| (),
        )
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
        let right = std::mem::replace(&mut wheel_of(&mut artefact).wheel.sha256, "0".repeat(64));
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
        wheel_of(&mut artefact).members[0].sha256 = Some("f".repeat(64));
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
        wheel_of(&mut artefact).members[1].path = "pkg/other/".into();
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
        assert!(matches!(error, Error::Changed { .. }), "{error}");
        assert!(root.path().join("thing/1").is_dir());
    }
}
