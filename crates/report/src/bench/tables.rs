//! The tables of the report, for HTML and Markdown alike.

use rareclip_bench::published::Figure;
use rareclip_bench::table::{self, Metric, Table};

use super::sheet::{Best, Footnotes, Sheet};
use super::view::{Category, View, percent};

/// Means, costs and published figures, a row a detector; `None` where no metric is defined.
pub(super) fn overview(view: &View<'_>, notes: &mut Footnotes) -> Option<Sheet> {
    let benchmark = view.benchmark;
    if view.metrics.is_empty() {
        return None;
    }
    let mut table = table::overview(benchmark);
    table.title = match (view.categories.len(), benchmark.seeds.len()) {
        (1, 1) => "In percent".to_owned(),
        (1, seeds) => format!("In percent, mean ± standard deviation over {seeds} seeds"),
        (categories, 1) => format!("Means over {categories} categories in percent"),
        (categories, seeds) => format!(
            "Means over {categories} categories in percent, mean ± standard deviation over {seeds} seeds"
        ),
    };
    let published = table.header.len() - 1;
    let figures: Vec<_> = benchmark
        .detectors
        .iter()
        .map(|detector| table::figure(benchmark, detector))
        .collect();
    if figures.iter().all(Option::is_none) {
        table.header.pop();
        table.rows.iter_mut().for_each(|row| {
            row.pop();
        });
    }
    let mut sheet = Sheet::new(table);
    for column in 1..=view.metrics.len() {
        sheet.best_of_column(column, Best::Highest);
    }
    for column in view.metrics.len() + 1..published {
        sheet.best_of_column(column, Best::Lowest);
    }
    for (row, figure) in figures.iter().enumerate() {
        if let Some(figure) = figure {
            sheet.note(row, published, notes.number(source(figure)));
        }
    }
    Some(sheet)
}

fn source(figure: &Figure) -> String {
    format!("{}; {}", figure.source, figure.dataset)
}

/// Every metric by category. Of one category alone the overview tells all.
pub(super) fn all_by_category(view: &View<'_>, notes: &mut Footnotes) -> Vec<Sheet> {
    let metrics = view.metrics.iter().filter(|_| view.categories.len() > 1);
    metrics
        .map(|metric| by_category(view, *metric, notes))
        .collect()
}

/// A metric by category with the mean, and what was published of it.
fn by_category(view: &View<'_>, metric: Metric, notes: &mut Footnotes) -> Sheet {
    let benchmark = view.benchmark;
    let mut sheet = Sheet::new(table::by_category(benchmark, metric));
    sheet.best_of_rows(Best::Highest);
    sheet.summary(1);
    let figures: Vec<_> = benchmark
        .detectors
        .iter()
        .map(|detector| {
            let figure = table::figure(benchmark, detector)?;
            Some((figure, published(metric, figure)?))
        })
        .collect();
    if figures.iter().any(Option::is_some) {
        let cells = figures
            .iter()
            .map(|figure| figure.map_or(String::new(), |(_, value)| format!("{value:.1}")));
        let row = sheet.push(
            ["published mean".to_owned()]
                .into_iter()
                .chain(cells)
                .collect(),
        );
        for (at, figure) in figures.iter().enumerate() {
            if let Some((figure, _)) = figure {
                sheet.note(row, at + 1, notes.number(source(figure)));
            }
        }
    }
    sheet
}

/// The published value of a metric in percent. Papers compute the AUPRO as the published evaluation
/// code does.
fn published(metric: Metric, figure: &Figure) -> Option<f64> {
    match metric {
        Metric::ImageAuroc => Some(figure.image_auroc),
        Metric::PixelAuroc => figure.pixel_auroc,
        Metric::AuproReference => figure.aupro,
        _ => None,
    }
}

/// Milliseconds and bytes, a row a detector.
pub(super) fn costs(view: &View<'_>) -> Sheet {
    let table = table::costs(view.benchmark);
    let best = |name: &String| match name.as_str() {
        "index recall" => Best::Highest,
        _ => Best::Lowest,
    };
    let which: Vec<Best> = table.header.iter().map(best).collect();
    let mut sheet = Sheet::new(table);
    for (column, which) in which.into_iter().enumerate().skip(1) {
        sheet.best_of_column(column, which);
    }
    sheet
}

/// The bootstrap interval of the image AUROC by category; `None` where there is none.
pub(super) fn intervals(view: &View<'_>) -> Option<Sheet> {
    let cell = |category: &Category<'_>, detector: usize| {
        let run = category
            .entries
            .iter()
            .find(|entry| entry.detector == detector)?
            .run;
        let (auroc, interval) = (run.image.as_ref()?.auroc, run.image_auroc_interval?);
        Some(format!(
            "{} [{}, {}]",
            percent(auroc),
            percent(Some(interval.low)),
            percent(Some(interval.high))
        ))
    };
    let rows: Vec<Vec<Option<String>>> = view
        .categories
        .iter()
        .map(|category| {
            let detectors = 0..view.benchmark.detectors.len();
            detectors.map(|detector| cell(category, detector)).collect()
        })
        .collect();
    let names = view.benchmark.detectors.iter();
    grid(
        view,
        "Image AUROC in percent with its 95 % bootstrap interval",
        names,
        rows,
    )
}

/// DeLong's paired test of every further detector against the first; `None` where there is nothing
/// to test.
///
/// # Errors
/// When two detectors were not run on the same images.
pub(super) fn tests(view: &View<'_>) -> anyhow::Result<Option<Sheet>> {
    let benchmark = view.benchmark;
    let Some((first, others)) = benchmark.detectors.split_first() else {
        return Ok(None);
    };
    if view.metrics.is_empty() {
        return Ok(None);
    }
    let mut rows = vec![Vec::new(); view.categories.len()];
    for other in others {
        let all = rareclip_bench::compare(benchmark, other, benchmark, first)?;
        for (category, row) in view.categories.iter().zip(&mut rows) {
            let seed = category.entries.first().map(|entry| entry.run.seed);
            let test = all
                .iter()
                .find(|one| one.category == category.name && Some(one.seed) == seed)
                .and_then(|one| one.test.as_ref());
            row.push(test.map(|test| {
                let p = test.p_value.map_or("n/a".to_owned(), p_value);
                format!("{:+.1}, p {p}", 100.0 * test.difference)
            }));
        }
    }
    let title = format!(
        "Image AUROC against {first}: difference in percent points, and DeLong's paired test"
    );
    Ok(grid(view, &title, others.iter(), rows))
}

/// `= 0.031` or `< 0.001`.
fn p_value(p: f64) -> String {
    if p < 1e-3 {
        "< 0.001".to_owned()
    } else {
        format!("= {p:.3}")
    }
}

/// Categories by detectors; `None` where every cell is.
fn grid<'a>(
    view: &View<'_>,
    title: &str,
    columns: impl Iterator<Item = &'a String>,
    rows: Vec<Vec<Option<String>>>,
) -> Option<Sheet> {
    rows.iter().flatten().flatten().next()?;
    let na = |cell: Option<String>| cell.unwrap_or_else(|| "n/a".to_owned());
    let named = view.categories.iter().zip(rows);
    Some(Sheet::new(Table {
        title: title.to_owned(),
        header: ["category".to_owned()]
            .into_iter()
            .chain(columns.cloned())
            .collect(),
        rows: named
            .map(|(category, row)| {
                let cells = row.into_iter().map(na);
                [category.name.to_owned()]
                    .into_iter()
                    .chain(cells)
                    .collect()
            })
            .collect(),
    }))
}
