//! The report of a scan: one HTML file that holds everything it shows, so that it can be mailed,
//! archived and opened offline. Its content policy forbids the browser to load anything else.
//!
//! The page is complete without its script, which only adds the filter and the chart's inspector.

mod axis;
mod digest;
mod plot;
mod sample;
mod sections;
mod text;

#[cfg(test)]
mod tests;

use digest::Digest;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::results::ResultRow;

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// Nothing may be fetched: pictures are data URLs, style and script stand in the page.
const CONTENT_POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
                              script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

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
    page(input, &digest).into_string()
}

fn page(input: &ReportInput<'_>, digest: &Digest<'_>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(CONTENT_POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(concat!("rareclip ", env!("CARGO_PKG_VERSION")));
                title { (text::printable(input.title)) }
                // An empty icon keeps browsers from asking a server for one.
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to content" }
                (sections::header(input, digest))
                main id="main" {
                    (sections::scores(input, digest))
                    (sections::images(input, digest))
                    (sections::failures(digest))
                    (sections::settings(input))
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}
