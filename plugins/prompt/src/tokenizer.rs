//! Texts to token ids, as CLIP was trained with: cleaning, lower-casing, byte-pair encoding.
//!
//! The original cleans texts with Python's `ftfy` and two rounds of HTML unescaping. Of `ftfy` this
//! does: HTML entities in texts without `<`, canonical composition (NFC), curly to straight quotes,
//! Latin ligatures, full-width and half-width forms, and the removal of control characters. It does
//! not repair mojibake (UTF-8 that was once decoded as another encoding) and does not remove
//! terminal escape sequences: texts that are written into a config have neither.

use std::sync::OnceLock;

use instant_clip_tokenizer::{Token, Tokenizer};
use unicode_normalization::UnicodeNormalization;

/// Positions of CLIP's text tower: longer texts are cut.
pub const CONTEXT: usize = 77;

/// Changes whenever the same text may give other ids: kept text features are recomputed then.
pub const VERSION: &str = "clip-bpe-1";

fn vocabulary() -> &'static Tokenizer {
    static VOCABULARY: OnceLock<Tokenizer> = OnceLock::new();
    VOCABULARY.get_or_init(Tokenizer::new)
}

/// The ids of a text between start (49406) and end marker (49407), at most [`CONTEXT`] of them and
/// not padded. A text that is too long loses its end, not the end marker.
pub fn encode(text: &str) -> Vec<u32> {
    let vocabulary = vocabulary();
    let mut tokens = vec![vocabulary.start_of_text()];
    vocabulary.encode(&clean(text), &mut tokens);
    tokens.truncate(CONTEXT - 1);
    tokens.push(vocabulary.end_of_text());
    tokens
        .into_iter()
        .map(Token::to_u16)
        .map(u32::from)
        .collect()
}

/// A text without what was only an accident of its writing. White space is left to the encoding,
/// which knows no other mark of it than the end of a word.
fn clean(text: &str) -> String {
    let fixed = fix(text);
    // Markup that was escaped twice is common in captions from the web.
    htmlize::unescape(htmlize::unescape(fixed.as_str())).into_owned()
}

/// Repeated, since a step may uncover work for another.
fn fix(text: &str) -> String {
    let mut text = text.to_owned();
    loop {
        let fixed = fix_once(&text);
        if fixed == text {
            return text;
        }
        text = fixed;
    }
}

fn fix_once(text: &str) -> String {
    // With a `<` in it the text may be HTML, where an entity is meant to stay what it is.
    let unescaped = if text.contains('<') {
        text.into()
    } else {
        htmlize::unescape(text)
    };
    let mut out = String::with_capacity(unescaped.len());
    for character in unescaped.chars() {
        match character {
            '\u{2bc}' | '\u{2018}'..='\u{201b}' => out.push('\''),
            '\u{201c}'..='\u{201f}' => out.push('"'),
            '\u{3000}' => out.push(' '),
            _ if is_control(character) => {}
            _ if is_ligature(character) || is_width_form(character) => {
                out.extend([character].into_iter().nfkc());
            }
            _ => out.push(character),
        }
    }
    out.nfc().collect()
}

/// Characters that steer a terminal or mark up bidirectional text and say nothing; tab and line
/// ends stay.
fn is_control(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{8}'
            | '\u{b}'
            | '\u{e}'..='\u{1f}'
            | '\u{7f}'
            | '\u{206a}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffc}'
    )
}

/// Two or three Latin letters in one character.
fn is_ligature(character: char) -> bool {
    matches!(
        character,
        '\u{132}' | '\u{133}' | '\u{149}' | '\u{1c4}'..='\u{1cc}' | '\u{1f1}'..='\u{1f3}' | '\u{fb00}'..='\u{fb06}'
    )
}

/// Latin in the width of Chinese characters, and Katakana and Hangul in half of it.
fn is_width_form(character: char) -> bool {
    matches!(character, '\u{ff01}'..='\u{ffef}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{CONTEXT, encode, fix};

    #[test]
    fn a_text_of_any_length_stands_between_its_markers() {
        assert_eq!(encode(""), [49406, 49407]);
        let long = encode(&"word ".repeat(100));
        assert_eq!(long.len(), CONTEXT);
        assert_eq!((long[0], long[CONTEXT - 1]), (49406, 49407));
    }

    #[test]
    fn entities_stay_in_what_may_be_html() {
        assert_eq!(fix("&lt;b&gt; &amp;amp;"), "<b> &amp;");
        assert_eq!(fix("<b> &amp;"), "<b> &amp;");
        assert_eq!(fix("&amp;amp;quot;"), "\"");
    }

    proptest! {
        #[test]
        fn no_text_brings_the_tokenizer_down(text in any::<String>()) {
            let ids = encode(&text);
            prop_assert!(ids.len() >= 2 && ids.len() <= CONTEXT);
            prop_assert!(ids.iter().all(|id| *id <= 49407));
            prop_assert_eq!(ids.last(), Some(&49407));
        }
    }
}
