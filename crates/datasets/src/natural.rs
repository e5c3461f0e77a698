//! Natural order of names.

use std::cmp::Ordering;

/// Compares names so that numbers inside them count by value: `img2` < `img10`, `a01` and `a1` next
/// to each other. A total order (sorting may panic on anything less): only identical names are
/// equal.
#[must_use]
pub fn natural_cmp(a: &str, b: &str) -> Ordering {
    pieces(a).cmp(pieces(b)).then_with(|| a.cmp(b))
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece<'a> {
    /// Number of digits, then the digits, both without leading zeros: the order of the value,
    /// without overflow.
    Number(usize, &'a str),
    Other(char),
}

fn pieces(mut name: &str) -> impl Iterator<Item = Piece<'_>> {
    std::iter::from_fn(move || {
        let first = name.chars().next()?;
        if !first.is_ascii_digit() {
            name = &name[first.len_utf8()..];
            return Some(Piece::Other(first));
        }
        let end = name
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(name.len());
        let digits = name[..end].trim_start_matches('0');
        name = &name[end..];
        Some(Piece::Number(digits.len(), digits))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_count_by_value() {
        let mut names = [
            "b1",
            "a10",
            "a2",
            "a1",
            "a",
            "a99999999999999999999999",
            "a100",
            "2",
            "10",
        ];
        names.sort_by(|a, b| natural_cmp(a, b));
        assert_eq!(
            names,
            [
                "2",
                "10",
                "a",
                "a1",
                "a2",
                "a10",
                "a100",
                "a99999999999999999999999",
                "b1"
            ]
        );
    }

    proptest! {
        #[test]
        fn only_identical_names_are_equal(a in "[a0-2]{0,5}", b in "[a0-2]{0,5}") {
            prop_assert_eq!(natural_cmp(&a, &b) == Ordering::Equal, a == b);
            prop_assert_eq!(natural_cmp(&a, &b), natural_cmp(&b, &a).reverse());
        }

        #[test]
        fn the_order_is_transitive(a in "[aé0-2]{0,4}", b in "[aé0-2]{0,4}", c in "[aé0-2]{0,4}") {
            if natural_cmp(&a, &b).is_le() && natural_cmp(&b, &c).is_le() {
                prop_assert!(natural_cmp(&a, &c).is_le());
            }
        }
    }
}
