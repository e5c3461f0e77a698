//! `rareclip models`: weights, native libraries and data sets, and where they come from.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Context;
use rareclip_artifacts::{Artefact, Choice, Kind, Proof, Provenance, Settings, Source, Step};
use serde_json::json;

use super::output::{say, table};
use crate::args::ModelsCommand;
use crate::exit::Exit;

/// Files listed one by one after a pull; a data set has thousands.
const LISTED_FILES: usize = 8;

pub(crate) fn run(command: ModelsCommand) -> anyhow::Result<Exit> {
    match command {
        ModelsCommand::List { json } => list(json)?,
        ModelsCommand::Pull {
            names,
            from,
            mirror,
        } => {
            let mut settings = Settings::from_env()?;
            settings.mirror = mirror.filter(|place| !place.is_empty());
            for name in names {
                pull(&name, from.as_deref(), &settings)?;
            }
        }
        ModelsCommand::Rm { names } => {
            for name in names {
                let there = rareclip_artifacts::cache::remove(&name)?;
                say(format!(
                    "{name}: {}",
                    if there { "removed" } else { "was not here" }
                ))?;
            }
        }
        ModelsCommand::Convert { from, to } => {
            rareclip_checkpoints::convert::to_safetensors(&from, &to)?;
            say(to.display())?;
        }
        ModelsCommand::Verify { names } => return verify(names),
        ModelsCommand::Path { name } => {
            let path = rareclip_artifacts::locate(&name);
            let path = path.with_context(|| missing(&name))?;
            say(path.display())?;
        }
    }
    Ok(Exit::Success)
}

fn missing(name: &str) -> String {
    match rareclip_artifacts::catalogue::find(name) {
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
    let artefacts = rareclip_artifacts::catalogue()?;
    if as_json {
        let entries: Vec<_> = artefacts.iter().map(entry).collect();
        return say(serde_json::to_string_pretty(&entries)?);
    }
    let mut rows = table(&["name", "here", "size", "sources", "licence", "what it is"]);
    for artefact in artefacts {
        let source = artefact.source().ok();
        let sources: Vec<&str> = artefact
            .sources_here()
            .map(|source| source.name.as_str())
            .collect();
        rows.add_row([
            artefact.name.clone(),
            here(artefact).map_or("no".into(), |source| match is_given(artefact) {
                true => "yes (given with --from, not pinned)".into(),
                false => format!("yes ({source})"),
            }),
            source.map_or("n/a here".into(), |source| {
                source
                    .download_bytes()
                    .map_or("not known".into(), megabytes)
            }),
            sources.join(", "),
            source
                .map_or(artefact.licence.as_str(), |source| source.licence(artefact))
                .to_owned(),
            artefact.summary.clone(),
        ]);
    }
    say(rows)
}

/// Where an artefact that is here came from.
fn here(artefact: &Artefact) -> Option<String> {
    rareclip_artifacts::locate(&artefact.name)?;
    let version = rareclip_artifacts::cache::version(&artefact.name)?;
    let source = artefact
        .sources
        .iter()
        .find(|source| source.version == version);
    Some(source.map_or(version, |source| source.name.clone()))
}

/// Whether the files of an artefact that is here were given with `--from`.
fn is_given(artefact: &Artefact) -> bool {
    let provenance = rareclip_artifacts::provenance(&artefact.name);
    matches!(provenance, Some(Provenance::Given { .. }))
}

/// What vouches for files that are not all pinned by the catalogue.
pub(super) fn caveat(provenance: &Provenance) -> Option<String> {
    match provenance {
        Provenance::Recorded { unpinned } => Some(format!(
            "as recorded when it came; the catalogue pins no checksum of {}",
            unpinned.join(", ")
        )),
        Provenance::Given {
            file,
            replaces_pinned: true,
        } => Some(format!(
            "not the pinned artefact: `{file}` was given with --from"
        )),
        Provenance::Given { file, .. } => Some(format!(
            "`{file}` was given with --from; the catalogue pins no checksum of this artefact"
        )),
        _ => None,
    }
}

fn entry(artefact: &Artefact) -> serde_json::Value {
    let preferred = artefact.source().ok();
    let sources: Vec<_> = artefact
        .sources_here()
        .map(|source| source_entry(artefact, source))
        .collect();
    let path = rareclip_artifacts::locate(&artefact.name);
    json!({
        "name": artefact.name,
        "kind": kind(artefact.kind),
        "download_bytes": preferred.and_then(Source::download_bytes),
        "sha256": preferred.and_then(Source::sha256),
        "path": path.map(|path| path.display().to_string()),
        "from": here(artefact),
        "pinned": rareclip_artifacts::provenance(&artefact.name)
            .map(|provenance| provenance == Provenance::Pinned),
        "licence": artefact.licence,
        "upstream": artefact.upstream,
        "summary": artefact.summary,
        "by_hand": artefact.by_hand,
        "sources": sources,
    })
}

fn source_entry(artefact: &Artefact, source: &Source) -> serde_json::Value {
    let files: Vec<_> = source
        .items()
        .iter()
        .map(|item| json!({ "path": item.path, "size": item.size, "sha256": item.sha256 }))
        .collect();
    json!({
        "name": source.name,
        "place": source.place(),
        "version": source.version,
        "licence": source.licence(artefact),
        "note": source.note,
        "download_bytes": source.download_bytes(),
        "sha256": source.sha256(),
        "files": files,
    })
}

/// Gets an artefact into the cache, telling of it on stderr, and prints where it is.
pub(super) fn pull(name: &str, from: Option<&str>, settings: &Settings) -> anyhow::Result<()> {
    let artefact = rareclip_artifacts::catalogue::find(name)?;
    let choice = match from {
        Some(text) => Choice::parse(artefact, text)?,
        None => Choice::Any,
    };
    let mut reporter = Reporter::new(name, artefact);
    let result =
        rareclip_artifacts::pull(artefact, &choice, settings, &mut |step| reporter.tell(step));
    reporter.end_line();
    let path = result?;
    reporter.list();
    say(path.display())
}

/// What a pull is doing, on stderr.
struct Reporter<'a> {
    name: &'a str,
    /// Until it was told.
    summary: Option<&'a str>,
    line: Progress,
    /// A line per file, and whether nothing was there to compare it with.
    installed: Vec<(String, bool)>,
}

