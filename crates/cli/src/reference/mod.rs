//! `rareclip reference`: the reference pages of the book, written from the declarations of this
//! very program.

mod commands;
mod components;
mod config;
mod markdown;
mod page;
mod rest;

use std::path::Path;

use anyhow::Context;

use crate::args::ReferenceArgs;
use crate::exit::Exit;
use page::Page;

pub(crate) fn run(args: &ReferenceArgs) -> anyhow::Result<Exit> {
    let mut pages = components::pages();
    pages.extend(commands::pages());
    pages.push(config::page()?);
    pages.push(rest::page()?);
    let out = &args.out;
    if args.check {
        return check(out, &pages);
    }
    write(out, &pages)?;
    for path in &components::gone(out)? {
        let file = out.join(path);
        std::fs::remove_file(&file).with_context(|| file.display().to_string())?;
    }
    write(out, &lists(out)?)?;
    Ok(Exit::Success)
}

/// The lists name what lies in the folder, pages of other programs too; so they come after the
/// pages.
fn lists(out: &Path) -> anyhow::Result<[Page; 2]> {
    Ok([components::list(out)?, commands::list(out)?])
}

fn check(out: &Path, pages: &[Page]) -> anyhow::Result<Exit> {
    let mut stale = differing(out, pages)?;
    stale.extend(differing(out, &lists(out)?)?);
    let gone = components::gone(out)?;
    for path in &stale {
        eprintln!("{path}: not what this program says of itself");
    }
    for path in &gone {
        eprintln!("{path}: there is no such component any more");
    }
    if stale.is_empty() && gone.is_empty() {
        return Ok(Exit::Success);
    }
    eprintln!(
        "write them with: rareclip reference --out {}",
        out.display()
    );
    Ok(Exit::Failure)
}

/// The pages that do not stand in `out` as they are.
fn differing(out: &Path, pages: &[Page]) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for page in pages {
        let file = out.join(&page.path);
        match std::fs::read_to_string(&file) {
            Ok(text) if text == page.text => {}
            Ok(_) => found.push(page.path.clone()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                found.push(page.path.clone());
            }
            Err(error) => return Err(error).with_context(|| file.display().to_string()),
        }
    }
    Ok(found)
}

fn write(out: &Path, pages: &[Page]) -> anyhow::Result<()> {
    for page in pages {
        let file = out.join(&page.path);
        let folder = file.parent().unwrap_or(out);
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        std::fs::write(&file, &page.text).with_context(|| file.display().to_string())?;
    }
    Ok(())
}
