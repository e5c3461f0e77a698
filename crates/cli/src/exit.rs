//! What the exit code tells.

use std::process::ExitCode;

/// The exit codes beside 2, with which `clap` answers wrong usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was done.
    Success = 0,
    /// Nothing, or not all, could be done; stderr says why.
    Failure = 1,
    /// The work was done, but some images could not be read.
    SomeFailed = 3,
    /// `--fail-on-anomaly`, and an image was anomalous.
    Anomaly = 4,
    /// Stopped by Ctrl-C or a termination signal, with everything saved.
    Interrupted = 130,
}

/// For the help of the program.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done
  1    could not be done; stderr says why
  2    wrong usage
  3    done, but some images could not be read (they are in the results, with the error)
  4    done, and --fail-on-anomaly found an anomalous image
  130  stopped by Ctrl-C or a termination signal, with results and state saved";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
