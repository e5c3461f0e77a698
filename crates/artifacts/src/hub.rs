//! Files of the Hugging Face hub and of other web servers.

use crate::catalogue::{Artefact, Item, Origin, Source};
use crate::download::{Wanted, download};
use crate::install::Staged;
use crate::progress::{Proof, Step};
use crate::settings::Settings;
use crate::web::{Client, authority, escaped};
use crate::{Error, Result};

/// Downloads the files of a source that is no wheel.
pub(crate) fn stage<'a>(
    client: &Client,
    artefact: &'a Artefact,
    source: &'a Source,
    settings: &Settings,
    progress: &mut dyn FnMut(Step),
) -> Result<Staged<'a>> {
    // All of them before the first is moved: what came of a download that ends early stays among
    // the unfinished.
    let mut arrived = Vec::new();
    for item in source.items() {
        let wanted = wanted(artefact, source, item, settings);
        arrived.push((item, download(client, settings, &wanted, progress)?));
    }
    let mut staged = Staged::new(settings, &source.version)?;
    staged.convert = source.convert.clone();
    staged.source = Some(source);
    for (item, file) in arrived {
        staged.commit = staged.commit.take().or(file.commit);
        if !staged.is_archive(item.target()) {
            staged.take(&file.path, item.target(), file.proof)?;
            continue;
        }
        match staged.unpack(&file.path, item.target(), file.proof, progress) {
            // A full disk is no reason to download it again; wrong bytes are.
            Err(error @ Error::Io { .. }) => return Err(error),
            outcome => {
                std::fs::remove_file(&file.path).map_err(Error::io(&file.path))?;
                outcome?;
            }
        }
    }
    Ok(staged)
}

fn wanted<'a>(
    artefact: &'a Artefact,
    source: &Source,
    item: &'a Item,
    settings: &Settings,
) -> Wanted<'a> {
    let path = escaped(&item.path);
    let elsewhere = format!(
        "take it from a copy of a cache folder (--mirror DIR|URL or RARECLIP_MIRROR), or copy another machine's folder {} into {}",
        artefact.name,
        settings.cache.display()
    );
    let network = "check the network and the proxy (HTTPS_PROXY)";
    let (file, url, place, advice) = match &source.origin {
        Origin::Hub(origin) => {
            let endpoint = &settings.endpoint;
            let revision = escaped(&origin.revision);
            (
                format!("{}/{}", origin.repo, item.path),
                format!("{endpoint}/{}/resolve/{revision}/{path}", origin.repo),
                format!("the hub at {endpoint}"),
                format!("{network}, name another hub in HF_ENDPOINT, {elsewhere}"),
            )
        }
        Origin::Web(origin) => (
            item.path.clone(),
            format!("{}/{path}", origin.base),
            authority(&origin.base).unwrap_or_else(|| origin.base.clone()),
            format!("{network}, {elsewhere}"),
        ),
        Origin::Pip(origin) => (item.path.clone(), path, origin.package.clone(), elsewhere),
    };
    Wanted {
        artefact: &artefact.name,
        file,
        url,
        size: item.size,
        sha256: item.sha256.as_deref().map(|sum| (sum, Proof::Catalogue)),
        place,
        advice,
    }
}
