//! Reports: one HTML file that holds everything it shows, so that it can be mailed, archived and
//! opened offline. Its content policy forbids the browser to load anything else. Here that of a scan,
//! in [`bench`] that of a benchmark; both stand in the same [`shell`].
//!
//! The page is complete without its script, which only adds the filter and the chart's inspector.

mod axis;
pub(crate) mod bench;
mod digest;
mod frame;
mod histogram;
mod plot;
mod sample;
mod sections;
mod shell;
mod text;
#[cfg(feature = "tch")]
pub(crate) mod training;

#[cfg(test)]
mod tests;

use digest::Digest;
use maud::html;

use crate::results::ResultRow;

const SCRIPT: &str = include_str!("report.js");

/// What a report is made of.
pub(crate) struct ReportInput<'a> {
    /// The headline of the page, and its title.
    pub title: &'a str,
    /// One row per image in stream order, those that could not be scored included.
    pub rows: &'a [ResultRow],
    /// The overlay thumbnail of an image as JPEG bytes, a few KB each. Asked only for the images
    /// that are pictured; `None` leaves a placeholder.
    pub thumbnails: &'a dyn Fn(&ResultRow) -> Option<Vec<u8>>,
    /// The threshold at the end of the run; `None` while uncalibrated.
    pub threshold: Option<f32>,
    /// The state of the calibration at the end of the run, in words.
    pub calibration: &'a str,
    /// Names and values of what the run was made with: command, versions, seeds, times.
    pub settings: &'a [(String, String)],
    /// The effective configuration as TOML.
    pub config_toml: &'a str,
    /// Names and values of the run's key figures, shown at the top.
    pub summary: &'a [(String, String)],
    /// How many images are pictured at most: those of the highest scores.
    pub max_thumbnails: usize,
}

/// The report as the text of an HTML file. Every string of the input is escaped.
pub(crate) fn render(input: &ReportInput<'_>) -> String {
    let digest = Digest::of(input.rows);
    let header = sections::header(input, &digest);
    let main = html! {
        (sections::scores(input, &digest))
        (sections::images(input, &digest))
        (sections::failures(&digest))
        (sections::settings(input))
    };
    shell::document(input.title, "", SCRIPT, &header, &main).into_string()
}
