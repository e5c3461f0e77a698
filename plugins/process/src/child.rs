//! The process of a host that we started: what it writes, how it ended, and that nothing of it
//! stays behind.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines kept for blame, and characters of each.
const LINES: usize = 12;
const LINE: usize = 400;
/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(5);

/// The latest lines of a process.
#[derive(Default)]
struct Tail {
    lines: Mutex<Lines>,
    closed: Condvar,
}

#[derive(Default)]
struct Lines {
    latest: VecDeque<String>,
    closed: usize,
}

impl Tail {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what `from` gives until it ends; no line takes more than its share of memory.
    fn follow(&self, from: impl Read, pid: u32) {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut from).take(LINE as u64).read_until(b'\n', &mut line);
            match read {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if text.is_empty() {
                continue;
            }
            tracing::info!(pid, "host: {text}");
            let mut lines = self.lock();
            lines.latest.push_back(text);
            if lines.latest.len() > LINES {
                lines.latest.pop_front();
            }
        }
        self.lock().closed += 1;
        self.closed.notify_all();
    }
}

/// A running host.
pub(crate) struct Process {
    child: Child,
    tail: Arc<Tail>,
}

impl Process {
    /// Starts `command`, program first, with `environment` added to ours.
    pub(crate) fn start(command: &[String], environment: &[(&str, &str)]) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(environment.iter().copied())
            // It ends with us: the pipe closes however we end.
            .stdin(Stdio::piped())
            // Our own stdout is for results.
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Ctrl-C is for us, who may want to save first.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        #[cfg(windows)]
        {
            const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
            std::os::windows::process::CommandExt::creation_flags(
                &mut command,
                CREATE_NEW_PROCESS_GROUP,
            );
        }
        let mut child = command.spawn()?;
        let tail = Arc::new(Tail::default());
        let pid = child.id();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut process = Self { child, tail };
        let followed = stdout.map_or(Ok(()), |pipe| process.follow(pipe, pid));
        let followed = followed.and(stderr.map_or(Ok(()), |pipe| process.follow(pipe, pid)));
        if let Err(error) = followed {
            process.kill();
            return Err(error);
        }
        Ok(process)
    }

    fn follow(&self, pipe: impl Read + Send + 'static, pid: u32) -> io::Result<()> {
        let tail = Arc::clone(&self.tail);
        std::thread::Builder::new()
            .name("rareclip-host-output".into())
            .spawn(move || tail.follow(pipe, pid))
            .map(drop)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How it ended, if it does within `time`.
    pub(crate) fn ended(&mut self, time: Duration) -> Option<String> {
        let deadline = Instant::now() + time;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(described(status)),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
                _ => return None,
            }
        }
    }

    /// Its last lines, once both outputs have ended or a moment has passed.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        const MOMENT: Duration = Duration::from_millis(200);
        let lines = self.tail.lock();
        let waited = self
            .tail
            .closed
            .wait_timeout_while(lines, MOMENT, |lines| lines.closed < 2);
        let (lines, _) = waited.unwrap_or_else(PoisonError::into_inner);
        lines.latest.iter().cloned().collect()
    }

    /// Ends it and all it started, now.
    pub(crate) fn kill(&mut self) {
        #[cfg(unix)]
        if let Some(group) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            // Children of its own are in its group; all may have ended already.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    /// The connection has been closed before: it is given a moment to end by itself.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.ended(GRACE);
        self.kill();
    }
}

fn described(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        let name = match signal {
            6 => " (SIGABRT)",
            9 => " (SIGKILL; the system does this when memory runs out)",
            11 => " (SIGSEGV)",
            15 => " (SIGTERM)",
            _ => "",
        };
        return format!("was killed by signal {signal}{name}");
    }
    match status.code() {
        Some(code) => format!("ended with exit code {code}"),
        None => "ended".into(),
    }
}
