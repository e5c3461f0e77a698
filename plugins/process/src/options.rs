//! The options, which are nearly the same for every slot.

use std::collections::BTreeSet;
use std::time::Duration;

use rareclip_core::UpdatePolicy;
use rareclip_core::backbone::BackboneSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::ProcessError;
use crate::frame::Frame;
use crate::host::{HostConfig, Way};
use crate::restarts::Limits;
use crate::session::RunConfig;
use crate::transport::Address;

/// The longest time an option may ask for, in seconds: a day.
const LONGEST: f64 = 86_400.0;

/// Declares the options of one slot: those of every slot, and its own in between.
macro_rules! process_options {
    (
        $(#[$about:meta])*
        $name:ident { $($(#[$meta:meta])* $field:ident: $kind:ty = $default:expr,)* }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            /// The program that serves the component, and its arguments: `["python3", "host.py"]`.
            /// It is started for each stream, ends with it, and is told by RARECLIP_HOST_ADDRESS
            /// where to connect. Either this or `address`.
            #[schemars(extend("x-runtime" = true), length(max = 1024))]
            pub command: Vec<String>,
            /// Where a host listens that someone else runs: "unix:PATH", or "tcp:127.0.0.1:PORT".
            /// Either this or `command`.
            #[schemars(extend("x-runtime" = true))]
            pub address: Option<String>,
            /// Which of the host's components. Default: the only one of this slot.
            pub component: String,
            /// Its options, as it documents them; the host refuses what it does not know.
            pub options: Map<String, Value>,
            $($(#[$meta])* pub $field: $kind,)*
            /// Seconds a request may take. Default 60.
            #[schemars(extend("x-runtime" = true), range(min = 0.001, max = 86400.0))]
            pub timeout_s: f64,
            /// Seconds that starting, opening the component and loading its state may take each.
            /// Default 60.
            #[schemars(extend("x-runtime" = true), range(min = 0.001, max = 86400.0))]
            pub start_timeout_s: f64,
            /// How often a host that failed is replaced within `restart_window_s`; 0 for never.
            /// Default 3.
            #[schemars(extend("x-runtime" = true), range(min = 0, max = 1000))]
            pub restarts: u32,
            /// The time in seconds over which restarts are counted. Default 600.
            #[schemars(extend("x-runtime" = true), range(min = 0.001, max = 86400.0))]
            pub restart_window_s: f64,
            /// The largest message in bytes, either way. Default 256 MiB.
            #[schemars(extend("x-runtime" = true), range(min = 1024, max = 1_099_511_627_776_u64))]
            pub max_message: u64,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    command: Vec::new(),
                    address: None,
                    component: String::new(),
                    options: Map::new(),
                    $($field: $default,)*
                    timeout_s: 60.0,
                    start_timeout_s: 60.0,
                    restarts: 3,
                    restart_window_s: 600.0,
                    max_message: 256 << 20,
                }
            }
        }

        impl $name {
            /// How the component is run.
            pub(crate) fn run(&self) -> Result<RunConfig, ProcessError> {
                let timeout = seconds("timeout_s", self.timeout_s)?;
                Ok(RunConfig {
                    host: HostConfig {
                        way: way(&self.command, self.address.as_deref())?,
                        start_timeout: seconds("start_timeout_s", self.start_timeout_s)?,
                        max_message: self.max_message,
                    },
                    timeout,
                    fit_timeout: timeout,
                    limits: Limits {
                        restarts: self.restarts,
                        window: seconds("restart_window_s", self.restart_window_s)?,
                    },
                })
            }
        }
    };
}

process_options! {
    /// A memory bank served by another process, in any language, over a local socket.
    ///
    /// A host that dies is started again and gets its memory back, so that the stream goes on as if
    /// nothing had happened. What a host has to do, and one in Python, are described in
    /// docs/process-plugins.md.
    BankOptions {
        /// Blocks whose tokens it is sent, 1-based. Default 9.
        #[schemars(length(min = 1, max = 64), inner(range(min = 1, max = 4096)))]
        blocks: Vec<usize> = vec![9],
        /// Which scored images it is told to remember, where it learns from the stream.
        update: UpdatePolicy = UpdatePolicy::Always,
        /// Seconds that ending a training pass may take. Default 600.
        #[schemars(extend("x-runtime" = true), range(min = 0.001, max = 86400.0))]
        fit_timeout_s: f64 = 600.0,
    }
}

process_options! {
    /// A scorer served by another process, in any language, over a local socket.
    ///
    /// A host that dies is started again and gets its memory back. See docs/process-plugins.md.
    ScorerOptions {
        /// Blocks whose tokens it is sent beside those of the bank, 1-based. Default none.
        #[schemars(length(max = 64), inner(range(min = 1, max = 4096)))]
        blocks: Vec<usize> = Vec::new(),
    }
}

process_options! {
    /// A prompt head served by another process, in any language, over a local socket.
    ///
    /// A host that dies is started again. See docs/process-plugins.md.
    PromptOptions {
        /// Blocks whose tokens it is sent, 1-based. Default none: the image embedding alone.
        #[schemars(length(max = 64), inner(range(min = 1, max = 4096)))]
        blocks: Vec<usize> = Vec::new(),
    }
}

process_options! {
    /// A backbone served by another process, in any language, over a local socket. All streams
    /// share it.
    ///
    /// A host that dies is started again. See docs/process-plugins.md.
    BackboneOptions {}
}

impl BankOptions {
    /// How the bank is run.
    pub(crate) fn run_bank(&self) -> Result<RunConfig, ProcessError> {
        Ok(RunConfig {
            fit_timeout: seconds("fit_timeout_s", self.fit_timeout_s)?,
            ..self.run()?
        })
    }
}

fn seconds(option: &'static str, value: f64) -> Result<Duration, ProcessError> {
    if (0.001..=LONGEST).contains(&value) {
        return Ok(Duration::from_secs_f64(value));
    }
    Err(ProcessError::Option {
        option,
        found: value.to_string(),
        expected: "0.001 to 86400 seconds",
    })
}

fn way(command: &[String], address: Option<&str>) -> Result<Way, ProcessError> {
    let problem = |option, found: String, expected| ProcessError::Option {
        option,
        found,
        expected,
    };
    match (command, address) {
        ([], Some(address)) => Ok(Way::Address(Address::parse(address)?, address.to_owned())),
        ([], None) => Err(problem(
            "command",
            "empty".into(),
            "the program that serves the component, such as [\"python3\", \"host.py\"], or an `address`",
        )),
        (_, Some(address)) => Err(problem(
            "address",
            format!("\"{address}\" beside a `command`"),
            "one of the two: a program to start, or where one that runs listens",
        )),
        (command, None) => Ok(Way::Command(command.to_vec())),
    }
}

/// The blocks with their widths, each once.
pub(crate) fn widths(
    blocks: impl IntoIterator<Item = usize>,
    backbone: &BackboneSpec,
) -> Result<Vec<(usize, usize)>, ProcessError> {
    let blocks: BTreeSet<usize> = blocks.into_iter().collect();
    blocks
        .into_iter()
        .map(|block| match backbone.width_of(block) {
            Some(width) => Ok((block, width)),
            None => Err(ProcessError::Block {
                block,
                available: backbone.blocks.iter().map(|(block, _)| *block).collect(),
            }),
        })
        .collect()
}

/// The request `open` for a component that reads `blocks` of that backbone.
pub(crate) fn open_request(
    backbone: &BackboneSpec,
    blocks: &[(usize, usize)],
) -> Result<Frame, serde_json::Error> {
    let blocks: Vec<usize> = blocks.iter().map(|(block, _)| *block).collect();
    let spec = serde_json::json!({
        "input": serde_json::to_value(backbone.input)?,
        "grid": { "rows": backbone.grid.rows, "columns": backbone.grid.columns },
        "blocks": backbone.blocks,
        "embedding_width": backbone.embedding_width,
        "weights": backbone.weights,
    });
    Ok(Frame::request("open")
        .with("blocks", blocks)
        .with("backbone", spec))
}
