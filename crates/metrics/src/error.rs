//! The error type of this crate.

/// Why a metric cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// Two parallel lists differ in length.
    #[error("{what}: {left} and {right} entries; give one of each per image")]
    LengthMismatch {
        /// Which two lists.
        what: &'static str,
        /// Length of the first.
        left: usize,
        /// Length of the second.
        right: usize,
    },
    /// An image score is NaN or infinite.
    #[error("score of image {index} is {value}; metrics need finite scores")]
    NonFiniteScore {
        /// Position in the list, from 0.
        index: usize,
        /// The offending score.
        value: f64,
    },
    /// A pixel of an anomaly map is NaN or infinite.
    #[error("anomaly map {image}, row {row}, column {column} is {value}; metrics need finite maps")]
    NonFinitePixel {
        /// Position of the image among those pushed, from 0.
        image: usize,
        /// Pixel row.
        row: usize,
        /// Pixel column.
        column: usize,
        /// The offending value.
        value: f32,
    },
    /// Map and mask of an image differ in size.
    #[error(
        "image {image}: the map is {}x{} and the mask {}x{} (rows x columns); resize the mask to the map",
        map.0, map.1, mask.0, mask.1
    )]
    ShapeMismatch {
        /// Position of the image among those pushed, from 0.
        image: usize,
        /// Rows and columns of the map.
        map: (usize, usize),
        /// Rows and columns of the mask.
        mask: (usize, usize),
    },
    /// A map has more pixels than a region label can count.
    #[error(
        "image {image} has {pixels} pixels; at most {} are supported",
        u32::MAX
    )]
    MapTooLarge {
        /// Position of the image among those pushed, from 0.
        image: usize,
        /// Its pixels.
        pixels: usize,
    },
    /// The published AUPRO has no thresholds because every map pixel has the same value.
    #[error("the published AUPRO is not defined on constant maps; use the exact AUPRO")]
    ConstantMaps,
    /// The published AUPRO has no threshold below the false-positive limit.
    #[error(
        "the published AUPRO needs two thresholds with a false-positive rate below {limit} and has {points}; \
         use the exact AUPRO, or add images with normal pixels"
    )]
    TooFewPoints {
        /// The false-positive limit.
        limit: f64,
        /// Thresholds below it.
        points: usize,
    },
    /// The published AUPRO was asked for after the pixels had been folded into a histogram.
    #[error(
        "the published AUPRO needs every pixel, but they exceeded the memory budget of {budget} bytes; \
         raise the budget, or use the exact AUPRO with its error bound"
    )]
    ReferenceNeedsPixels {
        /// The budget of the accumulator, in bytes.
        budget: usize,
    },
    /// A parameter is outside its range.
    #[error("{name} = {value} is out of range; allowed: {allowed}")]
    InvalidParameter {
        /// Name of the parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The allowed range.
        allowed: &'static str,
    },
    /// A region saturates at no share of it.
    #[error("image {image}: a region saturates at the share {share}, expected above 0 and up to 1")]
    Saturation {
        /// Index of the image in the order added, from 0.
        image: usize,
        /// The share.
        share: f64,
    },
}
