//! One component in a host: asked, told, and brought back with its memory when the host fails.

use std::time::{Duration, Instant};

use rareclip_core::Slot;
use serde_json::{Map, Value};

use crate::error::{Blame, Fault, ProcessError};
use crate::frame::Frame;
use crate::host::{CallError, Declaration, Host, HostConfig, NoHost, declared};
use crate::memory::{Keeping, Memory};
use crate::restarts::{Limits, Restarts};

/// What is opened in a host.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    pub(crate) slot: Slot,
    /// The name of the component; empty for the only one of its slot.
    pub(crate) component: String,
    /// The options for it.
    pub(crate) options: Map<String, Value>,
    /// The request `open`, but for component and options.
    pub(crate) request: Frame,
}

/// How it is run.
#[derive(Debug, Clone)]
pub(crate) struct RunConfig {
    pub(crate) host: HostConfig,
    pub(crate) timeout: Duration,
    pub(crate) fit_timeout: Duration,
    pub(crate) limits: Limits,
}

/// A component that is open in a host. One request is under way at a time; its answer is waited
/// for.
pub(crate) struct Session {
    config: RunConfig,
    opening: Opening,
    declaration: Declaration,
    host: Option<Host>,
    /// Why there is no host.
    last: Box<Blame>,
    opened: Frame,
    keeping: Keeping,
    memory: Memory,
    /// Changes since the component was opened.
    changes: u64,
    failures: u64,
    lost: Option<ProcessError>,
    restarts: Restarts,
}

/// Why a request has no answer.
enum Failure {
    /// The host goes on.
    Error(ProcessError),
    /// The host is gone; what it was told is not counted as done.
    Fault(Box<Blame>),
}

impl From<ProcessError> for Failure {
    fn from(error: ProcessError) -> Self {
        Self::Error(error)
    }
}

impl From<Failure> for ProcessError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Error(error) => error,
            Failure::Fault(blame) => Self::Host(blame),
        }
    }
}

impl Session {
    /// Starts the host and opens the component in it.
    pub(crate) fn open(config: RunConfig, opening: Opening) -> Result<Self, ProcessError> {
        let named = |component: &str| {
            let name = if component.is_empty() {
                "of any name"
            } else {
                component
            };
            format!("{} `{name}` of host {}", opening.slot, config.host.way)
        };
        let who = named(&opening.component);
        let (mut host, declarations) =
            Host::start(&config.host).map_err(|no_host| blamed(&who, "hello", no_host))?;
        let wrong = |who: &str, problem| ProcessError::Component {
            who: who.to_owned(),
            problem,
        };
        let declaration = declared(declarations, opening.slot, &opening.component)
            .map_err(|problem| wrong(&who, problem))?;
        let who = named(&declaration.name);
        declaration
            .check(&opening.options)
            .map_err(|problem| wrong(&who, problem))?;
        let request = open_request(&opening, &declaration);
        let answer = match host.call(&request, config.host.start_timeout) {
            Ok(answer) => answer,
            Err(error) => return Err(failed(&who, "open", error, host).0.into()),
        };
        let keeping = Keeping::of(&answer).map_err(|problem| ProcessError::Answer {
            who: who.clone(),
            asked: "open".into(),
            problem,
        })?;
        Ok(Self {
            restarts: Restarts::new(config.limits),
            last: Box::new(Blame::nobody(who)),
            config,
            opening,
            declaration,
            host: Some(host),
            opened: answer,
            keeping,
            memory: Memory::default(),
            changes: 0,
            failures: 0,
            lost: None,
        })
    }

    /// What the component said when it was opened.
    pub(crate) fn opened(&self) -> &Frame {
        &self.opened
    }

    /// The component, as a state names it.
    pub(crate) fn identity(&self) -> String {
        format!("{} {}", self.declaration.name, self.declaration.version)
    }

    /// What is kept here so that a lost host can be replaced.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Whether everything the component knows can be written down.
    pub(crate) fn is_whole(&self) -> bool {
        self.keeping != Keeping::Volatile || self.changes == 0
    }

    /// Whether the component has no memory.
    pub(crate) fn is_stateless(&self) -> bool {
        self.keeping == Keeping::None
    }

    /// An error where a component of a slot without memory says it has one.
    pub(crate) fn stateless(&self) -> Result<(), ProcessError> {
        if self.is_stateless() {
            return Ok(());
        }
        let problem = format!("a {} has no `state`: expected `none`", self.opening.slot);
        Err(self.wrong_answer("open", problem))
    }

