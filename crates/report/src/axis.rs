//! Axes: ranges that always have an extent, and ticks at round numbers.

/// A linear map from a range of values to a range of drawing units.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    /// The values at both ends; `low < high`.
    pub(super) values: (f64, f64),
    /// The drawing units at both ends.
    pub(super) units: (f64, f64),
}

impl Scale {
    /// Where `value` is drawn.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = (value - self.values.0) / (self.values.1 - self.values.0);
        self.units.0 + share * (self.units.1 - self.units.0)
    }
}

/// A marked value of an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    /// Where it stands.
    pub(super) value: f64,
    /// What is written there.
    pub(super) label: String,
}

/// Least and greatest of `values`; `None` where there are none.
pub(super) fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

/// The range of an axis that shows `low..=high` with a margin; never empty.
pub(super) fn padded(low: f64, high: f64) -> (f64, f64) {
    let extent = high - low;
    // Below this the labels of two ticks could not differ, and one value has no extent at all.
    let least = low.abs().max(high.abs()) * 1e-6;
    let margin = if extent > least {
        extent * 0.06
    } else if low == 0.0 && high == 0.0 {
        1.0
    } else {
        low.abs().max(high.abs()) * 0.1
    };
    (low - margin, high + margin)
}

/// About `wanted` ticks in `low..=high`, at multiples of 1, 2 or 5 times a power of ten.
pub(super) fn ticks(low: f64, high: f64, wanted: usize) -> Vec<Tick> {
    let (step, exponent) = round_step((high - low) / wanted.max(1) as f64);
    let (first, last) = ((low / step).ceil(), (high / step).floor());
    let peak = low.abs().max(high.abs());
    let count = (last - first).clamp(-1.0, 2.0 * wanted as f64 + 2.0) as i64;
    (0..=count)
        .map(|k| {
            // Adding zero turns a negative zero into zero.
            let value = (first + k as f64) * step + 0.0;
            Tick {
                value,
                label: label(value, exponent, peak),
            }
        })
        .collect()
}

/// As [`ticks`], at whole numbers only and with the thousands separated; for counts.
pub(super) fn whole_ticks(low: f64, high: f64, wanted: usize) -> Vec<Tick> {
    let (step, _) = round_step(((high - low) / wanted.max(1) as f64).max(1.0));
    let (first, last) = (
        (low / step).ceil().max(0.0) as usize,
        (high / step).floor() as usize,
    );
    (first..=last)
        .map(|k| {
            let value = k * step as usize;
            Tick {
                value: value as f64,
                label: super::text::count(value),
            }
        })
        .collect()
}

/// Ticks at 1, 2 and 5 times powers of ten of an axis whose scale holds the decimal logarithms of
/// `low..=high`, both above 0. There is one at least where `high` is 2.5 times `low` or more.
pub(super) fn log_ticks(low: f64, high: f64) -> Vec<Tick> {
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    powers
        .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| (digit, power)))
        .map(|(digit, power)| (digit * 10f64.powi(power), power))
        .filter(|(value, _)| (low..=high).contains(value))
        .map(|(value, power)| Tick {
            value: value.log10(),
            label: label(value, power, high),
        })
        .collect()
}

/// The least of 1, 2, 5 times a power of ten that is at least `rough`, and its power of ten.
fn round_step(rough: f64) -> (f64, i32) {
    let exponent = rough.log10().floor() as i32;
    let base = 10f64.powi(exponent);
    // The tolerance keeps `0.1 + 0.2`-like sums from falling to the next step.
    match rough / base * (1.0 - 1e-9) {
        share if share <= 1.0 => (base, exponent),
        share if share <= 2.0 => (2.0 * base, exponent),
        share if share <= 5.0 => (5.0 * base, exponent),
        _ => (10f64.powi(exponent + 1), exponent + 1),
    }
}

/// `value` with the digits that tell it from the next tick, `10^exponent` away.
fn label(value: f64, exponent: i32, peak: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if peak < 1e6 && exponent >= -6 {
        let decimals = (-exponent).max(0) as usize;
        return format!("{value:.decimals$}");
    }
    let digits = (value.abs().log10().floor() as i32 - exponent).clamp(0, 8) as usize;
    format!("{value:.digits$e}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_stand_at_round_numbers() {
        assert_eq!(labels(&ticks(0.13, 0.87, 5)), ["0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(
            labels(&ticks(-1.0, 1.0, 4)),
            ["-1.0", "-0.5", "0", "0.5", "1.0"]
        );
        assert_eq!(
            labels(&ticks(0.0, 3.4e38, 4)),
            ["0", "1e38", "2e38", "3e38"]
        );
    }

    #[test]
    fn counts_get_whole_ticks_however_small_the_range() {
        assert_eq!(labels(&whole_ticks(0.0, 1.06, 5)), ["0", "1"]);
        assert_eq!(labels(&whole_ticks(0.5, 1.5, 8)), ["1"]);
        assert_eq!(
            labels(&whole_ticks(0.0, 4200.0, 4)),
            ["0", "2,000", "4,000"]
        );
    }

    #[test]
    fn logarithmic_ticks_stand_at_their_logarithms() {
        let ticks = log_ticks(0.3, 30.0);
        assert_eq!(labels(&ticks), ["0.5", "1", "2", "5", "10", "20"]);
        assert_eq!((ticks[1].value, ticks[4].value), (0.0, 1.0));
    }

    #[test]
    fn a_single_value_gets_a_range_around_it() {
        for value in [0.0, 0.25, -7.0, 1e-30, f64::from(f32::MAX)] {
            let (low, high) = padded(value, value);
            assert!(low < value && value < high, "{value}: {low}..{high}");
        }
    }

    proptest! {
        #[test]
        fn any_scores_get_a_few_distinct_ticks_within_the_axis(a: f32, b: f32) {
            prop_assume!(a.is_finite() && b.is_finite());
            let (low, high) = padded(f64::from(a.min(b)), f64::from(a.max(b)));
            prop_assert!(low < high);
            let ticks = ticks(low, high, 5);
            prop_assert!((2..=12).contains(&ticks.len()), "{ticks:?}");
            prop_assert!(ticks.windows(2).all(|pair| pair[0].label != pair[1].label), "{ticks:?}");
            let slack = (high - low) * 1e-6;
            prop_assert!(ticks.iter().all(|t| t.value > low - slack && t.value < high + slack));
        }
    }
}
