//! What the report of a scan shows.

use rareclip_pipeline::ResultRow;

/// What a report is made of.
pub struct ReportInput<'a> {
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
