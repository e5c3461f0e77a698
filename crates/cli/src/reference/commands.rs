//! A page for each command, from what `--help` is made from.

use std::path::Path;

use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory};

use super::markdown::{Table, code, fenced};
use super::page::{Page, written};
use crate::args::Args;

/// Commands that do their work with a feature of `rareclip` alone.
const FEATURES: [(&str, &str); 1] = [("train", "tch")];

pub(super) fn pages() -> Vec<Page> {
    let mut program = Args::command();
    program.build();
    program
        .get_subcommands()
        .filter(|command| shown(command))
        .map(|command| {
            let mut text = String::new();
            section(command, 1, &mut text);
            Page::new(format!("reference/cli/{}.md", command.get_name()), &text)
        })
        .collect()
}

/// The program itself, and the commands there are pages of, in `out` and in this program.
pub(super) fn list(out: &Path) -> anyhow::Result<Page> {
    let mut program = Args::command();
    program.build();
    let mut text = String::from("# Command line\n\n");
    text.push_str(&about(&program));
    text.push_str(&fenced("text", "rareclip [OPTIONS] <COMMAND>"));
    let mut table = Table::new(&["command", "what it does"]);
    for page in written(&out.join("reference/cli"))? {
        let link = format!("[`{0}`](cli/{0}.md)", page.name);
        table.row(&[link, page.summary]);
    }
    text.push_str(&table.finish());
    text.push_str("These options go with every command:\n\n");
    text.push_str(&arguments(&program, true));
    text.push_str(&after(&program));
    text.push_str("What the environment sets: [Configuration](../configuration.md#environment).\n");
    Ok(Page::new("reference/cli.md", &text))
}

fn shown(command: &Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

/// A command, and then those in it.
fn section(command: &Command, level: usize, text: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    text.push_str(&format!("{} `{name}`\n\n", "#".repeat(level)));
    text.push_str(&about(command));
    let feature = FEATURES
        .iter()
        .find(|(name, _)| *name == command.get_name());
    if let (1, Some((_, feature))) = (level, feature) {
        text.push_str(&format!(
            "Needs a program built with the feature `{feature}`; any other says how to get one.\n\n"
        ));
    }
    let usage = command.clone().render_usage().to_string();
    text.push_str(&fenced("text", usage.trim_start_matches("Usage:").trim()));
    text.push_str(&arguments(command, false));
    text.push_str(&after(command));
    for inner in command.get_subcommands().filter(|command| shown(command)) {
        section(inner, level + 1, text);
    }
}

fn about(command: &Command) -> String {
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(StyledStr::to_string).unwrap_or_default();
    let about = about.trim();
    // clap takes the full stop of a comment's only sentence away.
    match about.ends_with(|end: char| end.is_alphanumeric() || end == ')') {
        true => format!("{about}.\n\n"),
        false => format!("{about}\n\n"),
    }
}

fn after(command: &Command) -> String {
    let help = command.get_after_long_help().or(command.get_after_help());
    help.map(|help| fenced("text", &help.to_string()))
        .unwrap_or_default()
}

/// The arguments of a command under their headings; those that go with every command stand in the
/// list of commands only.
fn arguments(command: &Command, global: bool) -> String {
    let mut all: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && arg.is_global_set() == global)
        .filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
        .collect();
    all.sort_by_key(|arg| !arg.is_positional());
    let mut headings: Vec<Option<&str>> = all.iter().map(|arg| arg.get_help_heading()).collect();
    headings.sort_by_key(Option::is_some);
    headings.dedup();
    let mut text = String::new();
    for heading in headings {
        let mut table = Table::new(&["argument", "default", "meaning"]);
        for arg in all.iter().filter(|arg| arg.get_help_heading() == heading) {
            table.row(&[code(&spelling(arg)), defaults(arg), meaning(arg)]);
        }
        let heading = heading.map(|heading| format!("{heading}:\n\n"));
        text.push_str(&heading.unwrap_or_default());
        text.push_str(&table.finish());
    }
    text
}

/// As it is typed: `-o, --out <DIR>`, `<IMAGES>...`.
fn spelling(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let mut names: Vec<String> = short.into_iter().chain(long).collect();
    if arg.is_positional() {
        return arg.to_string();
    }
    if arg.get_action().takes_values() {
        let values = arg.get_value_names().unwrap_or_default();
        let values: Vec<String> = values.iter().map(|name| format!("<{name}>")).collect();
        if let Some(last) = names.last_mut() {
            *last = format!("{last} {}", values.join(" "));
        }
    }
    names.join(", ")
}

fn defaults(arg: &Arg) -> String {
    if !arg.get_action().takes_values() {
        return String::new();
    }
    let values = arg.get_default_values().iter();
    let values: Vec<String> = values.map(|value| code(&value.to_string_lossy())).collect();
    values.join(" ")
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help());
    let mut text = help.map(StyledStr::to_string).unwrap_or_default();
    if !text.is_empty() && !text.ends_with(['.', ']']) {
        text.push('.');
    }
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| code(value.get_name()))
        .collect();
    if arg.get_action().takes_values() && !values.is_empty() {
        text.push_str(&format!(" One of {}.", values.join(", ")));
    }
    if let Some(variable) = arg.get_env() {
        text.push_str(&format!(" Environment: `{}`.", variable.to_string_lossy()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_says_how_it_is_typed_and_what_its_arguments_mean() {
        let pages = pages();
        let scan = pages
            .iter()
            .find(|page| page.path == "reference/cli/scan.md")
            .unwrap();
        for part in [
            "# `rareclip scan`",
            "rareclip scan [OPTIONS] <IMAGES>...",
            "| `<IMAGES>...` |",
            "| `-c, --config <FILE\\|NAME>` | `rarity-dinov2` |",
        ] {
            assert!(scan.text.contains(part), "{part}\n{}", scan.text);
        }
        assert!(!scan.text.contains("--verbose"), "{}", scan.text);
    }

    #[test]
    fn a_variable_that_sets_an_option_is_named() {
        let pages = pages();
        let pull = pages
            .iter()
            .find(|page| page.path == "reference/cli/models.md")
            .unwrap();
        assert!(pull.text.contains("Environment: `RARECLIP_MIRROR`."));
        assert!(pull.text.contains("## `rareclip models pull`"));
    }
}
