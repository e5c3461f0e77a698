//! The report of a training: its losses, step by step and over the epochs.

use std::fmt::Write;

use maud::{Markup, html};
use rareclip_train::{EpochLog, Log, StepLog};

use super::axis::{padded, range, ticks, whole_ticks};
use super::frame::{Axis, Frame};
use super::shell;
use super::text::{count, number, printable};

/// The colours and dashes of lines, as a benchmark's charts have them.
const STYLE: &str = include_str!("bench/bench.css");

/// Most points of a line: beyond, each is the mean of a stretch of steps.
const MAX_POINTS: usize = 400;

/// A line of a chart: its name and a value for every step.
struct Line {
    name: String,
    values: Vec<f64>,
}

/// The report of a training as the text of an HTML file. It is whole at every checkpoint.
pub fn render(log: &Log) -> String {
    let state = if log.finished {
        "finished"
    } else {
        "under way, or stopped"
    };
    let header = html! {
        h1 { "Training of the text-patch bridge" }
        p { (state) ", " (count(log.steps.len())) " steps, " (count(log.epochs.len())) " epochs" }
        (shell::figures(&figures(log)))
    };
    let main = html! {
        section {
            h2 { "Losses" }
            div.charts {
                @for (title, lines) in charts(&log.steps) { (chart(title, &lines)) }
            }
        }
        section { h2 { "Epochs" } (shell::scroll("Epochs", &epochs(log))) }
        section {
            h2 { "Settings" }
            (shell::folded_code("what decides the result", &format!("{:#}", log.run)))
        }
    };
    shell::document(
        "Training of the text-patch bridge",
        STYLE,
        "",
        &header,
        &main,
    )
    .into_string()
}

fn figures(log: &Log) -> Vec<(String, String)> {
    let mut figures = Vec::new();
    if let Some(last) = log.steps.last() {
        figures.push(("last loss".to_owned(), number(last.losses.total)));
    }
    if let Some(kept) = log.kept_epoch {
        figures.push(("epoch of the weights".to_owned(), kept.to_string()));
    }
    figures
}

fn charts(steps: &[StepLog]) -> Vec<(&'static str, Vec<Line>)> {
    let of = |name: &str, value: &dyn Fn(&StepLog) -> f64| Line {
        name: name.to_owned(),
        values: steps.iter().map(value).collect(),
    };
    let blocks = steps.first().map_or(0, |step| step.losses.focal.len());
    let layers = |pick: fn(&StepLog) -> &[f64]| -> Vec<Line> {
        (0..blocks)
            .map(|at| {
                of(&format!("layer {at}"), &|step| {
                    pick(step).get(at).copied().unwrap_or(0.0)
                })
            })
            .collect()
    };
    vec![
        ("total loss", vec![of("total", &|step| step.losses.total)]),
        (
            "alignment with the image",
            vec![of("alignment", &|step| step.losses.align)],
        ),
        ("focal loss", layers(|step| &step.losses.focal)),
        ("dice loss", layers(|step| &step.losses.dice)),
    ]
}

fn chart(title: &'static str, lines: &[Line]) -> Markup {
    let values = lines.iter().flat_map(|line| line.values.iter().copied());
    let Some((low, high)) = range(values) else {
        return html! { p { "no steps yet" } };
    };
    let steps = lines.first().map_or(0, |line| line.values.len());
    let ends = padded(low, high);
    let places = (0.5, steps as f64 + 0.5);
    let x = Axis {
        values: places,
        ticks: whole_ticks(places.0, places.1, 8),
        name: "step",
    };
    let y = Axis {
        values: ends,
        ticks: ticks(ends.0, ends.1, 5),
        name: title,
    };
    let frame = Frame::new((800.0, 260.0), x, y);
    let drawing = html! {
        @for (at, line) in lines.iter().enumerate() {
            path class={ "line " (series(at)) } d=(path(&frame, &line.values)) {
                title { (printable(&line.name)) }
            }
        }
    };
    let words = format!(
        "{title} over {} steps, from {} to {}",
        count(steps),
        number(low),
        number(high)
    );
    html! {
        figure {
            (frame.svg("stream", &words, &drawing))
            @if lines.len() > 1 { (legend(lines)) }
        }
    }
}

