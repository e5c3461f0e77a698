//! One module for each command.

mod bar;
pub(crate) mod bench;
mod calibrate;
pub(crate) mod client;
mod components;
mod config;
mod datasets;
mod doctor;
mod evaluate;
mod judge;
pub(crate) mod keys;
mod models;
pub(crate) mod new_plugin;
mod output;
pub(crate) mod serve;
pub(crate) mod train;

use crate::args::Command;
use crate::exit::Exit;

/// Runs a command.
pub(crate) fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Scan(args) => crate::scan::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Judge(args) => judge::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Train(command) => train::run(&command),
        Command::Compare(args) => bench::compare(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Client(args) => client::run(&args),
        Command::Keys(command) => keys::run(&command),
        Command::Components { command } => components::run(command),
        Command::NewPlugin(args) => new_plugin::run(&args),
        Command::Config(command) => config::run(command),
        Command::Models(command) => models::run(command),
        Command::Datasets(command) => datasets::run(command),
        Command::Doctor(args) => doctor::run(&args),
        Command::Reference(args) => crate::reference::run(&args),
    }
}
