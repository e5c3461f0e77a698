//! Numbers and names as the report writes them.

use std::borrow::Cow;

use maud::{Markup, html};
use rareclip_core::Verdict;

/// `text` without characters that are not shown or that reorder what is: a file name must read as
/// what it is. Line breaks and tabs stay.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(hidden) {
        text.replace(hidden, "\u{fffd}").into()
    } else {
        text.into()
    }
}

/// A measured number with four significant digits.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e6).contains(&size) {
        return format!("{value:.3e}");
    }
    let decimals = match size {
        s if s >= 1000.0 => 0,
        s if s >= 100.0 => 1,
        s if s >= 10.0 => 2,
        s if s >= 1.0 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

/// A count with its thousands separated.
pub(super) fn count(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 image`, `2 images`.
pub(super) fn images(value: usize) -> String {
    format!(
        "{} {}",
        count(value),
        if value == 1 { "image" } else { "images" }
    )
}

/// The class of a verdict in the style sheet.
pub(super) fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Normal => "normal",
        Verdict::Anomalous => "anomalous",
        Verdict::Uncalibrated => "uncalibrated",
    }
}

/// The path of a verdict's mark around a point: a disc, a triangle or an open square, so that
/// verdicts are told apart without colour.
pub(super) fn mark(verdict: Verdict, x: f64, y: f64) -> String {
    match verdict {
        Verdict::Normal => format!("M{:.1} {y:.1}a3 3 0 1 0 6 0a3 3 0 1 0-6 0z", x - 3.0),
        Verdict::Anomalous => format!("M{x:.1} {:.1}l5 9h-10z", y - 6.0),
        Verdict::Uncalibrated => format!("M{:.1} {:.1}h6v6h-6z", x - 3.0, y - 3.0),
    }
}

/// A verdict as its mark and its word.
pub(super) fn verdict_label(verdict: Verdict) -> Markup {
    html! {
        span class={ "verdict " (class(verdict)) } {
            svg.key viewBox="0 0 14 14" aria-hidden="true" { path d=(mark(verdict, 7.0, 7.5)) {} }
            (verdict)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_about_four_significant_digits() {
        let written = [0.0, 0.53219, 1.23456, 12.3456, 123.456, 1234.56, -0.5].map(number);
        assert_eq!(
            written,
            ["0", "0.5322", "1.235", "12.35", "123.5", "1235", "-0.5000"]
        );
    }

    #[test]
    fn very_large_and_very_small_numbers_are_written_with_an_exponent() {
        assert_eq!(number(f64::from(f32::MAX)), "3.403e38");
        assert_eq!(number(-1.5e-9), "-1.500e-9");
    }

    #[test]
    fn counts_have_their_thousands_separated() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn characters_that_hide_or_reorder_a_name_are_replaced() {
        assert_eq!(printable("a\u{202e}gpj.exe\0"), "a\u{fffd}gpj.exe\u{fffd}");
        assert_eq!(printable("Müller\n\t✓"), "Müller\n\t✓");
    }
}
