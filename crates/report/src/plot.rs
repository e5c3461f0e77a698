//! The charts of the report as inline SVG: scores over the stream, and their distribution.
//!
//! A chart is one picture to assistive technology, named by what it says in words; the marks carry
//! titles for the pointer, which the page's script also reads out through the chart's inspector.

use std::fmt::Write;

use maud::{Markup, html};
use rareclip_core::Verdict;

use super::axis::{padded, range, ticks, whole_ticks};
use super::digest::{Digest, Failed, Scored, Threshold};
use super::frame::{Axis, Frame};
use super::histogram::{Histogram, Layer};
use super::{sample, text};

/// Most marks in the chart of scores, those of failed images included.
pub(super) const MAX_MARKS: usize = 2000;
/// Most marks of failed images among them.
const MAX_FAILED_MARKS: usize = 200;
/// Most steps of the threshold line.
const MAX_STEPS: usize = 1000;

/// The order in which marks are drawn: what matters most lies on top.
const LAYERS: [Verdict; 3] = [Verdict::Normal, Verdict::Uncalibrated, Verdict::Anomalous];

/// The chart of scores over the stream, and what must be said beside it.
pub(super) struct StreamChart {
    /// The SVG element.
    pub(super) svg: Markup,
    /// Which images have a mark, in words; `None` where all have.
    pub(super) thinned: Option<String>,
    /// Whether any part of the threshold line is drawn.
    pub(super) has_threshold: bool,
}

/// The scores in stream order with the threshold each was judged by; `None` where nothing was
/// scored.
pub(super) fn stream(digest: &Digest<'_>) -> Option<StreamChart> {
    let (low, high) = digest.score_range()?;
    let judged = digest
        .thresholds
        .iter()
        .filter_map(|threshold| threshold.value);
    let (low, high) = range(judged.chain([low, high]))?;
    let values = padded(low, high);
    let places = (0.5, digest.total as f64 + 0.5);
    let frame = Frame::new(
        (800.0, 320.0),
        Axis {
            values: places,
            ticks: whole_ticks(places.0, places.1, 8),
            name: "image, in stream order",
        },
        Axis {
            values,
            ticks: ticks(values.0, values.1, 6),
            name: "score",
        },
    );

    let failed = sample::spread(&digest.failed, MAX_FAILED_MARKS);
    let images = sample::images(&digest.scored, MAX_MARKS - failed.len());
    let steps = sample::thresholds(&digest.thresholds, MAX_STEPS);
    let has_threshold = steps.iter().any(|step| step.value.is_some());
    let drawing = html! {
        (failed_marks(&frame, &failed))
        @for layer in LAYERS { (layer_marks(&frame, &images, layer)) }
        path.threshold d=(step_line(&frame, &steps, places.1)) {}
        path.cursor #cursor d=(format!("M0 {:.1}V{:.1}", frame.y.units.1, frame.y.units.0)) hidden {}
    };
    let svg = frame.svg("stream", &stream_in_words(digest), &drawing);
    Some(StreamChart {
        svg,
        thinned: thinned_in_words(digest, &images),
        has_threshold,
    })
}

fn thinned_in_words(digest: &Digest<'_>, drawn: &[Scored<'_>]) -> Option<String> {
    if drawn.len() == digest.scored.len() {
        return None;
    }
    let anomalous = drawn
        .iter()
        .filter(|image| image.verdict == Verdict::Anomalous)
        .count();
    let share = if anomalous == digest.count(Verdict::Anomalous) {
        "all anomalous ones, and of the others"
    } else {
        "anomalous ones first, and"
    };
    Some(format!(
        "{} of {} are drawn: {share} the lowest and the highest score of each stretch.",
        text::count(drawn.len()),
        text::images(digest.scored.len()),
    ))
}

fn stream_in_words(digest: &Digest<'_>) -> String {
    let (low, high) = digest.score_range().unwrap_or_default();
    format!(
        "Scores of {} in stream order, from {} to {}. {} anomalous, {} normal, {} uncalibrated, \
         {} without a score.",
        text::images(digest.scored.len()),
        text::number(low),
        text::number(high),
        text::count(digest.count(Verdict::Anomalous)),
        text::count(digest.count(Verdict::Normal)),
        text::count(digest.count(Verdict::Uncalibrated)),
        text::count(digest.failed.len()),
    )
}

/// The threshold as a line of steps. A step reaches from half a place before its image to the next
/// step; there is a gap where there was no threshold.
fn step_line(frame: &Frame, steps: &[Threshold], end: f64) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for (at, step) in steps.iter().enumerate() {
        let Some(value) = step.value else {
            drawing = false;
            continue;
        };
        let from = frame.x.at(step.place as f64 - 0.5);
        let to = frame.x.at(steps
            .get(at + 1)
            .map_or(end, |next| next.place as f64 - 0.5));
        let y = frame.y.at(value);
        // Writing to a string cannot fail.
        let _ = if drawing {
            write!(path, "V{y:.1}H{to:.1}")
        } else {
            write!(path, "M{from:.1} {y:.1}H{to:.1}")
        };
        drawing = true;
    }
    path
}

fn failed_marks(frame: &Frame, failed: &[Failed<'_>]) -> Markup {
    let y = frame.y.units.0;
    html! {
        g.marks.failed {
            @for image in failed {
                @let x = frame.x.at(image.place as f64);
                path d=(format!("M{:.1} {:.1}l6 6m0 -6l-6 6", x - 3.0, y - 9.0))
                    data-place=(image.place) data-image=(image.row.index) {
                    title {
                        (text::printable(&image.row.image)) " · image " (image.place) " · no score: "
                        (text::printable(image.error))
                    }
                }
            }
        }
    }
}

fn layer_marks(frame: &Frame, images: &[Scored<'_>], layer: Verdict) -> Markup {
    html! {
        g class={ "marks " (text::class(layer)) } {
            @for image in images.iter().filter(|image| image.verdict == layer) {
                path d=(text::mark(layer, frame.x.at(image.place as f64), frame.y.at(image.score)))
                    data-place=(image.place) data-image=(image.row.index) {
                    title {
                        (text::printable(&image.row.image)) " · image " (image.place)
                        " · score " (text::number(image.score)) " · " (layer)
                    }
                }
            }
        }
    }
}

/// How the scores are distributed, with the threshold at the end of the run; `None` where nothing
/// was scored.
pub(super) fn histogram(digest: &Digest<'_>, threshold: Option<f64>) -> Option<Markup> {
    let layers = LAYERS.map(|verdict| Layer {
        class: text::class(verdict),
        word: text::class(verdict),
    });
    let layer = |verdict| LAYERS.iter().position(|layer| *layer == verdict);
    let scores = digest
        .scored
        .iter()
        .filter_map(|image| Some((image.score, layer(image.verdict)?)));
    Histogram {
        layers: &layers,
        scores: scores.collect(),
        threshold: threshold.map(|value| (value, "threshold")),
    }
    .svg(&histogram_in_words(digest, threshold))
}

fn histogram_in_words(digest: &Digest<'_>, threshold: Option<f64>) -> String {
    let (low, high) = digest.score_range().unwrap_or_default();
    let images = text::images(digest.scored.len());
    let (low, high) = (text::number(low), text::number(high));
    let judged = match threshold {
        Some(threshold) => {
            let above = digest
                .scored
                .iter()
                .filter(|image| image.score > threshold)
                .count();
            format!(
                "{} above the final threshold of {}",
                text::count(above),
                text::number(threshold)
            )
        }
        None => "there is no threshold".to_owned(),
    };
    format!("Histogram of the scores of {images} between {low} and {high}; {judged}.")
}