    /// How often a host of this component has failed.
    pub(crate) fn failures(&self) -> u64 {
        self.failures
    }

    /// Whether there is a host to ask.
    pub(crate) fn is_running(&self) -> bool {
        self.host.is_some()
    }

    /// The error for an answer that is not what it should be.
    pub(crate) fn wrong_answer(&self, asked: &str, problem: impl ToString) -> ProcessError {
        ProcessError::Answer {
            who: self.last.who.clone(),
            asked: asked.to_owned(),
            problem: problem.to_string(),
        }
    }

    /// Asks something that changes nothing. A host that fails is replaced, and asked once more.
    pub(crate) fn ask(&mut self, request: &Frame) -> Result<Frame, ProcessError> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        let mut host = match self.host.take() {
            Some(host) => host,
            None => self.revive(self.last.clone())?.0,
        };
        match self.exchange(host, request) {
            Ok(answer) => return Ok(answer),
            Err(Failure::Error(error)) => return Err(error),
            Err(Failure::Fault(blame)) => host = self.revive(blame)?.0,
        }
        self.exchange(host, request).map_err(|failure| {
            if let Failure::Fault(blame) = &failure {
                self.last = blame.clone();
                tracing::warn!(%blame, "The host failed at the same request again.");
            }
            failure.into()
        })
    }

    /// Tells the component something that changes its memory. `read` looks at the answer. When it
    /// finds fault with it, or the changed memory cannot be saved, the host is replaced by one that
    /// knows nothing of the change.
    pub(crate) fn change<T>(
        &mut self,
        request: Frame,
        read: impl Fn(&Frame) -> Result<T, String>,
    ) -> Result<T, ProcessError> {
        let answer = self.ask(&request)?;
        let read = read(&answer).map_err(|problem| {
            let error = self.wrong_answer(name_of(&request), &problem);
            self.forget_host(name_of(&request), problem);
            error
        })?;
        self.changes += 1;
        if self.keeping == Keeping::Kept {
            self.memory.push(request);
            if self.memory.is_due(&self.opened)
                && let Err(error) = self.save()
            {
                self.memory.pop();
                self.changes -= 1;
                self.forget_host("save", error.to_string());
                return Err(error);
            }
        }
        Ok(read)
    }

    /// Ends the host; the next request starts another.
    fn forget_host(&mut self, asked: &str, problem: String) {
        if let Some(host) = self.host.take() {
            let blame = Blame {
                who: self.last.who.clone(),
                pid: host.pid(),
                asked: asked.to_owned(),
                fault: Fault::Protocol(problem),
                last_lines: host.end(),
            };
            *self.last = blame;
        }
    }

    /// Has the component save its memory, where it can, so that no changes are left over.
    pub(crate) fn save(&mut self) -> Result<(), ProcessError> {
        if self.keeping != Keeping::Kept || self.memory.is_saved() {
            return Ok(());
        }
        let answer = self.ask(&Frame::request("save"))?;
        let state = answer.take_raw("state");
        let state = state.map_err(|error| self.wrong_answer("save", error))?;
        self.memory = Memory::saved(state);
        Ok(())
    }

    /// Replaces the memory; gives the component's last answer.
    pub(crate) fn load(&mut self, memory: Memory) -> Result<Frame, ProcessError> {
        self.lost = None;
        self.changes = memory.steps();
        self.memory = memory;
        // What was never saved begins with what a new host knows.
        let present = self.host.take().filter(|_| self.memory.has_state());
        let restored = match present {
            Some(host) => self.restore(host, Frame::new()),
            None => self.start_again(),
        };
        let (host, answer) = match restored {
            Ok(restored) => restored,
            Err(Failure::Error(error)) => return Err(error),
            Err(Failure::Fault(blame)) => self.revive(blame)?,
        };
        self.host = Some(host);
        Ok(answer)
    }

    /// One request and its answer, after which the host stands ready again.
    fn exchange(&mut self, mut host: Host, request: &Frame) -> Result<Frame, Failure> {
        match host.call(request, self.timeout_of(request)) {
            Ok(answer) => {
                self.host = Some(host);
                Ok(answer)
            }
            Err(error) => {
                let (failure, host) = failed(&self.last.who, name_of(request), error, host);
                self.host = host;
                Err(failure)
            }
        }
    }

    fn timeout_of(&self, request: &Frame) -> Duration {
        match name_of(request) {
            "open" | "load" => self.config.host.start_timeout,
            "fit" => self.config.fit_timeout,
            _ => self.config.timeout,
        }
    }

    /// A new host in the place of one that failed, with the memory it had; gives its last answer
    /// too.
    fn revive(&mut self, mut blame: Box<Blame>) -> Result<(Host, Frame), ProcessError> {
        self.last = blame.clone();
        self.failures += 1;
        tracing::warn!(%blame, "A host failed.");
        if self.keeping == Keeping::Volatile && self.changes > 0 {
            let changes = self.changes;
            let lost = ProcessError::MemoryLost { blame, changes };
            tracing::error!("{lost}");
            self.lost = Some(lost.clone());
            return Err(lost);
        }
        loop {
            let Some(pause) = self.restarts.next(Instant::now()) else {
                let Limits { restarts, window } = self.restarts.limits;
                let window_s = window.as_secs_f64();
                return Err(ProcessError::GivenUp {
                    blame,
                    restarts,
                    window_s,
                });
            };
            std::thread::sleep(pause);
            let start = Instant::now();
            match self.start_again() {
                Ok((host, answer)) => {
                    tracing::warn!(
                        pid = host.pid(),
                        seconds = start.elapsed().as_secs_f32(),
                        replayed = self.memory.journal().len(),
                        "Started {} again; its memory is as it was.",
                        self.last.who
                    );
                    return Ok((host, answer));
                }
                Err(Failure::Error(error)) => return Err(error),
                Err(Failure::Fault(again)) => {
                    tracing::warn!(blame = %again, "A host failed while it was started again.");
                    self.last = again.clone();
                    blame = again;
                }
            }
        }
    }

    /// A new host with the memory of the old; gives its last answer too.
    fn start_again(&self) -> Result<(Host, Frame), Failure> {
        let who = &self.last.who;
        let started = Host::start(&self.config.host);
        let (mut host, declarations) =
            started.map_err(|no_host| match blamed(who, "hello", no_host) {
                ProcessError::Host(blame) => Failure::Fault(blame),
                other => Failure::Error(other),
            })?;
        let declaration = declared(declarations, self.opening.slot, &self.declaration.name);
        if declaration.as_ref() != Ok(&self.declaration) {
            let problem = "the host that was started again declares it differently than before; reset the stream or bring the former host back";
            return Err(Failure::Error(ProcessError::Component {
                who: who.clone(),
                problem: problem.into(),
            }));
        }
        let request = open_request(&self.opening, &self.declaration);
        match host.call(&request, self.config.host.start_timeout) {
            Ok(answer) => self.restore(host, answer),
            Err(error) => Err(failed(who, "open", error, host).0),
        }
    }

    /// Gives `host` the memory; its answer to the last part, or `answer` where there is none.
    fn restore(&self, mut host: Host, mut answer: Frame) -> Result<(Host, Frame), Failure> {
        let load = self.memory.load_request();
        for request in load.iter().chain(self.memory.journal()) {
            answer = match host.call(request, self.timeout_of(request)) {
                Ok(answer) => answer,
                Err(error) => return Err(failed(&self.last.who, name_of(request), error, host).0),
            };
        }
        Ok((host, answer))
    }
}

