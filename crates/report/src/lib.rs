//! Reports: one HTML file that holds everything it shows, so that it can be mailed, archived and
//! opened offline. Its content policy forbids the browser to load anything else. Here that of a
//! scan, in [`mod@bench`] that of a benchmark; both stand in the same shell.
//!
//! The page is complete without its script, which only adds the filter and the chart's inspector.

mod axis;
pub mod bench;
mod digest;
mod frame;
mod histogram;
mod input;
mod plot;
mod sample;
mod sections;
mod shell;
mod text;
#[cfg(feature = "tch")]
pub mod training;

#[cfg(test)]
mod tests;

use digest::Digest;
use maud::html;

pub use input::ReportInput;

const SCRIPT: &str = include_str!("report.js");

/// The report as the text of an HTML file. Every string of the input is escaped.
pub fn render(input: &ReportInput<'_>) -> String {
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
