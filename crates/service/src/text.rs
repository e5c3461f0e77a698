//! The one rule for text that is stored or shown: how long it may be, and no control characters.

use crate::error::ServiceError;

/// Rule for a kind of text.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// Fewest bytes.
    least: usize,
    /// Most bytes.
    most: usize,
    /// Most characters.
    characters: usize,
}

/// The name of an image, and a part of one that is searched for.
pub const IMAGE: Text = Text::bytes(1, 512);
/// An idempotency key.
pub const KEY: Text = Text {
    least: 1,
    most: 800,
    characters: 200,
};
/// A note by a person.
pub const NOTE: Text = Text::bytes(0, 2048);
/// The name of a stream or detector that a request asks for.
pub const NAME: Text = Text::bytes(1, 256);
/// The name in a detector's config.
pub const DETECTOR: Text = Text::bytes(1, 64);
/// The description in a detector's config.
pub const DESCRIPTION: Text = Text::bytes(0, 1024);
/// Any other text in a detector's config.
pub const OPTION: Text = Text::bytes(0, 1024);

/// Characters of a text that a message repeats.
const REPEATED: usize = 64;

impl Text {
    const fn bytes(least: usize, most: usize) -> Self {
        Self {
            least,
            most,
            characters: most,
        }
    }

    /// The longest text in bytes.
    pub const fn most(self) -> usize {
        self.most
    }

    /// Checks `text`, which stands in `field`.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] that names the field, and what is wrong.
    pub fn check(&self, field: &str, text: &str) -> Result<(), ServiceError> {
        let invalid = |problem: String| {
            Err(ServiceError::Invalid {
                place: field.to_owned(),
                problem,
            })
        };
        let characters = text.chars().count();
        if text.len() < self.least || text.len() > self.most || characters > self.characters {
            let wanted = match (self.characters < self.most, self.least) {
                (true, least) => format!("{least} to {} characters", self.characters),
                (false, 0) => format!("at most {} bytes", self.most),
                (false, least) => format!("{least} to {} bytes", self.most),
            };
            return invalid(format!(
                "found {characters} characters in {} bytes, wanted {wanted}",
                text.len()
            ));
        }
        match text.char_indices().find(|(_, c)| refused(*c)) {
            None => Ok(()),
            Some((at, c)) => invalid(format!(
                "has the control character U+{:04X} at byte {at}; remove it",
                u32::from(c)
            )),
        }
    }

    /// [`check`](Self::check) of text that may be missing.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    pub fn maybe(&self, field: &str, text: Option<&String>) -> Result<(), ServiceError> {
        text.map_or(Ok(()), |text| self.check(field, text))
    }
}

/// Control characters, and the line ends that Unicode has besides them.
fn refused(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The beginning of `text` for a message, without control characters.
pub fn repeated(text: &str) -> String {
    let clean = |c: char| if refused(c) { '\u{fffd}' } else { c };
    let mut short: String = text.chars().take(REPEATED).map(clean).collect();
    if text.chars().nth(REPEATED).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_bounded_in_bytes_and_named() {
        assert!(NOTE.check("note", "").is_ok());
        assert!(NOTE.check("note", &"é".repeat(1024)).is_ok());
        let error = NOTE.check("note", &"é".repeat(1025)).unwrap_err();
        assert!(error.to_string().starts_with("note: "), "{error}");
        assert!(error.to_string().contains("at most 2048 bytes"), "{error}");
        assert!(IMAGE.check("image", "").is_err());
        assert!(KEY.check("key", &"𝄞".repeat(200)).is_ok());
        assert!(KEY.check("key", &"k".repeat(201)).is_err());
    }

    #[test]
    fn control_characters_are_named_by_number_and_place() {
        for c in [
            '\0', '\n', '\r', '\t', '\u{1b}', '\u{7f}', '\u{85}', '\u{2028}',
        ] {
            let error = NOTE.check("note", &format!("ab{c}")).unwrap_err();
            let number = format!("U+{:04X} at byte 2", u32::from(c));
            assert!(error.to_string().contains(&number), "{error}");
            assert_eq!(error.status(), 400);
        }
        assert!(NOTE.check("note", "ünïcödé 漢字 🙂").is_ok());
    }

    #[test]
    fn what_a_message_repeats_is_short_and_clean() {
        assert_eq!(repeated("a\nb"), "a\u{fffd}b");
        assert_eq!(repeated(&"x".repeat(1000)).chars().count(), REPEATED + 1);
    }
}
