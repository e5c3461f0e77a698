//! The charts of the report as inline SVG: scores over the stream, and their distribution.
//!
//! A chart is one picture to assistive technology, named by what it says in words; the marks carry
//! titles for the pointer, which the page's script also reads out through the chart's inspector.

use std::fmt::Write;

use maud::{Markup, html};
use rareclip_core::Verdict;

use super::axis::{Scale, Tick, padded, ticks, whole_ticks};
use super::digest::{Digest, Failed, Scored, Threshold, range};
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

/// The area that data is drawn in, in drawing units, and its scales.
struct Frame {
    width: f64,
    height: f64,
    x: Scale,
    y: Scale,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    x_name: &'static str,
    y_name: &'static str,
}

impl Frame {
    const TOP: f64 = 26.0;
    const BOTTOM: f64 = 40.0;
    const RIGHT: f64 = 14.0;

    fn new(size: (f64, f64), x: Axis, y: Axis) -> Self {
        let longest = y
            .ticks
            .iter()
            .map(|tick| tick.label.len())
            .max()
            .unwrap_or(0);
        let left = 16.0 + 7.0 * longest.max(3) as f64;
        let (width, height) = size;
        Self {
            width,
            height,
            x: Scale {
                values: x.values,
                units: (left, width - Self::RIGHT),
            },
            y: Scale {
                values: y.values,
                units: (height - Self::BOTTOM, Self::TOP),
            },
            x_ticks: x.ticks,
            y_ticks: y.ticks,
            x_name: x.name,
            y_name: y.name,
        }
    }

    /// Grid lines, ticks and the names of the axes.
    fn axes(&self) -> Markup {
        let ((left, right), (bottom, top)) = (self.x.units, self.y.units);
        html! {
            g.axes {
                @for tick in &self.y_ticks {
                    @let y = self.y.at(tick.value);
                    path.grid d=(format!("M{left:.1} {y:.1}H{right:.1}")) {}
                    text.end x=(format!("{:.1}", left - 8.0)) y=(format!("{:.1}", y + 4.0)) { (tick.label) }
                }
                @for tick in &self.x_ticks {
                    @let x = self.x.at(tick.value);
                    path.tick d=(format!("M{x:.1} {bottom:.1}v5")) {}
                    text.middle x=(format!("{x:.1}")) y=(format!("{:.1}", bottom + 18.0)) { (tick.label) }
                }
                path.base d=(format!("M{left:.1} {bottom:.1}H{right:.1}")) {}
                text.name x=(format!("{left:.1}")) y=(format!("{:.1}", top - 12.0)) { (self.y_name) }
                text.name.end x=(format!("{right:.1}")) y=(format!("{:.1}", self.height - 4.0)) { (self.x_name) }
            }
        }
    }

    /// The SVG element around the drawing, named `name` to assistive technology.
    fn svg(&self, class: &str, name: &str, drawing: &Markup) -> Markup {
        html! {
            svg class={ "plot " (class) } viewBox=(format!("0 0 {} {}", self.width, self.height))
                role="img" aria-label=(name) {
                (self.axes())
                (drawing)
            }
        }
    }
}

struct Axis {
    values: (f64, f64),
    ticks: Vec<Tick>,
    name: &'static str,
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

/// A bar of the histogram: a range of scores and the number of images of each layer in it.
struct Bin {
    low: f64,
    high: f64,
    counts: [usize; LAYERS.len()],
}

impl Bin {
    fn total(&self) -> usize {
        self.counts.iter().sum()
    }

