//! How scores are distributed, as stacked bars.

use maud::{Markup, html};

use super::axis::{padded, range, ticks, whole_ticks};
use super::frame::{Axis, Frame};
use super::text;

/// A kind of image; the bars of each lie upon those of the layer before it.
#[derive(Clone, Copy)]
pub(super) struct Layer {
    /// Its class in the style sheet.
    pub(super) class: &'static str,
    /// What its images are called.
    pub(super) word: &'static str,
}

/// What is drawn.
pub(super) struct Histogram<'a> {
    /// The kinds of images, the lowest first.
    pub(super) layers: &'a [Layer],
    /// Finite scores, each with the place of its layer.
    pub(super) scores: Vec<(f64, usize)>,
    /// A marked score and what it is.
    pub(super) threshold: Option<(f64, &'static str)>,
}

/// A bar: a range of scores and the number of images of each layer in it.
struct Bin {
    low: f64,
    high: f64,
    counts: Vec<usize>,
}

impl Bin {
    fn total(&self) -> usize {
        self.counts.iter().sum()
    }
}

/// The pattern that fills the bars of anomalous images. A page holds it once.
pub(super) fn hatch() -> Markup {
    html! {
        svg.patterns width="0" height="0" aria-hidden="true" {
            pattern #hatch patternUnits="userSpaceOnUse" width="5" height="5" patternTransform="rotate(45)" {
                rect.ground width="5" height="5" {}
                rect.line width="1.5" height="5" {}
            }
        }
    }
}

impl Histogram<'_> {
    /// The chart, named `name` to assistive technology; `None` where there are no scores.
    pub(super) fn svg(&self, name: &str) -> Option<Markup> {
        let scores = range(self.scores.iter().map(|score| score.0))?;
        let marked = self.threshold.map(|(value, _)| value);
        let (low, high) = range(marked.into_iter().chain([scores.0, scores.1]))?;
        let values = padded(low, high);
        let bins = self.bins(scores, values);
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
            @for bin in bins.iter().filter(|bin| bin.total() > 0) { (self.bar(&frame, bin)) }
            @if let Some((value, word)) = self.threshold { (threshold_mark(&frame, value, word)) }
        };
        Some(frame.svg("histogram", name, &drawing))
    }

    fn bins(&self, scores: (f64, f64), values: (f64, f64)) -> Vec<Bin> {
        let images = self.scores.len() as f64;
        let (low, high, number) = if scores.0 < scores.1 {
            (
                scores.0,
                scores.1,
                (images.sqrt().ceil() as usize).clamp(6, 40),
            )
        } else {
            let half = (values.1 - values.0) / 24.0;
            (scores.0 - half, scores.0 + half, 1)
        };
        let width = (high - low) / number as f64;
        let mut bins: Vec<_> = (0..number)
            .map(|k| Bin {
                low: low + k as f64 * width,
                high: low + (k + 1) as f64 * width,
                counts: vec![0; self.layers.len()],
            })
            .collect();
        for (score, layer) in &self.scores {
            // The greatest score belongs to the last bin.
            let at = (((score - low) / width) as usize).min(number - 1);
            if let Some(count) = bins.get_mut(at).and_then(|bin| bin.counts.get_mut(*layer)) {
                *count += 1;
            }
        }
        bins
    }

    fn bar(&self, frame: &Frame, bin: &Bin) -> Markup {
        let (left, right) = (frame.x.at(bin.low) + 0.5, frame.x.at(bin.high) - 0.5);
        let layers = || self.layers.iter().zip(&bin.counts).filter(|(_, n)| **n > 0);
        let parts: Vec<_> = layers()
            .map(|(layer, count)| format!("{} {}", text::count(*count), layer.word))
            .collect();
        let (low, high) = (text::number(bin.low), text::number(bin.high));
        let mut below = 0;
        html! {
            g {
                title { "score " (low) " to " (high) " · " (parts.join(", ")) }
                @for (layer, count) in layers() {
                    @let bottom = frame.y.at(below as f64);
                    @let top = frame.y.at((below + count) as f64);
                    // One image among thousands must still be seen.
                    @let height = (bottom - top).max(2.0);
                    rect class={ "bar " (layer.class) }
                        x=(format!("{left:.1}")) width=(format!("{:.1}", (right - left).max(1.0)))
                        y=(format!("{:.1}", bottom - height)) height=(format!("{height:.1}")) {}
                    ({ below += count; "" })
                }
            }
        }
    }
}

fn threshold_mark(frame: &Frame, value: f64, word: &str) -> Markup {
    let x = frame.x.at(value);
    let (bottom, top) = frame.y.units;
    let (class, shift) = if x > frame.width * 0.6 {
        ("end", -5.0)
    } else {
        ("start", 5.0)
    };
    html! {
        path.threshold d=(format!("M{x:.1} {bottom:.1}V{:.1}", top - 8.0)) {}
        text class=(class) x=(format!("{:.1}", x + shift)) y=(format!("{:.1}", top)) {
            (word) " " (text::number(value))
        }
    }
}
