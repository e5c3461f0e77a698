//! The frame of a chart: axes, ticks, grid, and the SVG element around the drawing.

use maud::{Markup, html};

use super::axis::{Scale, Tick};

/// The area that data is drawn in, in drawing units, and its scales.
pub(super) struct Frame {
    /// The width of the whole drawing.
    pub(super) width: f64,
    /// Values to places, left to right.
    pub(super) x: Scale,
    /// Values to places; greater values stand higher.
    pub(super) y: Scale,
    height: f64,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    x_name: &'static str,
    y_name: &'static str,
}

impl Frame {
    const TOP: f64 = 26.0;
    const BOTTOM: f64 = 40.0;
    const RIGHT: f64 = 14.0;

    /// A drawing of `size`, width and height, with its axes.
    pub(super) fn new(size: (f64, f64), x: Axis, y: Axis) -> Self {
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
            x: Scale {
                values: x.values,
                units: (left, width - Self::RIGHT),
            },
            y: Scale {
                values: y.values,
                units: (height - Self::BOTTOM, Self::TOP),
            },
            height,
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
    pub(super) fn svg(&self, class: &str, name: &str, drawing: &Markup) -> Markup {
        html! {
            svg class={ "plot " (class) } viewBox=(format!("0 0 {} {}", self.width, self.height))
                role="img" aria-label=(name) {
                (self.axes())
                (drawing)
            }
        }
    }
}

/// What an axis shows.
pub(super) struct Axis {
    /// The values at both ends.
    pub(super) values: (f64, f64),
    /// The values that are marked.
    pub(super) ticks: Vec<Tick>,
    /// What the values are.
    pub(super) name: &'static str,
}