impl<'a> Reporter<'a> {
    fn new(name: &'a str, artefact: &'a Artefact) -> Self {
        Self {
            name,
            summary: Some(&artefact.summary),
            line: Progress::new(std::io::stderr().is_terminal()),
            installed: Vec::new(),
        }
    }

    fn tell(&mut self, step: Step) {
        if let Step::Receiving {
            file,
            received,
            total,
        } = step
        {
            if let Some(text) = self.line.at(&file, received, total, Instant::now()) {
                self.progress(&text);
            }
            return;
        }
        self.end_line();
        let name = self.name;
        match step {
            Step::Present => eprintln!("{name}: already here"),
            Step::Asking { place, licence, .. } => {
                if let Some(summary) = self.summary.take() {
                    eprintln!("{name}: {summary}");
                }
                eprintln!("{name}: from {place} (licence: {licence})");
            }
            Step::Downloading { package, bytes } => {
                eprintln!("{name}: downloading {package}, {}", megabytes(bytes));
            }
            Step::Waiting {
                file,
                reason,
                pause,
            } => {
                let pause = pause.as_secs_f64();
                eprintln!("{name}: {file}: {reason}; trying again in {pause:.0} s");
            }
            Step::Passed { source, reason } => {
                eprintln!("{name}: not from {source}: {reason}");
            }
            Step::Checking => eprintln!("{name}: checking"),
            Step::Unpacking {
                archive,
                sha256,
                proof,
            } => {
                let compared = compared(proof);
                eprintln!("{name}: unpacking {archive}: sha256 {sha256} ({compared})");
            }
            Step::Installing => eprintln!("{name}: installing"),
            Step::Replaced { version } => eprintln!("{name}: replaced {version}"),
            Step::Installed {
                file,
                sha256,
                proof,
            } => {
                let text = format!("{file}: sha256 {sha256} ({})", compared(proof));
                self.installed.push((text, proof == Proof::None));
            }
            _ => {}
        }
    }

    fn progress(&mut self, text: &str) {
        if self.line.on_terminal {
            self.line.open = true;
            // Blanks at the end cover what a longer line left.
            eprint!("\r{}: {text}    ", self.name);
        } else {
            eprintln!("{}: {text}", self.name);
        }
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.line.open) {
            eprintln!();
        }
    }

    fn list(&self) {
        if self.installed.len() > LISTED_FILES {
            eprintln!("{}: {} files", self.name, self.installed.len());
        } else {
            for (text, _) in &self.installed {
                eprintln!("{}: {text}", self.name);
            }
        }
        if self.installed.iter().any(|(_, unknown)| *unknown) {
            eprintln!(
                "{}: first use: there was nothing to compare a checksum with; it is recorded, and `rareclip models verify` will notice any change",
                self.name
            );
        }
    }
}

