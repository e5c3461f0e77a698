//! A service as a process of its own, so that its memory is its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

/// A service that ends with this value, and whose data folder is removed with it.
pub(crate) struct Server {
    child: Child,
    /// `http://ADDRESS`.
    pub(crate) address: String,
    data: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// `RARECLIP_PROGRAM`, else `target/release/rareclip`.
pub(crate) fn program() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/rareclip");
    std::env::var_os("RARECLIP_PROGRAM").map_or_else(built, PathBuf::from)
}

/// A data folder for a service of this process.
pub(crate) fn data_folder() -> PathBuf {
    std::env::temp_dir().join(format!("rareclip-load-{}", std::process::id()))
}

impl Server {
    /// Starts `rareclip serve` on a free port of loopback, with the data folder `data`.
    pub(crate) fn start(config: &str, data: &Path, options: &[String]) -> anyhow::Result<Self> {
        let program = program();
        let mut child = Command::new(&program)
            .args(["serve", "--listen", "127.0.0.1:0", "--config", config])
            .arg("--data")
            .arg(data)
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| program.display().to_string())?;
        let stdout = child.stdout.take().context("no pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .map(|word| word.trim_end_matches([',', ';']).to_owned());
        let mut server = Self {
            child,
            address: String::new(),
            data: data.to_owned(),
        };
        ensure!(address.is_some(), "the service said `{line}`");
        server.address = address.unwrap_or_default();
        Ok(server)
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

/// Memory of a process in MiB, by its name in `/proc/PID/status`: `VmRSS` now, `VmHWM` at its peak.
pub(crate) fn memory_mib(process: u32, name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(name));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("no {name}"))? / 1024)
}
