//! A host that runs and has been greeted: one request at a time, one answer each.

use std::io;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use rand::RngCore;
use rareclip_core::Slot;
use rareclip_core::config::{check_value, nearest};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::child::Process;
use crate::error::Fault;
use crate::frame::{Frame, FrameError};
use crate::transport::{Address, Listener, Socket};

/// The versions of the protocol that this crate speaks, best first.
pub const PROTOCOLS: [u32; 1] = [1];
/// Tells a host that we start where to connect.
pub const ADDRESS_VARIABLE: &str = "RARECLIP_HOST_ADDRESS";
/// Tells a host that we start by which word it is known as ours.
pub const TOKEN_VARIABLE: &str = "RARECLIP_HOST_TOKEN";

/// How long a process may take to end after its connection has.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How a host is had.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Way {
    /// We start it: program and arguments.
    Command(Vec<String>),
    /// Someone else runs it.
    Address(Address, String),
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Command(command) => write!(f, "`{}`", command.join(" ")),
            Self::Address(_, text) => write!(f, "at {text}"),
        }
    }
}

/// How a host is had and how long it may take.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HostConfig {
    pub(crate) way: Way,
    pub(crate) start_timeout: Duration,
    pub(crate) max_message: u64,
}

/// What a host says of one of its components.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Declaration {
    pub(crate) slot: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) version: String,
    /// JSON Schema of its options.
    #[serde(default)]
    pub(crate) options: Map<String, Value>,
}

impl Declaration {
    /// Checks options against what the component says of them, as those of a component linked in
    /// are checked.
    pub(crate) fn check(&self, options: &Map<String, Value>) -> Result<(), String> {
        let schema = Value::Object(self.options.clone());
        let options = Value::Object(options.clone());
        check_value(&schema, &options, "options").map_err(|error| {
            let problems: Vec<String> = error
                .problems
                .iter()
                .map(|problem| format!("{}: {}", problem.key, problem.message))
                .collect();
            problems.join("; ")
        })
    }
}

/// Why a request has no usable answer.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The host is of no more use.
    Fault(Fault),
    /// The host answered with an error and goes on.
    Refused { kind: String, message: String },
    /// The request is larger than messages may be; it was not sent.
    RequestTooLarge { found: u64, limit: u64 },
}

impl From<Fault> for CallError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A connection to a host, and the process where it is ours.
pub(crate) struct Host {
    socket: Socket,
    process: Option<Process>,
    max_message: u64,
    next: u64,
}

/// A host that could not be had, with what it wrote.
pub(crate) struct NoHost {
    pub(crate) fault: Fault,
    pub(crate) pid: Option<u32>,
    pub(crate) last_lines: Vec<String>,
}

impl From<Fault> for NoHost {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            pid: None,
            last_lines: Vec::new(),
        }
    }
}

impl Host {
    /// Starts or reaches the host and greets it; gives what it says of its components.
    pub(crate) fn start(config: &HostConfig) -> Result<(Self, Vec<Declaration>), NoHost> {
        let deadline = Instant::now() + config.start_timeout;
        match &config.way {
            Way::Command(command) => Self::spawn(command, config, deadline),
            Way::Address(address, _) => {
                let socket = Socket::connect(address, config.start_timeout)
                    .map_err(|error| Fault::Unreachable(error.to_string()))?;
                let mut host = Self::over(socket, config);
                let (declarations, _) = host.greet(config, deadline)?;
                Ok((host, declarations))
            }
        }
    }

    fn over(socket: Socket, config: &HostConfig) -> Self {
        Self {
            socket,
            process: None,
            max_message: config.max_message,
            next: 1,
        }
    }

    fn spawn(
        command: &[String],
        config: &HostConfig,
        deadline: Instant,
    ) -> Result<(Self, Vec<Declaration>), NoHost> {
        let start = |error: io::Error| Fault::Start(error.to_string());
        let listener = Listener::new().map_err(start)?;
        let mut bytes = [0u8; 16];
        rand::rng().fill_bytes(&mut bytes);
        let token = HEXLOWER.encode(&bytes);
        let environment = [
            (ADDRESS_VARIABLE, listener.address.as_str()),
            (TOKEN_VARIABLE, token.as_str()),
        ];
        let mut process = Process::start(command, &environment).map_err(start)?;
        match connected(&listener, &mut process, &token, config, deadline) {
            Ok((mut host, declarations)) => {
                host.process = Some(process);
                Ok((host, declarations))
            }
            Err(fault) => {
                process.kill();
                Err(NoHost {
                    fault,
                    pid: Some(process.pid()),
                    last_lines: process.last_lines(),
                })
            }
        }
    }