fn compared(proof: Proof) -> &'static str {
    match proof {
        Proof::Catalogue => "as in the catalogue",
        Proof::Hub => "as the hub says",
        Proof::Record => "as recorded where it was copied from",
        Proof::Converted => "converted here from a file that was checked",
        Proof::None => "first use",
    }
}

/// Files below so many bytes come without a word.
const SMALL_FILE: u64 = 1_000_000;

/// How far a download is: twice a second on a terminal, else at every tenth.
struct Progress {
    on_terminal: bool,
    /// Whether a line of the terminal waits for its end.
    open: bool,
    file: String,
    /// Where and when this file began to come.
    start: (u64, Instant),
    told: Option<(u64, Instant)>,
}

impl Progress {
    fn new(on_terminal: bool) -> Self {
        Self {
            on_terminal,
            open: false,
            file: String::new(),
            start: (0, Instant::now()),
            told: None,
        }
    }

    /// What is worth telling, if anything.
    fn at(
        &mut self,
        file: &str,
        received: u64,
        total: Option<u64>,
        now: Instant,
    ) -> Option<String> {
        if self.file != file {
            self.file = file.to_owned();
            self.start = (received, now);
            self.told = None;
        }
        let total_bytes = total.unwrap_or(0);
        if total.is_some_and(|total| total < SMALL_FILE) {
            return None;
        }
        let tenth = |bytes: u64| (bytes * 10).checked_div(total_bytes).unwrap_or(0);
        let done = total.is_some_and(|total| received >= total);
        let due = match self.told {
            None => true,
            Some((before, _)) if received <= before => false,
            Some((_, when)) if self.on_terminal => {
                done || now.duration_since(when) >= Duration::from_millis(500)
            }
            Some((before, when)) => {
                tenth(received) > tenth(before)
                    || total.is_none() && now.duration_since(when) >= Duration::from_secs(10)
            }
        };
        if !due {
            return None;
        }
        self.told = Some((received, now));
        let seconds = now.duration_since(self.start.1).as_secs_f64();
        let rate = match received.checked_sub(self.start.0) {
            Some(bytes) if seconds > 0.0 && bytes > 0 => {
                format!(", {:.1} MB/s", bytes as f64 / seconds / 1e6)
            }
            _ => String::new(),
        };
        Some(match total {
            Some(total) => {
                let percent = (received * 100).checked_div(total).unwrap_or(100);
                format!("{file}: {percent} % of {}{rate}", megabytes(total))
            }
            None => format!("{file}: {}{rate}", megabytes(received)),
        })
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

fn verify(names: Vec<String>) -> anyhow::Result<Exit> {
    let names = if names.is_empty() {
        let all = rareclip_artifacts::catalogue()?
            .iter()
            .map(|artefact| artefact.name.clone());
        // Those with a file of another size as well: they are what one wants to hear of.
        all.filter(|name| rareclip_artifacts::cache::is_recorded(name))
            .collect()
    } else {
        names
    };
    let mut exit = Exit::Success;
    for name in names {
        match rareclip_artifacts::verify(&name) {
            Ok(provenance) => say(match caveat(&provenance) {
                Some(caveat) => format!("{name}: unchanged, {caveat}"),
                None => format!("{name}: ok"),
            })?,
            Err(error) => {
                eprintln!("error: {error}");
                exit = Exit::Failure;
            }
        }
    }
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(on_terminal: bool, step_millis: u64) -> Vec<String> {
        let mut progress = Progress::new(on_terminal);
        let start = Instant::now();
        (0..=1000_u64)
            .filter_map(|index| {
                let now = start + Duration::from_millis(index * step_millis);
                progress.at("f", index * 100_000, Some(100_000_000), now)
            })
            .collect()
    }

    #[test]
    fn a_terminal_is_told_twice_a_second_and_at_the_end() {
        let lines = told(true, 10);
        assert_eq!(lines.len(), 21);
        assert_eq!(lines[20], "f: 100 % of 100 MB, 10.0 MB/s");
    }

    #[test]
    fn a_log_gets_a_line_for_every_tenth() {
        let lines = told(false, 10);
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[1], "f: 10 % of 100 MB, 10.0 MB/s");
    }

    #[test]
    fn the_rate_leaves_out_what_was_there_before() {
        let mut progress = Progress::new(false);
        let start = Instant::now();
        progress.at("f", 50_000_000, Some(100_000_000), start);
        let later = start + Duration::from_secs(10);
        let line = progress.at("f", 60_000_000, Some(100_000_000), later);
        assert_eq!(line.as_deref(), Some("f: 60 % of 100 MB, 1.0 MB/s"));
    }
}
