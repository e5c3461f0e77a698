//! The scale that turns a map value into a colour position.

use ndarray::ArrayView2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{ImagingError, Result};

/// The map values of the two ends of the colour map.
///
/// A fixed scale makes pictures comparable over time; a scale taken from each map on its own shows
/// a defect in every picture, including the good ones, and is therefore only made explicitly by
/// [`MapScale::of_map`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapScale {
    /// Map value of the darkest colour.
    pub low: f32,
    /// Map value of the brightest colour, above `low`.
    pub high: f32,
}

impl MapScale {
    /// A fixed scale.
    ///
    /// # Errors
    /// [`ImagingError::Scale`] unless both ends are finite and `low < high`.
    pub fn new(low: f32, high: f32) -> Result<Self> {
        if low.is_finite() && high.is_finite() && low < high {
            Ok(Self { low, high })
        } else {
            Err(ImagingError::Scale { low, high })
        }
    }

    /// The range of one map, finite values only. A constant map gets the scale `v..v + 1`, an empty
    /// one `0..1`.
    pub fn of_map(map: ArrayView2<'_, f32>) -> Self {
        let finite = map.iter().copied().filter(|v| v.is_finite());
        let (low, high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        if low > high {
            Self {
                low: 0.0,
                high: 1.0,
            }
        } else if low == high {
            Self {
                low,
                high: low + 1.0,
            }
        } else {
            Self { low, high }
        }
    }

    /// Where a value lies between the ends, in 0..=1; values outside are clipped, NaN is 0.
    pub fn position(&self, value: f32) -> f32 {
        if value >= self.high {
            1.0
        } else if value > self.low {
            ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn positions_are_clipped_to_the_ends() {
        let scale = MapScale::new(1.0, 3.0).unwrap();
        assert_eq!(
            [0.0, 1.0, 2.0, 3.0, 9.0].map(|v| scale.position(v)),
            [0.0, 0.0, 0.5, 1.0, 1.0]
        );
        assert_eq!(scale.position(f32::NAN), 0.0);
        assert_eq!(scale.position(f32::INFINITY), 1.0);
    }

    #[test]
    fn scale_of_a_map_ignores_what_is_not_finite() {
        let map = array![[f32::NAN, 2.0], [f32::INFINITY, -1.0]];
        assert_eq!(
            MapScale::of_map(map.view()),
            MapScale {
                low: -1.0,
                high: 2.0
            }
        );
    }

    #[test]
    fn a_constant_map_is_shown_dark() {
        let scale = MapScale::of_map(array![[4.0, 4.0]].view());
        assert_eq!(scale.position(4.0), 0.0);
    }

    #[test]
    fn reversed_or_infinite_ends_are_refused() {
        assert!(MapScale::new(1.0, 1.0).is_err());
        assert!(MapScale::new(2.0, 1.0).is_err());
        assert!(MapScale::new(f32::NAN, 1.0).is_err());
        assert!(MapScale::new(0.0, f32::INFINITY).is_err());
    }
}
