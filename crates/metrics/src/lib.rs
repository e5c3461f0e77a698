//! Detection metrics for images and pixels: AUROC, AP, F1, AUPRO and sPRO, with confidence
//! intervals and a paired test. Does not read or write files.
//!
//! A metric that is undefined on the given data is `None` ("n/a"), never 0 and never NaN.
//!
//! A score says how anomalous an image or a pixel is (higher = more anomalous); a label is `true`
//! for anomalous. Thresholding is inclusive: "positive" means score >= threshold. Equal scores
//! always share a threshold, so ties count half in the AUROC and never depend on the order of the
//! input, as in scikit-learn.
//!
//! Every metric compares normal with anomalous data, so each is n/a where one of the two is absent:
//! a perfect or worthless value that says nothing of the scores must not enter a mean. The
//! scikit-learn functions return 0 for the AP and best F1 of normal data alone, and 1 for those of
//! anomalous data alone.

mod bootstrap;
mod delong;
mod error;
mod histogram;
mod image;
mod pixel;
mod reference;
mod regions;
mod saturated;
mod sweep;

pub use bootstrap::{Bootstrap, Interval, bootstrap_auroc};
pub use delong::{AurocVariance, PairedTest, delong, delong_paired_test};
pub use error::MetricsError;
pub use image::{ImageMetrics, image_metrics};
pub use pixel::{PixelAccumulator, PixelMetrics};
pub use reference::ProCurve;
pub use regions::{Regions, label_regions};
pub use saturated::{SPRO_FPR_LIMITS, SaturatedRegion, SproAccumulator, SproMetrics};
pub use sweep::ErrorBounds;

/// False-positive rate up to which the AUPRO integrates (Bergmann et al., MVTec AD, IJCV 2021,
/// section 5.2).
pub const AUPRO_FPR_LIMIT: f64 = 0.3;
