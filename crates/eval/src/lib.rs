//! Metrics and data set layouts for rareclip.
//!
//! * [`metrics`]: image-level and pixel-level detection metrics, confidence intervals and a paired test.
//! * [`dataset`]: folder layouts to lists of samples, and the orders in which a run visits them.
//!
//! A metric that is undefined on the given data is `None` ("n/a"), never 0 and never NaN.

pub mod dataset;
mod error;
pub mod metrics;

pub use error::EvalError;
