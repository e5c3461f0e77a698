//! Numbers against numbers.

/// The largest absolute difference between numbers at the same place.
///
/// # Panics
/// When one row of numbers is longer, or a difference is NaN: the largest of differences would pass
/// over it.
pub fn distance<'v>(
    found: impl IntoIterator<Item = &'v f32>,
    expected: impl IntoIterator<Item = &'v f32>,
) -> f32 {
    let (mut found, mut expected) = (found.into_iter(), expected.into_iter());
    let mut largest = 0.0_f32;
    loop {
        match (found.next(), expected.next()) {
            (Some(found), Some(expected)) => {
                let difference = (found - expected).abs();
                assert!(!difference.is_nan(), "{found} against {expected}");
                largest = largest.max(difference);
            }
            (None, None) => return largest,
            _ => panic!("different lengths"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_difference_is_given() {
        assert_eq!(distance(&[1.0, -2.0, 3.0], &[1.5, 2.0, 3.0]), 4.0);
        assert_eq!(distance(&[], &[]), 0.0);
        assert_eq!(distance(&[f32::INFINITY], &[0.0]), f32::INFINITY);
    }

    #[test]
    #[should_panic(expected = "NaN against 1")]
    fn what_is_no_number_is_near_to_nothing() {
        distance(&[0.0, f32::NAN, 0.0], &[0.0, 1.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "different lengths")]
    fn what_is_shorter_is_near_to_nothing() {
        distance(&[0.0], &[0.0, 1.0]);
    }
}
