//! Running other programs, visibly.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}

/// A cargo command in the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    command
}

/// Runs a command, after showing it.
///
/// # Errors
/// When it cannot start or does not succeed.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    eprintln!("> {}", shown(command));
    let status = command.status().with_context(|| shown(command))?;
    if !status.success() {
        bail!("`{}` ended with {status}", shown(command));
    }
    Ok(())
}

/// What a command prints on stdout.
///
/// # Errors
/// When it cannot start or does not succeed.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    eprintln!("> {}", shown(command));
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| shown(command))?;
    if !output.status.success() {
        bail!("`{}` ended with {}", shown(command), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The path of a tool, installed once; `features` are arguments for `cargo install`.
///
/// # Errors
/// When it cannot be installed.
pub(crate) fn tool(name: &str, version: &str, features: &[&str]) -> anyhow::Result<PathBuf> {
    let home = rareclip_artifacts::cache_dir()?
        .join("tools")
        .join(format!("{name}-{version}"));
    let path = home
        .join("bin")
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION);
    if !path.is_file() {
        let target = home.join("target");
        run(
            cargo(&["install", name, "--version", version, "--locked", "--root"])
                .arg(&home)
                .args(features)
                .env("CARGO_TARGET_DIR", &target),
        )?;
        std::fs::remove_dir_all(&target)?;
    }
    Ok(path)
}

fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
