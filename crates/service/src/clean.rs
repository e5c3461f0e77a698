//! Text of clients in the log and in answers: on one line, and not longer than is useful.

use std::fmt::{self, Display, Write};

/// Characters of a text that are logged.
const LOGGED: usize = 512;
/// Bytes of the explanation of an error.
const EXPLAINED: usize = 4096;

/// Text that may hold what a client sent, for the log: control characters are escaped, and it is
/// cut after 512 characters.
///
/// A newline in the name of an image could otherwise forge a line of the log.
pub struct Logged<T>(pub T);

impl<T: Display> Display for Logged<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Line {
            out: f,
            left: LOGGED,
        };
        match write!(line, "{}", self.0) {
            Err(_) if line.left == 0 => f.write_str("..."),
            done => done,
        }
    }
}

impl<T: Display> fmt::Debug for Logged<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

struct Line<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    left: usize,
}

impl Write for Line<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            if is_control(c) {
                write!(self.out, "{}", c.escape_default())?;
            } else {
                self.out.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Characters that move the cursor or the direction of text, or end a line.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The explanation of an error for a client, cut after 4096 bytes.
pub fn explained(mut text: String) -> String {
    if text.len() > EXPLAINED {
        let end = (0..=EXPLAINED).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newline_does_not_begin_a_line_of_the_log() {
        let forged = "a\n2026-01-01 ERROR forged\r\u{1b}[31m\u{202e}";
        let logged = Logged(forged).to_string();
        assert_eq!(logged, "a\\n2026-01-01 ERROR forged\\r\\u{1b}[31m\\u{202e}");
        assert_eq!(format!("{:?}", Logged("plain ä")), "plain ä");
    }

    #[test]
    fn long_text_is_cut_where_a_character_ends() {
        let logged = Logged("ä".repeat(150_000)).to_string();
        assert_eq!(logged.chars().count(), LOGGED + 3);
        assert!(logged.ends_with("ä..."));
        assert_eq!(Logged("a".repeat(LOGGED)).to_string().len(), LOGGED);
        let text = explained(format!("a{}", "ä".repeat(150_000)));
        assert!(text.len() <= EXPLAINED + 3 && text.ends_with("ä..."));
        assert_eq!(explained("short".into()), "short");
    }
}