    fn in_words(&self) -> String {
        let parts = LAYERS
            .iter()
            .zip(self.counts)
            .filter(|(_, count)| *count > 0);
        let parts: Vec<_> = parts
            .map(|(verdict, count)| format!("{} {verdict}", text::count(count)))
            .collect();
        let (low, high) = (text::number(self.low), text::number(self.high));
        format!("score {low} to {high} · {}", parts.join(", "))
    }
}

/// How the scores are distributed, with the threshold at the end of the run; `None` where nothing
/// was scored.
pub(super) fn histogram(digest: &Digest<'_>, threshold: Option<f64>) -> Option<Markup> {
    let scores = digest.score_range()?;
    let (low, high) = range(threshold.into_iter().chain([scores.0, scores.1]))?;
    let values = padded(low, high);
    let bins = bins(&digest.scored, scores, values);
    let most = bins.iter().map(Bin::total).max()?;
    let counts = (0.0, most as f64 * 1.06);
    let frame = Frame::new(
        (430.0, 320.0),
        Axis {
            values,
            ticks: ticks(values.0, values.1, 5),
            name: "score",
        },
        Axis {
            values: counts,
            ticks: whole_ticks(counts.0, counts.1, 5),
            name: "images",
        },
    );
    let drawing = html! {
        defs {
            pattern #hatch patternUnits="userSpaceOnUse" width="5" height="5" patternTransform="rotate(45)" {
                rect.ground width="5" height="5" {}
                rect.line width="1.5" height="5" {}
            }
        }
        @for bin in bins.iter().filter(|bin| bin.total() > 0) { (bar(&frame, bin)) }
        @if let Some(threshold) = threshold { (threshold_mark(&frame, threshold)) }
    };
    Some(frame.svg(
        "histogram",
        &histogram_in_words(digest, threshold),
        &drawing,
    ))
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

fn bins(images: &[Scored<'_>], scores: (f64, f64), values: (f64, f64)) -> Vec<Bin> {
    let (low, high, number) = if scores.0 < scores.1 {
        (
            scores.0,
            scores.1,
            ((images.len() as f64).sqrt().ceil() as usize).clamp(6, 40),
        )
    } else {
        let half = (values.1 - values.0) / 24.0;
        (scores.0 - half, scores.0 + half, 1)
    };
    let width = (high - low) / number as f64;
    let mut bins: Vec<_> = (0..number)
        .map(|k| (low + k as f64 * width, low + (k + 1) as f64 * width))
        .map(|(low, high)| Bin {
            low,
            high,
            counts: [0; LAYERS.len()],
        })
        .collect();
    for image in images {
        // The greatest score belongs to the last bin.
        let at = (((image.score - low) / width) as usize).min(number - 1);
        let layer = LAYERS.iter().position(|layer| *layer == image.verdict);
        if let (Some(bin), Some(layer)) = (bins.get_mut(at), layer) {
            bin.counts[layer] += 1;
        }
    }
    bins
}

fn bar(frame: &Frame, bin: &Bin) -> Markup {
    let (left, right) = (frame.x.at(bin.low) + 0.5, frame.x.at(bin.high) - 0.5);
    let mut below = 0;
    html! {
        g {
            title { (bin.in_words()) }
            @for (verdict, count) in LAYERS.into_iter().zip(bin.counts).filter(|(_, count)| *count > 0) {
                @let bottom = frame.y.at(below as f64);
                @let top = frame.y.at((below + count) as f64);
                // One image among thousands must still be seen.
                @let height = (bottom - top).max(2.0);
                rect class={ "bar " (text::class(verdict)) }
                    x=(format!("{left:.1}")) width=(format!("{:.1}", (right - left).max(1.0)))
                    y=(format!("{:.1}", bottom - height)) height=(format!("{height:.1}")) {}
                ({ below += count; "" })
            }
        }
    }
}

fn threshold_mark(frame: &Frame, threshold: f64) -> Markup {
    let x = frame.x.at(threshold);
    let (bottom, top) = frame.y.units;
    let (class, shift) = if x > frame.width * 0.6 {
        ("end", -5.0)
    } else {
        ("start", 5.0)
    };
    html! {
        path.threshold d=(format!("M{x:.1} {bottom:.1}V{:.1}", top - 8.0)) {}
        text class=(class) x=(format!("{:.1}", x + shift)) y=(format!("{:.1}", top)) {
            "threshold " (text::number(threshold))
        }
    }
}