fn name_of(request: &Frame) -> &str {
    request.field("request").as_str().unwrap_or_default()
}

fn open_request(opening: &Opening, declaration: &Declaration) -> Frame {
    let request = opening.request.clone().with("slot", opening.slot.name());
    request
        .with("component", declaration.name.as_str())
        .with("options", opening.options.clone())
}

fn blamed(who: &str, asked: &str, no_host: NoHost) -> ProcessError {
    ProcessError::Host(Box::new(Blame {
        who: who.to_owned(),
        pid: no_host.pid,
        asked: asked.to_owned(),
        fault: no_host.fault,
        last_lines: no_host.last_lines,
    }))
}

/// What a failed call means; the host where it goes on.
fn failed(who: &str, asked: &str, error: CallError, host: Host) -> (Failure, Option<Host>) {
    let (who, asked) = (who.to_owned(), asked.to_owned());
    let error = match error {
        CallError::Fault(fault) => {
            let (pid, last_lines) = (host.pid(), host.end());
            let blame = Blame {
                who,
                pid,
                asked,
                fault,
                last_lines,
            };
            return (Failure::Fault(Box::new(blame)), None);
        }
        CallError::Refused { kind, message } => ProcessError::Refused {
            who,
            asked,
            kind,
            message,
        },
        CallError::RequestTooLarge { found, limit } => ProcessError::RequestTooLarge {
            asked,
            found,
            limit,
        },
    };
    (Failure::Error(error), Some(host))
}
