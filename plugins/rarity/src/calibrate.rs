//! Loose similarity, and the mean of the largest.

/// The product of a count and a share, in 64 bits as the reference takes it.
fn share(count: usize, share: f64) -> f64 {
    count as f64 * share
}

/// Calibrates similarities (paper: loose similarity).
///
/// All `values` are divided by the one of ascending rank `floor(n (1 - looseness))`, counted from
/// 1, and clipped at 1, so that a few over-close matches do not set the scale. 0 divides by the
/// maximum, a negative looseness leaves the values as they are; so does a scale that is not
/// positive, by which nothing can be measured.
pub(crate) fn loose(values: &mut [f32], looseness: f64, scratch: &mut Vec<f32>) {
    if values.is_empty() || looseness < 0.0 {
        return;
    }
    // v: the value of ascending rank floor(n (1 - gamma)).
    let rank = (share(values.len(), 1.0 - looseness).floor() as usize).clamp(1, values.len());
    let scale = if rank == values.len() {
        values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    } else {
        scratch.clear();
        scratch.extend_from_slice(values);
        *scratch.select_nth_unstable_by(rank - 1, f32::total_cmp).1
    };
    // 0 / 0 and a change of sign are all that such a scale could give.
    if !(scale > 0.0 && scale.is_finite()) {
        return;
    }
    // Values above v were over-close matches: they count as 1.
    for value in values {
        *value = (*value / scale).min(1.0);
    }
}

/// How many of `count` values are the largest `rho` share: `ceil(rho count)`, at least one.
pub(crate) fn voters(count: usize, rho: f64) -> usize {
    (share(count, rho).ceil() as usize).clamp(1, count.max(1))
}

/// The mean of the `largest` largest of `values`, which are reordered; 0 where there are none.
pub(crate) fn mean_of_largest(values: &mut [f32], largest: usize) -> f32 {
    let largest = largest.min(values.len());
    if largest == 0 {
        return 0.0;
    }
    if largest < values.len() {
        values.select_nth_unstable_by(largest - 1, |a, b| b.total_cmp(a));
    }
    values[..largest].iter().sum::<f32>() / largest as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looseness_skips_the_share_of_largest_values() {
        let mut values: Vec<f32> = (1..=10).map(|v| v as f32).collect();
        loose(&mut values, 0.2, &mut Vec::new());
        assert_eq!(values[3], 0.5);
        assert_eq!(&values[7..], [1.0, 1.0, 1.0]);
    }

    #[test]
    fn no_looseness_divides_by_the_maximum() {
        let mut values = [0.5, 0.25];
        loose(&mut values, 0.0, &mut Vec::new());
        assert_eq!(values, [1.0, 0.5]);
    }

    #[test]
    fn negative_looseness_leaves_values() {
        let mut values = [2.0, -3.0];
        loose(&mut values, -1.0, &mut Vec::new());
        assert_eq!(values, [2.0, -3.0]);
    }

    #[test]
    fn a_scale_of_zero_gives_no_nan() {
        let mut values = [0.0; 4];
        loose(&mut values, 0.01, &mut Vec::new());
        assert_eq!(values, [0.0; 4]);
    }

    #[test]
    fn voters_round_up_and_are_never_none() {
        assert_eq!(
            [
                voters(1, 0.3),
                voters(4, 0.3),
                voters(10, 0.3),
                voters(5, 0.0)
            ],
            [1, 2, 3, 1]
        );
    }

    #[test]
    fn the_mean_is_of_the_largest() {
        assert_eq!(mean_of_largest(&mut [1.0, 4.0, 2.0, 3.0], 2), 3.5);
        assert_eq!(mean_of_largest(&mut [], 2), 0.0);
    }
}
