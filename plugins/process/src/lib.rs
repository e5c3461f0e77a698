//! Components served by another process, in any language, over a local socket: the slots' contracts
//! as messages.
//!
//! * bank, scorer, prompt and backbone `process` ([`BankOptions`], [`ScorerOptions`],
//!   [`PromptOptions`], [`BackboneOptions`]).
//!
//! A host is a program that we start, or one that someone else runs. It is asked one thing at a
//! time and answers within its time. When it dies, hangs or sends what is no answer, the error or
//! warning names it, what it was asked and its last words; it is started again, gets back what it
//! knew, and the request is made once more. `docs/process-plugins.md` describes the messages, and
//! `examples/python-plugin` has a host in Python.

mod backbone;
mod bank;
mod child;
mod error;
pub mod frame;
mod host;
mod memory;
mod options;
mod prompt;
mod restarts;
mod scorer;
mod session;
mod snapshot;
mod transport;
mod wire;

pub use error::{Blame, Fault, ProcessError};
pub use host::{ADDRESS_VARIABLE, PROTOCOLS, TOKEN_VARIABLE};
pub use options::{BackboneOptions, BankOptions, PromptOptions, ScorerOptions};

use rareclip_core::register;

register! {
    backbone BackboneOptions, reaches [commands, sockets, files];
    prompt PromptOptions, reaches [commands, sockets, files];
    bank BankOptions, reaches [commands, sockets, files];
    scorer ScorerOptions, reaches [commands, sockets, files];
}
