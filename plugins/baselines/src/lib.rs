//! Trivial detectors: how far a set can be told apart by brightness, contrast or file size alone,
//! or by drawing lots.
//!
//! A method that is no better than these on a set has shown nothing there. They need no weights and
//! learn nothing.
//!
//! * backbone `thumbnail` ([`ThumbnailOptions`]): means and deviations of the colours in a grid of
//!   cells.
//! * scorer `statistic` ([`StatisticOptions`]): brightness, contrast, file size or chance as the
//!   score. It goes without a bank.

mod error;
mod scorer;
mod thumbnail;

pub use error::BaselineError;
pub use scorer::{Sign, Statistic, StatisticOptions};
pub use thumbnail::ThumbnailOptions;

use rareclip_core::register;

register! {
    backbone ThumbnailOptions;
    scorer StatisticOptions;
}