fn series(at: usize) -> String {
    // As many colours and dashes as the style sheet has.
    format!("series colour-{} dash-{}", at % 7, at % 5)
}

fn legend(lines: &[Line]) -> Markup {
    html! {
        ul.legend aria-label="Legend" {
            @for (at, line) in lines.iter().enumerate() {
                li {
                    svg class={ "swatch " (series(at)) } viewBox="0 0 36 14" aria-hidden="true" {
                        path.line d="M0 7H36" {}
                    }
                    (printable(&line.name))
                }
            }
        }
    }
}

fn path(frame: &Frame, values: &[f64]) -> String {
    let stretch = values.len().div_ceil(MAX_POINTS).max(1);
    let mut path = String::new();
    for (at, part) in values.chunks(stretch).enumerate() {
        let step = (at * stretch) as f64 + (part.len() as f64 + 1.0) / 2.0;
        let mean = part.iter().sum::<f64>() / part.len() as f64;
        let pen = if at == 0 { 'M' } else { 'L' };
        // Writing to a string cannot fail.
        let _ = write!(path, "{pen}{:.1} {:.1}", frame.x.at(step), frame.y.at(mean));
    }
    path
}

fn epochs(log: &Log) -> Markup {
    let row = |epoch: &EpochLog| {
        let mut cells = vec![epoch.losses.total, epoch.losses.align];
        cells.push(epoch.losses.focal.iter().sum());
        cells.push(epoch.losses.dice.iter().sum());
        if let Some(found) = epoch.validation {
            cells.extend([found.pixel_auroc, found.pixel_ap]);
        }
        cells
    };
    let validated = log.epochs.iter().any(|epoch| epoch.validation.is_some());
    html! {
        table.sheet {
            caption { "Means over the steps of an epoch" }
            thead {
                tr {
                    @for name in ["epoch", "total", "alignment", "focal", "dice"] { th scope="col" { (name) } }
                    @if validated {
                        th scope="col" { "validation pixel AUROC" }
                        th scope="col" { "validation pixel AP" }
                    }
                }
            }
            tbody {
                @for epoch in &log.epochs {
                    tr {
                        th scope="row" {
                            (epoch.epoch)
                            @if log.kept_epoch == Some(epoch.epoch) { " (kept)" }
                        }
                        @for cell in row(epoch) { td { (number(cell)) } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rareclip_train::{EpochLog, Log, Losses, StepLog};

    use super::render;

    fn losses(total: f64) -> Losses {
        Losses {
            total,
            align: 0.5,
            focal: vec![0.1, 0.2],
            dice: vec![0.8, 0.9],
        }
    }

    #[test]
    fn every_chart_and_epoch_is_there_and_nothing_is_fetched() {
        let step = |step: u64| StepLog {
            step,
            epoch: 1,
            losses: losses(3.0 / step as f64),
        };
        let log = Log {
            version: "0".into(),
            run: serde_json::json!({ "settings": "<script>" }),
            steps: (1..=1000).map(step).collect(),
            epochs: vec![EpochLog {
                epoch: 1,
                losses: losses(0.25),
                validation: None,
            }],
            kept_epoch: Some(1),
            finished: true,
        };
        let page = render(&log);
        assert_eq!(page.matches("<svg class=\"plot").count(), 4);
        assert_eq!(
            page.matches("layer 1").count(),
            4,
            "name and legend of two charts"
        );
        assert!(page.contains("1 (kept)") && page.contains("0.25"));
        assert!(page.contains("&lt;script&gt;") && !page.contains("https:"));
    }

    #[test]
    fn a_run_without_steps_has_a_page() {
        let log = Log {
            version: "0".into(),
            run: serde_json::Value::Null,
            steps: Vec::new(),
            epochs: Vec::new(),
            kept_epoch: None,
            finished: false,
        };
        assert!(render(&log).contains("no steps yet"));
    }
}
