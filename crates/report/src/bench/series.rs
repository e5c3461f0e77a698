//! How detectors are told apart in charts: by colour and, without it, by dashes and shapes.

use maud::{Markup, html};

use crate::text::printable;

/// Colours and dash patterns of the style sheet. Having no common divisor, they make 35 different
/// lines.
const COLOURS: usize = 7;
const DASHES: usize = 5;

/// The classes of the detector at this place of the tables.
pub(super) fn class(detector: usize) -> String {
    format!(
        "series colour-{} dash-{}",
        detector % COLOURS,
        detector % DASHES
    )
}

/// The path of a detector's mark around a point: disc, square, triangle, diamond or cross.
pub(super) fn mark(detector: usize, x: f64, y: f64) -> String {
    match detector % DASHES {
        0 => format!("M{:.1} {y:.1}a5 5 0 1 0 10 0a5 5 0 1 0-10 0z", x - 5.0),
        1 => format!("M{:.1} {:.1}h9v9h-9z", x - 4.5, y - 4.5),
        2 => format!("M{x:.1} {:.1}l5.5 10h-11z", y - 6.0),
        3 => format!("M{x:.1} {:.1}l6 6l-6 6l-6-6z", y - 6.0),
        _ => format!(
            "M{:.1} {:.1}l3 3l3-3l2 2l-3 3l3 3l-2 2l-3-3l-3 3l-2-2l3-3l-3-3z",
            x - 3.0,
            y - 5.0
        ),
    }
}

/// Lines and the detectors they belong to, each with a remark.
pub(super) fn legend(entries: &[(usize, &str, String)]) -> Markup {
    html! {
        ul.legend aria-label="Legend" {
            @for (detector, name, remark) in entries {
                li {
                    svg class={ "swatch " (class(*detector)) } viewBox="0 0 36 14" aria-hidden="true" {
                        path.line d="M0 7H36" {}
                    }
                    (printable(name)) ": " (printable(remark))
                }
            }
        }
    }
}
