//! The report of a benchmark: tables, curves, pictures, in one HTML file; and the tables alone as
//! Markdown.
//!
//! The same result gives the same bytes. Curves, histograms and galleries are of the first seed.

mod categories;
mod curves;
mod gallery;
mod pictures;
mod scatter;
mod series;
mod settings;
mod sheet;
mod tables;
#[cfg(test)]
mod tests;
mod view;

use maud::{Markup, html};
use rareclip_bench::table::{self, Metric};
use rareclip_bench::{Benchmark, Plan};

use super::shell;
use super::text::{count, images as images_text, printable};
use pictures::Album;
use sheet::{Footnotes, Sheet};
use view::View;

const STYLE: &str = include_str!("bench.css");
const SCRIPT: &str = include_str!("bench.js");

/// The report as the text of an HTML file. Every string of the input is escaped. With `pictures`,
/// the gallery shows thumbnails of images of the data set and of the kept maps over them; without,
/// names and scores, so that nothing of the data set is passed on. An image that cannot be read
/// leaves a placeholder that says why.
///
/// # Errors
/// When detectors were not run on the same images, or a config cannot be written as TOML.
pub fn render(benchmark: &Benchmark, plan: &Plan, pictures: bool) -> anyhow::Result<String> {
    let view = View::of(benchmark);
    let mut notes = Footnotes::default();
    let overview = tables::overview(&view, &mut notes);
    let metrics = tables::all_by_category(&view, &mut notes);
    let mut album = pictures.then(|| Album::new(plan));
    let main = html! {
        (overview_section(&view, overview.as_ref(), &notes))
        (metrics_section(&metrics))
        (certainty_section(&view)?)
        (cost_section(&view))
        (categories::categories(&view, album.as_mut()))
        (settings::settings(benchmark)?)
    };
    let title = format!("Benchmark on {}", benchmark.dataset);
    let header = header(&view, &title);
    Ok(shell::document(&title, STYLE, SCRIPT, &header, &main).into_string())
}

/// Command, tables and machine as Markdown.
pub fn markdown(benchmark: &Benchmark) -> String {
    let view = View::of(benchmark);
    let mut notes = Footnotes::default();
    let mut sheets: Vec<Sheet> = tables::overview(&view, &mut notes).into_iter().collect();
    sheets.extend(tables::all_by_category(&view, &mut notes));
    sheets.extend(tables::intervals(&view));
    sheets.push(tables::costs(&view));
    let sheets: Vec<String> = sheets.iter().map(Sheet::markdown).collect();
    let environment = settings::environment(benchmark);
    let environment: String = environment
        .iter()
        .map(|(name, value)| format!("- {name}: {value}\n"))
        .collect();
    let command = settings::command(&benchmark.command);
    format!(
        "```sh\n{command}\n```\n\n{}\n{environment}\n{}",
        sheets.join("\n"),
        notes.markdown()
    )
}

fn header(view: &View<'_>, title: &str) -> Markup {
    let benchmark = view.benchmark;
    let images = view
        .categories
        .iter()
        .map(|category| category.images())
        .sum();
    let anomalous: usize = view
        .categories
        .iter()
        .map(|one| one.count(Some(true)))
        .sum();
    let labelled = anomalous > 0 || view.categories.iter().any(|one| one.count(Some(false)) > 0);
    let seeds: Vec<String> = benchmark.seeds.iter().map(u64::to_string).collect();
    let mut figures = vec![
        ("categories", count(view.categories.len())),
        ("images", count(images)),
    ];
    if labelled {
        figures.push(("anomalous", count(anomalous)));
    }
    figures.push(("detectors", count(benchmark.detectors.len())));
    figures.push((
        if seeds.len() == 1 { "seed" } else { "seeds" },
        seeds.join(", "),
    ));
    let figures: Vec<_> = figures
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    html! {
        h1 { (printable(title)) }
        p.finding { (finding(view, images)) }
        (shell::figures(&figures))
    }
}

/// What came out, in a sentence.
fn finding(view: &View<'_>, images: usize) -> String {
    let benchmark = view.benchmark;
    let mut best: Vec<(&str, f64)> = Vec::new();
    for name in &benchmark.detectors {
        let complete = |categories| categories == view.categories.len();
        match table::mean(benchmark, name, Metric::ImageAuroc) {
            Some((auroc, categories)) if complete(categories) => best.push((name, auroc.mean)),
            _ => {}
        }
    }
    best.sort_by(|a, b| b.1.total_cmp(&a.1));
    let shown = |(name, auroc): &(&str, f64)| {
        format!("image AUROC {:.1} %: {}", 100.0 * auroc, printable(name))
    };
    match (best.as_slice(), view.metrics.is_empty()) {
        ([only], _) if benchmark.detectors.len() == 1 => format!("{}.", shown(only)),
        ([first, ..], _) => format!("Highest {}.", shown(first)),
        ([], true) => format!(
            "{} without labels: scores alone, no metrics.",
            images_text(images)
        ),
        ([], false) => {
            "The image AUROC is not defined: it needs images of both classes.".to_owned()
        }
    }
}

fn overview_section(view: &View<'_>, overview: Option<&Sheet>, notes: &Footnotes) -> Markup {
    let points = scatter::points(view);
    html! {
        @if let Some(overview) = overview {
            section aria-labelledby="overview" {
                h2 id="overview" { "Overview" }
                (overview.html())
                (notes.html())
                @if let Some(chart) = scatter::chart(&points) {
                    figure.wide {
                        figcaption {
                            h3 { "Speed and quality" }
                            p { "Up is better, left is faster. " (left_out(view, points.len())) }
                        }
                        (chart)
                    }
                }
            }
        }
    }
}

fn left_out(view: &View<'_>, drawn: usize) -> String {
    match view.benchmark.detectors.len() - drawn {
        0 => String::new(),
        missing => format!(
            "Not drawn for lack of an AUROC or a time: {}.",
            count(missing)
        ),
    }
}

fn metrics_section(sheets: &[Sheet]) -> Markup {
    html! {
        @if !sheets.is_empty() {
            section aria-labelledby="metrics" {
                h2 id="metrics" { "Metrics by category" }
                div.tables { @for sheet in sheets { (sheet.html()) } }
            }
        }
    }
}

fn certainty_section(view: &View<'_>) -> anyhow::Result<Markup> {
    let (intervals, tests) = (tables::intervals(view), tables::tests(view)?);
    Ok(html! {
        @if intervals.is_some() || tests.is_some() {
            section aria-labelledby="certainty" {
                h2 id="certainty" { "How certain" }
                p.note {
                    "Of the first seed. Images were drawn again with replacement within their class; "
                    "a p-value is the probability of a difference at least as large between two equally good detectors, "
                    "not corrected for the number of tests."
                }
                div.tables {
                    @for sheet in intervals.iter().chain(&tests) { (sheet.html()) }
                }
            }
        }
    })
}

fn cost_section(view: &View<'_>) -> Markup {
    html! {
        section aria-labelledby="costs" {
            h2 id="costs" { "What it costs" }
            (tables::costs(view).html())
            p.note {
                "Milliseconds an image, by stage; a dash is a stage that the detector does not have. Fit: learning from the known "
                "normals, without their features. Peak: resident memory of the process while the stream ran, with the "
                "features of the backbone read from a cache."
            }
        }
    }
}