    /// Greets the host: agrees on a version, and gives its components and the token it knows.
    fn greet(
        &mut self,
        config: &HostConfig,
        deadline: Instant,
    ) -> Result<(Vec<Declaration>, String), Fault> {
        let hello = Frame::request("hello")
            .with("protocols", PROTOCOLS.to_vec())
            .with("rareclip", env!("CARGO_PKG_VERSION"))
            .with("max_message", config.max_message);
        let answer = self
            .exchange(&hello, deadline, config.start_timeout)
            .map_err(|error| match error {
                CallError::Fault(fault) => fault,
                CallError::Refused { kind, message } => {
                    Fault::Protocol(format!("refused the greeting: {kind} error: {message}"))
                }
                CallError::RequestTooLarge { limit, .. } => {
                    Fault::Protocol(format!("`max_message` of {limit} bytes holds no greeting"))
                }
            })?;
        let protocol = answer.field("protocol");
        if !PROTOCOLS.iter().any(|version| *protocol == *version) {
            return Err(Fault::Protocol(format!(
                "it speaks version {protocol} of the protocol, this program {PROTOCOLS:?}; upgrade the older of the two"
            )));
        }
        let declarations = answer
            .parse("components")
            .map_err(|error| Fault::Protocol(error.to_string()))?;
        let token = answer.field("token").as_str().unwrap_or_default();
        Ok((declarations, token.to_owned()))
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn call(&mut self, request: &Frame, timeout: Duration) -> Result<Frame, CallError> {
        self.exchange(request, Instant::now() + timeout, timeout)
    }

    fn exchange(
        &mut self,
        request: &Frame,
        deadline: Instant,
        timeout: Duration,
    ) -> Result<Frame, CallError> {
        let id = self.next;
        self.next += 1;
        let mut through = self.socket.until(deadline);
        let written = request.write(&mut through, id, self.max_message);
        let answer = match written {
            Ok(()) => Frame::read(&mut through, self.max_message),
            Err(FrameError::TooLarge { found, limit }) => {
                return Err(CallError::RequestTooLarge { found, limit });
            }
            Err(error) => Err(error),
        };
        let (answer, of) = match answer {
            Ok(answer) => answer,
            Err(error) => return Err(self.fault(error, timeout).into()),
        };
        if of != id {
            let problem = format!("answered request {of} when {id} was asked");
            return Err(Fault::Protocol(problem).into());
        }
        match answer.field("error") {
            Value::Null => Ok(answer),
            error => Err(CallError::Refused {
                kind: error["kind"].as_str().unwrap_or("internal").to_owned(),
                message: error["message"].as_str().unwrap_or("(no words)").to_owned(),
            }),
        }
    }

    /// What a failed exchange says of the host.
    fn fault(&mut self, error: FrameError, timeout: Duration) -> Fault {
        match error {
            FrameError::Io(error) if timed_out(&error) => Fault::TimedOut(timeout.as_secs_f64()),
            FrameError::Io(_) | FrameError::Closed | FrameError::Cut => {
                let how = self.process.as_mut().map(|own| own.ended(LAST_WORDS));
                let how = how.flatten();
                Fault::Ended(how.unwrap_or_else(|| "closed the connection".into()))
            }
            FrameError::TooLarge { found, limit } => Fault::TooLarge { found, limit },
            other => Fault::Protocol(format!("sent {other}")),
        }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Ends it, and gives what it wrote last.
    pub(crate) fn end(mut self) -> Vec<String> {
        self.socket.shutdown();
        match &mut self.process {
            Some(process) => {
                process.kill();
                process.last_lines()
            }
            None => Vec::new(),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.socket.shutdown();
    }
}

fn timed_out(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

/// Waits for the process to connect and to show the token; others who connect are sent away.
fn connected(
    listener: &Listener,
    process: &mut Process,
    token: &str,
    config: &HostConfig,
    deadline: Instant,
) -> Result<(Host, Vec<Declaration>), Fault> {
    let mut late = Fault::NotConnected(config.start_timeout.as_secs_f64());
    loop {
        let accepted = listener.accept(deadline, &mut || process.is_running());
        let socket = match accepted {
            Ok(Some(socket)) => socket,
            Ok(None) => {
                return Err(match (late, process.ended(Duration::ZERO)) {
                    (Fault::NotConnected(_), Some(how)) => {
                        Fault::Ended(format!("{how} before it had connected"))
                    }
                    (late, _) => late,
                });
            }
            Err(error) => return Err(Fault::Start(error.to_string())),
        };
        let mut host = Host::over(socket, config);
        match host.greet(config, deadline) {
            Ok((declarations, shown)) if shown == token => return Ok((host, declarations)),
            // Whoever it is is sent away; the host may still come.
            Ok(_) => {
                let problem = format!("answered `hello` without the token of {TOKEN_VARIABLE}");
                late = Fault::Protocol(problem);
            }
            Err(Fault::Ended(_)) if !process.is_running() => {
                let how = process.ended(LAST_WORDS).unwrap_or_default();
                return Err(Fault::Ended(how));
            }
            Err(fault) => return Err(fault),
        }
    }
}

/// The declaration of `slot`'s component `name`, or the only one of that slot where `name` is
/// empty.
pub(crate) fn declared(
    declarations: Vec<Declaration>,
    slot: Slot,
    name: &str,
) -> Result<Declaration, String> {
    let of_slot: Vec<Declaration> = declarations
        .into_iter()
        .filter(|declaration| declaration.slot == slot.name())
        .collect();
    let names: Vec<String> = of_slot.iter().map(|d| format!("`{}`", d.name)).collect();
    if name.is_empty() && of_slot.len() > 1 {
        let names = names.join(", ");
        return Err(format!(
            "the host has several of this slot: name one of {names} in `component`"
        ));
    }
    let hint = nearest(name, of_slot.iter().map(|d| d.name.as_str()));
    let found = of_slot
        .into_iter()
        .find(|declaration| name.is_empty() || declaration.name == name);
    found.ok_or_else(|| match names.as_slice() {
        [] => format!("the host has no {slot}"),
        names => format!(
            "the host has no {slot} of that name, only {}{hint}",
            names.join(", ")
        ),
    })
}
