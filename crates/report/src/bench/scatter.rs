//! Speed against quality: a mark a detector.

use maud::{Markup, html};
use rareclip_bench::table::{self, Metric};

use super::series;
use super::view::View;
use crate::axis::{log_ticks, padded, range, ticks};
use crate::frame::{Axis, Frame};
use crate::text::{number, printable};

/// Width of a letter of a label in drawing units, about; labels are placed by it.
const LETTER: f64 = 6.8;
/// Height of a label in drawing units.
const LINE: f64 = 14.0;
/// Most letters of a label. The mark's title has all of the name.
const MAX_LETTERS: usize = 32;

/// What a mark stands for.
pub(super) struct Point<'a> {
    /// The detector's place in the tables.
    pub(super) detector: usize,
    /// Its name.
    pub(super) name: &'a str,
    /// Milliseconds an image; above 0.
    pub(super) ms: f64,
    /// Image AUROC in percent.
    pub(super) auroc: f64,
}

/// A rectangle in drawing units that a mark or a label takes up.
#[derive(Clone, Copy, Debug)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn overlap(&self, other: &Self) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }

    fn size(&self) -> f64 {
        (self.right - self.left) * (self.bottom - self.top)
    }
}

/// The detectors that have both an AUROC and a time.
pub(super) fn points<'a>(view: &View<'a>) -> Vec<Point<'a>> {
    let detectors = view.benchmark.detectors.iter().enumerate();
    detectors
        .filter_map(|(detector, name)| {
            let (ms, _) = table::cost(view.benchmark, name);
            let (auroc, _) = table::mean(view.benchmark, name, Metric::ImageAuroc)?;
            (ms.is_finite() && ms > 0.0 && auroc.mean.is_finite()).then_some(Point {
                detector,
                name,
                ms,
                auroc: 100.0 * auroc.mean,
            })
        })
        .collect()
}

/// The chart; `None` without any point.
pub(super) fn chart(points: &[Point<'_>]) -> Option<Markup> {
    let (fastest, slowest) = range(points.iter().map(|point| point.ms))?;
    let (worst, best) = range(points.iter().map(|point| point.auroc))?;
    // Room for a tick beside a single detector.
    let (fast, slow) = (fastest / 2.0, slowest * 2.0);
    let (low, high) = padded(worst, best);
    let (low, high) = (low.max(0.0), high.min(100.0));
    let frame = Frame::new(
        (800.0, 400.0),
        Axis {
            values: (fast.log10(), slow.log10()),
            ticks: log_ticks(fast, slow),
            name: "ms an image, logarithmic",
        },
        Axis {
            values: (low, high),
            ticks: ticks(low, high, 6),
            name: "image AUROC, %",
        },
    );
    let places: Vec<(f64, f64)> = points
        .iter()
        .map(|point| (frame.x.at(point.ms.log10()), frame.y.at(point.auroc)))
        .collect();
    let labels: Vec<String> = points.iter().map(|point| shortened(point.name)).collect();
    let spots = placed(&frame, &places, &labels);
    let drawing = html! {
        @for ((point, label), ((x, y), spot)) in points.iter().zip(&labels).zip(places.iter().zip(&spots)) {
            g class=(series::class(point.detector)) {
                path.mark d=(series::mark(point.detector, *x, *y)) {
                    title { (in_words(point)) }
                }
                text.label x=(format!("{:.1}", spot.left)) y=(format!("{:.1}", spot.bottom - 3.0)) { (label) }
            }
        }
    };
    let words: Vec<String> = points.iter().map(in_words).collect();
    let name = format!("Speed and quality. {}.", words.join("; "));
    Some(frame.svg("scatter", &name, &drawing))
}

fn in_words(point: &Point<'_>) -> String {
    format!(
        "{}: {} ms an image, image AUROC {:.1} %",
        printable(point.name),
        number(point.ms),
        point.auroc
    )
}

fn shortened(name: &str) -> String {
    let name = printable(name);
    if name.chars().count() <= MAX_LETTERS {
        return name.into_owned();
    }
    let start: String = name.chars().take(MAX_LETTERS - 1).collect();
    format!("{start}…")
}

/// Where each label stands: beside, above or below its mark, where least of it covers marks, labels
/// placed before it or leaves the drawing.
fn placed(frame: &Frame, places: &[(f64, f64)], labels: &[String]) -> Vec<Area> {
    let mut taken: Vec<Area> = places
        .iter()
        .map(|(x, y)| Area {
            left: x - 6.0,
            top: y - 6.0,
            right: x + 6.0,
            bottom: y + 6.0,
        })
        .collect();
    let inside = Area {
        left: frame.x.units.0,
        top: frame.y.units.1 - 10.0,
        right: frame.x.units.1,
        bottom: frame.y.units.0,
    };
    let mut spots = Vec::with_capacity(labels.len());
    for ((x, y), label) in places.iter().zip(labels) {
        let width = LETTER * label.chars().count() as f64;
        let cost = |area: &Area| {
            let covered: f64 = taken.iter().map(|other| area.overlap(other)).sum();
            covered + 2.0 * (area.size() - area.overlap(&inside))
        };
        let mut best: Option<(f64, Area)> = None;
        for area in candidates(*x, *y, width) {
            let cost = cost(&area);
            if best.is_none_or(|(least, _)| cost < least - 1e-6) {
                best = Some((cost, area));
            }
        }
        if let Some((_, area)) = best {
            taken.push(area);
            spots.push(area);
        }
    }
    spots
}

/// Places for a label, those to be preferred first: right, left, above and below of the mark, then
/// the same a line higher or lower.
fn candidates(x: f64, y: f64, width: f64) -> Vec<Area> {
    let lefts = [x + 9.0, x - 9.0 - width];
    let centred = x - width / 2.0;
    let beside = lefts.map(|left| (left, y));
    let mut all: Vec<(f64, f64)> = beside.to_vec();
    all.extend([(centred, y - 15.0), (centred, y + 15.0)]);
    for shift in [-LINE, LINE, -2.0 * LINE, 2.0 * LINE] {
        all.extend(lefts.map(|left| (left, y + shift)));
    }
    all.into_iter()
        .map(|(left, middle)| Area {
            left,
            top: middle - LINE / 2.0,
            right: left + width,
            bottom: middle + LINE / 2.0,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_neighbouring_marks_do_not_cover_each_other() {
        let axis = || Axis {
            values: (0.0, 1.0),
            ticks: ticks(0.0, 1.0, 5),
            name: "x",
        };
        let frame = Frame::new((800.0, 400.0), axis(), axis());
        let places = [
            (400.0, 200.0),
            (402.0, 201.0),
            (404.0, 198.0),
            (780.0, 30.0),
        ];
        let labels = ["rareclip", "rareclip-int8", "patchcore@4", "musc"].map(str::to_owned);
        let spots = placed(&frame, &places, &labels);
        for (at, spot) in spots.iter().enumerate() {
            assert!(
                spot.right <= frame.x.units.1 && spot.left >= frame.x.units.0,
                "{spot:?}"
            );
            for other in &spots[at + 1..] {
                assert_eq!(spot.overlap(other), 0.0, "{spot:?} {other:?}");
            }
        }
    }

    #[test]
    fn long_names_are_cut_where_a_letter_ends() {
        let label = shortened(&"ü".repeat(40));
        assert_eq!(label.chars().count(), MAX_LETTERS);
        assert!(label.ends_with("ü…"));
    }
}
