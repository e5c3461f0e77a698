//! Logs go to stderr, or to a file.

use std::fmt::{self, Debug, Write};

use anyhow::Context;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{self, Writer};

use crate::args::LogArgs;

/// Characters of one field, or of the message, that are logged.
const LONGEST: usize = 2048;

/// How messages and fields are written: on one line, for much of it comes from requests, images and
/// other programs. Control characters are escaped, and what is longer than 2048 characters is cut.
fn fields() -> impl for<'a> FormatFields<'a> + Send + Sync + 'static {
    format::debug_fn(
        |writer: &mut Writer<'_>, field: &Field, value: &dyn Debug| {
            if field.name() != "message" {
                write!(writer, "{field}=")?;
            }
            let mut line = Line {
                out: writer,
                left: LONGEST,
            };
            match write!(line, "{value:?}") {
                Err(_) if line.left == 0 => writer.write_str("..."),
                done => done,
            }
        },
    )
    .delimited(" ")
}

/// Writes text on one line, up to a length.
struct Line<'a, 'w> {
    out: &'a mut Writer<'w>,
    left: usize,
}

impl Write for Line<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            let moves = matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if c.is_control() || moves {
                write!(self.out, "{}", c.escape_default())?;
            } else {
                self.out.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Starts logging for this process.
pub(crate) fn start(args: &LogArgs) -> anyhow::Result<()> {
    let default = match (args.quiet, args.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, 2) => "debug",
        _ => "trace",
    };
    let filter =
        EnvFilter::try_from_env("RARECLIP_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .fmt_fields(fields());
    match &args.log_file {
        Some(path) => {
            let file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("log file {}", path.display()))?;
            builder.with_ansi(false).with_writer(file).init();
        }
        None => {
            use std::io::IsTerminal;
            builder
                .with_ansi(std::io::stderr().is_terminal())
                .with_writer(std::io::stderr)
                .init();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .fmt_fields(fields())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_in_a_field_or_a_message_cannot_begin_a_line() {
        let forged = "x\n2026-11-24T06:00:00Z ERROR rareclip: forged\r\u{1b}[2J";
        let text = logged(|| {
            let span = tracing::info_span!("request", name = %forged);
            let _in_span = span.enter();
            tracing::warn!(image = %forged, error = ?io::Error::other(forged), "read {forged}");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("image=x\\n2026-11-24"), "{text}");
        assert!(text.contains("read x\\n2026-11-24"), "{text}");
        assert!(!text.contains(['\r', '\u{1b}']), "{text}");
    }

    #[test]
    fn long_text_is_cut() {
        let long = "a".repeat(150_000);
        let text = logged(|| tracing::warn!(options = %long, after = 7, "{long}"));
        assert!(text.len() < 3 * LONGEST, "{}", text.len());
        assert!(text.contains("a... "), "{}", &text[text.len() - 40..]);
        assert!(text.trim_end().ends_with("after=7"));
    }
}
