//! `rareclip new-plugin`: a crate with a component of its own, which compiles, passes its tests and
//! scores images.

use std::path::{Component as Part, Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use rareclip_core::{Slot, registry};

use super::output::say;
use crate::exit::Exit;

/// What the new crate is called, where it goes, and what it depends on.
#[derive(Debug, Args)]
pub(crate) struct NewPluginArgs {
    /// The `type` of the component in a config, e.g. `acme`; the crate is called
    /// rareclip-plugin-NAME.
    #[arg(value_name = "NAME")]
    name: String,
    /// What the component is: backbone, prompt, bank, scorer or index.
    #[arg(long, value_name = "SLOT", value_parser = slot)]
    slot: Slot,
    /// The folder that the crate's folder is made in.
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
    /// Depend on the crates in this checkout of rareclip instead of those of the registry, where
    /// they are not yet.
    #[arg(long, value_name = "DIR")]
    rareclip: Option<PathBuf>,
}

/// A file of the crate: its path in it, and its template.
type File = (&'static str, &'static str);

/// The files that do not depend on the slot.
const FILES: [File; 6] = [
    (
        "Cargo.toml",
        include_str!("../../templates/plugin/manifest.toml"),
    ),
    (
        ".gitignore",
        include_str!("../../templates/plugin/gitignore"),
    ),
    (
        "README.md",
        include_str!("../../templates/plugin/README.md"),
    ),
    (
        "src/main.rs",
        include_str!("../../templates/plugin/main.rs"),
    ),
    (
        "tests/conformance.rs",
        include_str!("../../templates/plugin/conformance.rs"),
    ),
    (
        "tests/program.rs",
        include_str!("../../templates/plugin/program.rs"),
    ),
];

/// What depends on the slot.
struct Template {
    /// What the component is called in a sentence.
    noun: &'static str,
    /// What it does, for the README.
    summary: &'static str,
    component: &'static str,
    detector: &'static str,
}

macro_rules! template {
    ($slot:literal, $noun:literal, $summary:literal) => {
        Template {
            noun: $noun,
            summary: $summary,
            component: include_str!(concat!("../../templates/plugin/component/", $slot, ".rs")),
            detector: include_str!(concat!("../../templates/plugin/detector/", $slot, ".toml")),
        }
    };
}

fn template(slot: Slot) -> Template {
    match slot {
        Slot::Backbone => template!(
            "backbone",
            "backbone",
            "colours of square cells, without weights"
        ),
        Slot::Prompt => template!(
            "prompt",
            "prompt head",
            "what is much brighter or darker than most of its image is suspect"
        ),
        Slot::Bank => template!(
            "bank",
            "bank",
            "the patches of the latest images, searched one by one"
        ),
        Slot::Scorer => template!("scorer", "scorer", "the mean of the rarest patches"),
        Slot::Index => template!("index", "index", "every query against every vector"),
    }
}

pub(crate) fn run(args: &NewPluginArgs) -> anyhow::Result<Exit> {
    check_name(args.slot, &args.name)?;
    let folder = args.path.join(package(&args.name));
    ensure!(
        !folder.exists(),
        "{} is there already: choose another name or another --path, or remove it",
        folder.display()
    );
    let dependencies = Dependencies::new(args, &folder)?;
    for (place, text) in files(args, &dependencies) {
        let path = folder.join(place);
        let parent = path.parent().unwrap_or(&folder);
        std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    let name = &args.name;
    say(format!("made {}; go on with", folder.display()))?;
    say(format!("  cd {}", folder.display()))?;
    say("  cargo test")?;
    say(format!("  cargo run -- components show {name}"))?;
    say(format!(
        "  cargo run -- scan path/to/images --config {name}.toml --out results"
    ))?;
    Ok(Exit::Success)
}

fn slot(text: &str) -> Result<Slot, String> {
    let names = Slot::ALL.map(Slot::name);
    Slot::ALL
        .into_iter()
        .find(|slot| slot.name() == text)
        .ok_or_else(|| {
            let nearest = rareclip_core::config::nearest(text, names);
            format!("expected one of {}{nearest}", names.join(", "))
        })
}

/// Longest name of a component; crates.io takes crate names of up to 64 characters.
const LONGEST: usize = 64 - PREFIX.len();

const PREFIX: &str = "rareclip-plugin-";

fn package(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// Refuses what cannot be the end of a crate's name, and the name of a component of this program.
fn check_name(slot: Slot, name: &str) -> anyhow::Result<()> {
    ensure!(
        !name.starts_with(PREFIX),
        "name `{name}`: leave out `{PREFIX}`, which is put before it"
    );
    let part = |part: &str| {
        let mut all = part.chars();
        !part.is_empty() && all.all(|one| one.is_ascii_lowercase() || one.is_ascii_digit())
    };
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    ensure!(
        begins && name.split('-').all(part) && name.len() <= LONGEST,
        "name `{name}`: expected lower-case letters and digits, in parts joined by single hyphens, a letter first, at most {LONGEST} characters, e.g. `acme-{slot}`"
    );
    if let Some(taken) = registry::find(slot, name) {
        anyhow::bail!(
            "name `{name}`: this program has a {slot} of that name already, from {} {}; choose another",
            taken.package,
            taken.version
        );
    }
    Ok(())
}

/// How the new crate names the crates of rareclip.
struct Dependencies {
    core: String,
    cli: String,
    testkit: String,
}

impl Dependencies {
    fn new(args: &NewPluginArgs, folder: &Path) -> anyhow::Result<Self> {
        let Some(rareclip) = &args.rareclip else {
            let version = concat!(
                env!("CARGO_PKG_VERSION_MAJOR"),
                ".",
                env!("CARGO_PKG_VERSION_MINOR")
            );
            let line = format!("version = \"{version}\"");
            return Ok(Self {
                core: line.clone(),
                cli: line.clone(),
                testkit: line,
            });
        };
        let root = std::path::absolute(rareclip)?;
        let from = std::path::absolute(folder)?;
        let line = |name: &str| {
            let path = root.join("crates").join(name);
            ensure!(
                path.join("Cargo.toml").is_file(),
                "--rareclip {}: no checkout of rareclip, {} has no Cargo.toml",
                rareclip.display(),
                path.display()
            );
            let path = relative(&from, &path);
            let path = path
                .to_str()
                .with_context(|| format!("{} is not Unicode", path.display()))?;
            Ok(format!(
                "path = {}",
                toml::Value::from(path.replace('\\', "/"))
            ))
        };
        Ok(Self {
            core: line("core")?,
            cli: line("cli")?,
            testkit: line("testkit")?,
        })
    }
}

/// The way from the folder `from` to `to`, both absolute; `to` itself where nothing is common to
/// them.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let (from, to) = (plain(from), plain(to));
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    if common == 0 {
        return to.iter().collect();
    }
    let up = from[common..].iter().map(|_| Part::ParentDir);
    up.chain(to[common..].iter().copied()).collect()
}

/// The parts of a path, with those left out that `..` takes back.
fn plain(path: &Path) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Part::ParentDir => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts
}

/// `acme-scorer` as a type: `AcmeScorer`.
fn camel_case(name: &str) -> String {
    let parts = name.split('-').map(|part| {
        let (first, rest) = part.split_at(part.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    parts.collect()
}

/// Path and text of every file.
fn files(args: &NewPluginArgs, dependencies: &Dependencies) -> Vec<(String, String)> {
    let Template {
        noun,
        summary,
        component,
        detector,
    } = template(args.slot);
    let name = args.name.as_str();
    let table = match args.slot {
        Slot::Index => "bank.index",
        slot => slot.name(),
    };
    let words = [
        ("name", name),
        ("Name", &camel_case(name)),
        ("crate", &package(name).replace('-', "_")),
        ("feature", name),
        ("slot", args.slot.name()),
        ("table", table),
        ("noun", noun),
        ("summary", summary),
        ("core", &dependencies.core),
        ("cli", &dependencies.cli),
        ("testkit", &dependencies.testkit),
        ("rust", env!("CARGO_PKG_RUST_VERSION")),
    ];
    let own = [("src/lib.rs", component), ("{{name}}.toml", detector)];
    let all = FILES.into_iter().chain(own);
    all.map(|(place, text)| (filled(place, &words), filled(text, &words)))
        .collect()
}

/// A template with its words in place.
fn filled(template: &str, words: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (word, value) in words {
        text = text.replace(&format!("{{{{{word}}}}}"), value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_components_are_lower_case_words_joined_by_hyphens() {
        for name in ["acme", "acme-2", "a", "top-share-of-patches"] {
            check_name(Slot::Scorer, name).unwrap();
        }
        let long = "a".repeat(LONGEST + 1);
        for name in [
            "", "Acme", "2acme", "acme_x", "-acme", "acme-", "a--b", "ac me", "äcme", "../x", &long,
        ] {
            let message = check_name(Slot::Scorer, name).unwrap_err().to_string();
            assert!(message.contains("lower-case letters"), "{name}: {message}");
        }
    }

    #[test]
    fn a_name_that_is_taken_in_the_slot_is_refused_with_its_crate() {
        crate::plugins::require();
        let message = check_name(Slot::Scorer, "rarity").unwrap_err().to_string();
        assert!(message.contains("from rareclip-rarity"), "{message}");
        check_name(Slot::Bank, "rarity").unwrap();
    }

    #[test]
    fn the_prefix_of_the_crate_is_not_a_part_of_the_name() {
        let message = check_name(Slot::Scorer, "rareclip-plugin-x").unwrap_err();
        assert!(message.to_string().contains("leave out"), "{message}");
    }

    #[test]
    fn the_way_from_one_folder_to_another_goes_by_what_they_have_in_common() {
        for (from, to, way) in [
            ("/a/b/c", "/a/d", "../../d"),
            ("/a/b", "/a/b/c", "c"),
            ("/a/../x/y", "/x/z", "../z"),
        ] {
            assert_eq!(relative(Path::new(from), Path::new(to)), Path::new(way));
        }
    }

    #[test]
    fn every_word_of_every_template_is_known() {
        for slot in Slot::ALL {
            let args = NewPluginArgs {
                name: "acme".into(),
                slot,
                path: ".".into(),
                rareclip: None,
            };
            let dependencies = Dependencies::new(&args, Path::new(".")).unwrap();
            for (place, text) in files(&args, &dependencies) {
                assert!(
                    !place.contains("{{") && !text.contains("{{"),
                    "{slot} {place}: {text}"
                );
            }
        }
    }
}
